#include "neural/optimiser.hpp"

#include <algorithm>
#include <cmath>

#include "compute/clones.hpp"

namespace fachwerk::neural {

namespace {

/// A stretch of one tensor: the unit of parallel work and of fixed-order sums.
struct Piece {
  std::size_t tensor;
  std::int64_t begin, end;
};

std::vector<Piece> pieces_of(const Parameters& p) {
  constexpr std::int64_t length = 16384;
  std::vector<Piece> pieces;
  for (std::size_t t = 0; t < p.size(); ++t)
    for (std::int64_t b = p.offsets[t]; b < p.offsets[t + 1]; b += length)
      pieces.push_back({t, b, std::min(b + length, p.offsets[t + 1])});
  return pieces;
}

template <class Fn>
void each_piece(const std::vector<Piece>& pieces, const Fn& fn) {
  at::parallel_for(0, static_cast<std::int64_t>(pieces.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      fn(pieces[static_cast<std::size_t>(i)], static_cast<std::size_t>(i));
  });
}

struct Rates {
  double lr, momentum, beta1, beta2, eps, decay, correction1, correction2;
  bool nesterov, first;
};

template <class T>
__attribute__((always_inline)) inline void sgd(T* __restrict p, const T* __restrict g, T* __restrict m, std::int64_t n,
                                               const Rates& r) {
  const T lr = static_cast<T>(r.lr), mu = static_cast<T>(r.momentum), decay = static_cast<T>(r.decay);
  if (mu == 0) {
    for (std::int64_t i = 0; i < n; ++i)
      p[i] -= lr * (g[i] + decay * p[i]);
    return;
  }
  const T keep = r.first ? T(0) : mu;
  if (r.nesterov) {
    for (std::int64_t i = 0; i < n; ++i) {
      const T d = g[i] + decay * p[i];
      m[i] = keep * m[i] + d;
      p[i] -= lr * (d + mu * m[i]);
    }
    return;
  }
  for (std::int64_t i = 0; i < n; ++i) {
    m[i] = keep * m[i] + (g[i] + decay * p[i]);
    p[i] -= lr * m[i];
  }
}

template <class T>
__attribute__((always_inline)) inline void adam(T* __restrict p, const T* __restrict g, T* __restrict m,
                                                T* __restrict v, std::int64_t n, const Rates& r, bool decoupled) {
  const T b1 = static_cast<T>(r.beta1), c1 = static_cast<T>(1 - r.beta1), b2 = static_cast<T>(r.beta2),
          c2 = static_cast<T>(1 - r.beta2), eps = static_cast<T>(r.eps);
  const T rate = static_cast<T>(r.lr / r.correction1), root = static_cast<T>(1 / std::sqrt(r.correction2));
  const T shrink = decoupled ? static_cast<T>(1 - r.lr * r.decay) : T(1),
          coupled = decoupled ? T(0) : static_cast<T>(r.decay);
  for (std::int64_t i = 0; i < n; ++i) {
    const T d = g[i] + coupled * p[i];
    m[i] = b1 * m[i] + c1 * d;
    v[i] = b2 * v[i] + c2 * d * d;
    p[i] = shrink * p[i] - rate * m[i] / (std::sqrt(v[i]) * root + eps);
  }
}

FACHWERK_CLONES void sgd_piece(float* p, const float* g, float* m, std::int64_t n, const Rates& r) {
  sgd(p, g, m, n, r);
}
FACHWERK_CLONES void sgd_piece(double* p, const double* g, double* m, std::int64_t n, const Rates& r) {
  sgd(p, g, m, n, r);
}
FACHWERK_CLONES void adam_piece(float* p, const float* g, float* m, float* v, std::int64_t n, const Rates& r, bool w) {
  adam(p, g, m, v, n, r, w);
}
FACHWERK_CLONES void adam_piece(double* p, const double* g, double* m, double* v, std::int64_t n, const Rates& r,
                                bool w) {
  adam(p, g, m, v, n, r, w);
}

}  // namespace

Optimiser::Optimiser(const OptimiserOptions& options, const Parameters& parameters) : options_(options) {
  const auto& o = options_;
  if (o.name != "sgd" && o.name != "adam" && o.name != "adamw" && o.name != "lamb")
    throw usage_error("\"{}\" is not one of the optimizers sgd, adam, adamw, lamb", o.name);
  if (!(o.momentum >= 0 && o.momentum < 1) || !(o.beta1 >= 0 && o.beta1 < 1) || !(o.beta2 >= 0 && o.beta2 < 1) ||
      !(o.eps >= 0) || !(o.weight_decay >= 0) || !(o.clip_norm >= 0) || !std::isfinite(o.lr) || o.lr < 0)
    throw usage_error("optimizer settings out of range");
  if (o.nesterov && o.momentum == 0) throw usage_error("--nesterov needs a momentum");
  if (o.name != "sgd" || o.momentum > 0) first_ = at::zeros_like(parameters.flat);
  if (o.name != "sgd") second_ = at::zeros_like(parameters.flat);
}

std::vector<std::pair<std::string, at::Tensor>> Optimiser::moments() const {
  if (options_.name == "sgd") {
    if (!first_.defined()) return {};
    return {{"momentum_buffer", first_}};
  }
  return {{"exp_avg", first_}, {"exp_avg_sq", second_}};
}

template <class T>
void Optimiser::run(Parameters& parameters, double lr) {
  const auto& o = options_;
  Rates rates{lr,
              o.momentum,
              o.beta1,
              o.beta2,
              o.eps,
              o.weight_decay,
              1 - std::pow(o.beta1, static_cast<double>(steps + 1)),
              1 - std::pow(o.beta2, static_cast<double>(steps + 1)),
              o.nesterov,
              steps == 0};
  T* p = parameters.flat.data_ptr<T>();
  const T* g = parameters.flat_gradient.data_ptr<T>();
  T* m = first_.defined() ? first_.data_ptr<T>() : nullptr;
  T* v = second_.defined() ? second_.data_ptr<T>() : nullptr;
  const auto pieces = pieces_of(parameters);
  const auto rates_of = [&](const Piece& piece) {
    Rates own = rates;
    if (!o.decay_1d && parameters.values[piece.tensor].dim() <= 1) own.decay = 0;
    return own;
  };
  if (o.name == "sgd") {
    each_piece(pieces, [&](const Piece& x, std::size_t) {
      sgd_piece(p + x.begin, g + x.begin, m == nullptr ? nullptr : m + x.begin, x.end - x.begin, rates_of(x));
    });
  } else if (o.name != "lamb") {
    each_piece(pieces, [&](const Piece& x, std::size_t) {
      adam_piece(p + x.begin, g + x.begin, m + x.begin, v + x.begin, x.end - x.begin, rates_of(x), o.name == "adamw");
    });
  } else {
    // The step of each tensor is scaled by |w| / |update|.
    std::vector<double> weight(pieces.size()), update(pieces.size());
    const auto direction = [&](std::int64_t i, const Rates& r) {
      return static_cast<double>(m[i]) / r.correction1 /
                 (std::sqrt(static_cast<double>(v[i]) / r.correction2) + r.eps) +
             r.decay * static_cast<double>(p[i]);
    };
    each_piece(pieces, [&](const Piece& x, std::size_t k) {
      const Rates r = rates_of(x);
      for (std::int64_t i = x.begin; i < x.end; ++i) {
        m[i] = static_cast<T>(r.beta1) * m[i] + static_cast<T>(1 - r.beta1) * g[i];
        v[i] = static_cast<T>(r.beta2) * v[i] + static_cast<T>(1 - r.beta2) * g[i] * g[i];
        const double d = direction(i, r);
        weight[k] += static_cast<double>(p[i]) * static_cast<double>(p[i]);
        update[k] += d * d;
      }
    });
    std::vector<double> w(parameters.size()), u(parameters.size());
    for (std::size_t k = 0; k < pieces.size(); ++k) {
      w[pieces[k].tensor] += weight[k];
      u[pieces[k].tensor] += update[k];
    }
    each_piece(pieces, [&](const Piece& x, std::size_t) {
      const Rates r = rates_of(x);
      const double trust = w[x.tensor] > 0 && u[x.tensor] > 0 ? std::sqrt(w[x.tensor] / u[x.tensor]) : 1;
      for (std::int64_t i = x.begin; i < x.end; ++i)
        p[i] -= static_cast<T>(lr * trust * direction(i, r));
    });
  }
  ++steps;
}

void Optimiser::step(Parameters& parameters, double lr) {
  if (parameters.flat.scalar_type() == at::kDouble)
    run<double>(parameters, lr);
  else
    run<float>(parameters, lr);
}

double gradient_norm(const Parameters& parameters) {
  const auto pieces = pieces_of(parameters);
  std::vector<double> sums(pieces.size());
  const auto add = [&]<class T>(const T* g) {
    each_piece(pieces, [&](const Piece& x, std::size_t k) {
      double sum = 0;
      for (std::int64_t i = x.begin; i < x.end; ++i)
        sum += static_cast<double>(g[i]) * static_cast<double>(g[i]);
      sums[k] = sum;
    });
  };
  if (parameters.flat.scalar_type() == at::kDouble)
    add(parameters.flat_gradient.data_ptr<double>());
  else
    add(parameters.flat_gradient.data_ptr<float>());
  double total = 0;
  for (const double s : sums)
    total += s;
  return std::sqrt(total);
}

void scale_gradient(Parameters& parameters, double factor) {
  at::NoGradGuard no_grad;
  parameters.flat_gradient.mul_(factor);
}

}  // namespace fachwerk::neural
