#include "gmres.hpp"

#include <cmath>

namespace fachwerk::dpf {
namespace {

double norm(const LinearOperator& a, std::span<const double> x) {
  return std::sqrt(a.dots({x}, x)[0]);
}

// The least squares problem min |beta e1 - H y| of one cycle, kept triangular by Givens rotations.
class Hessenberg {
 public:
  explicit Hessenberg(double beta) : right_{beta} {}
  void append(std::vector<double> column) {
    for (std::size_t i = 0; i < cosine_.size(); ++i) {
      const double above = cosine_[i] * column[i] + sine_[i] * column[i + 1];
      column[i + 1] = cosine_[i] * column[i + 1] - sine_[i] * column[i];
      column[i] = above;
    }
    const std::size_t k = cosine_.size();
    const double length = std::hypot(column[k], column[k + 1]);
    cosine_.push_back(length > 0 ? column[k] / length : 1);
    sine_.push_back(length > 0 ? column[k + 1] / length : 0);
    column[k] = length;
    column.pop_back();
    columns_.push_back(std::move(column));
    right_.push_back(-sine_[k] * right_[k]);
    right_[k] *= cosine_[k];
  }
  double residual() const { return std::abs(right_.back()); }
  std::vector<double> solve() const {
    std::vector<double> y(right_.begin(), right_.end() - 1);
    for (std::size_t i = y.size(); i-- > 0;) {
      for (std::size_t k = i + 1; k < y.size(); ++k)
        y[i] -= columns_[k][i] * y[k];
      y[i] = columns_[i][i] != 0 ? y[i] / columns_[i][i] : 0;
    }
    return y;
  }

 private:
  std::vector<std::vector<double>> columns_;
  std::vector<double> cosine_, sine_, right_;
};

}  // namespace

GmresResult gmres(const LinearOperator& a, std::span<const double> b, const GmresOptions& options) {
  const std::size_t size = b.size();
  GmresResult out{std::vector<double>(size, 0.0)};
  std::vector<double> r(b.begin(), b.end()), z(size);
  const double initial = norm(a, b);
  double residual = initial;
  while (residual > options.reduction * initial && out.iterations < options.max_iterations) {
    std::vector<std::vector<double>> basis;
    const auto add_direction = [&](std::vector<double> w, double length) {
      for (double& x : w)
        x /= length;
      basis.push_back(std::move(w));
    };
    add_direction(r, residual);
    Hessenberg hessenberg(residual);
    const double before = residual;
    while (static_cast<int>(basis.size()) <= options.restart && out.iterations < options.max_iterations) {
      ++out.iterations;
      std::vector<double> w(size);
      a.precondition(basis.back(), z);
      a.product(z, w);
      const std::vector<std::span<const double>> all(basis.begin(), basis.end());
      std::vector<double> column(basis.size() + 1, 0.0);
      for (int pass = 0; pass < 2; ++pass) {  // Gram-Schmidt twice: as good as one by one, in two sums over ranks
        const std::vector<double> h = a.dots(all, w);
        for (std::size_t k = 0; k < h.size(); ++k) {
          column[k] += h[k];
          for (std::size_t i = 0; i < size; ++i)
            w[i] -= h[k] * basis[k][i];
        }
      }
      const double length = norm(a, w);
      column.back() = length;
      hessenberg.append(std::move(column));
      if (hessenberg.residual() <= options.reduction * initial || !(length > 1e-14 * before)) break;
      add_direction(std::move(w), length);
    }
    const std::vector<double> y = hessenberg.solve();
    std::vector<double> sum(size, 0.0);
    for (std::size_t k = 0; k < y.size(); ++k)
      for (std::size_t i = 0; i < size; ++i)
        sum[i] += y[k] * basis[k][i];
    a.precondition(sum, z);
    for (std::size_t i = 0; i < size; ++i)
      out.x[i] += z[i];
    a.product(out.x, r);
    for (std::size_t i = 0; i < size; ++i)
      r[i] = b[i] - r[i];
    residual = norm(a, r);
    if (!(residual < 0.9999 * before)) break;  // stalled, or not a number
  }
  out.reduction = initial > 0 ? residual / initial : 0;
  return out;
}

}  // namespace fachwerk::dpf
