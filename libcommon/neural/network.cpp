#include "neural/network.hpp"

#include <cmath>

#include "neural/fused.hpp"
#include "neural/fusion.hpp"
#include "neural/streams.hpp"

namespace fachwerk::neural {

namespace {

/// Keeps with probability 1 - rate, scaled so that the mean stays. The mask of a sample depends on nothing but the
/// seed, the step, the layer and the sample's place in the global batch.
at::Tensor dropout(const at::Tensor& x, double rate, const Pass& pass, int node) {
  at::Tensor mask = at::empty(x.sizes(), x.options().dtype(at::kFloat));
  float* values = mask.data_ptr<float>();
  const std::int64_t rows = x.size(0), width = rows > 0 ? x.numel() / rows : 0;
  const auto keep = static_cast<float>(1 / (1 - rate));
  at::parallel_for(0, rows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const auto item = static_cast<std::uint64_t>(pass.step) << 24 ^ static_cast<std::uint64_t>(pass.offset + row);
      compute::Stream random(pass.seed, item,
                             static_cast<std::uint32_t>(Channel::dropout) | static_cast<std::uint32_t>(node) << 8);
      for (std::int64_t i = 0; i < width; ++i)
        values[row * width + i] = random.uniform_float() < rate ? 0.0F : keep;
    }
  });
  return x * (mask.scalar_type() == x.scalar_type() ? mask : mask.to(x.scalar_type()));
}

/// He et al. 2016, option A: every stride-th pixel, zeros for the new channels.
at::Tensor padded_shortcut(const at::Tensor& x, const Setting& s) {
  at::Tensor y = x.slice(2, 0, INT64_MAX, s.stride).slice(3, 0, INT64_MAX, s.stride);
  const std::int64_t more = s.out - x.size(1), before = more / 2;
  return at::constant_pad_nd(y, {0, 0, 0, 0, before, more - before}, 0);
}

at::Tensor patches(const at::Tensor& x, std::int64_t k) {
  const auto n = x.size(0), c = x.size(1), h = x.size(2) / k, w = x.size(3) / k;
  return x.reshape({n, c, h, k, w, k}).permute({0, 2, 4, 1, 3, 5}).reshape({n, h * w, c * k * k});
}

/// softmax(q k^T / sqrt(d)) v for each head; x holds q, k and v of all heads side by side, as timm's qkv layer gives
/// it.
at::Tensor attention(const at::Tensor& x, std::int64_t heads) {
  const auto n = x.size(0), t = x.size(1), d = x.size(2) / (3 * heads);
  const at::Tensor qkv = x.reshape({n, t, 3, heads, d}).permute({2, 0, 3, 1, 4});
  const at::Tensor q = qkv.select(0, 0) * (1 / std::sqrt(static_cast<double>(d)));
  const at::Tensor weights = at::softmax(at::matmul(q, qkv.select(0, 1).transpose(-2, -1)), -1);
  return at::matmul(weights, qkv.select(0, 2)).transpose(1, 2).reshape({n, t, heads * d});
}

/// The place in the bias table of each pair of tokens of a window: their distance in rows and columns.
at::Tensor relative_places(std::int64_t w) {
  at::Tensor places = at::empty({w * w * w * w}, at::kLong);
  auto* to = places.data_ptr<std::int64_t>();
  for (std::int64_t a = 0; a < w * w; ++a)
    for (std::int64_t b = 0; b < w * w; ++b)
      *to++ = (a / w - b / w + w - 1) * (2 * w - 1) + (a % w - b % w + w - 1);
  return places;
}

/// [windows,1,w^2,w^2]: -100 between tokens that only the cyclic shift has brought into one window.
at::Tensor shift_mask(std::int64_t rows, std::int64_t columns, std::int64_t w, std::int64_t shift,
                      at::ScalarType type) {
  const auto part = [&](std::int64_t i, std::int64_t n) { return i < n - w ? 0 : i < n - shift ? 1 : 2; };
  at::Tensor mask = at::zeros({rows / w * (columns / w), 1, w * w, w * w}, at::kFloat);
  float* to = mask.data_ptr<float>();
  for (std::int64_t window = 0; window < mask.size(0); ++window) {
    const std::int64_t r0 = window / (columns / w) * w, c0 = window % (columns / w) * w;
    const auto region = [&](std::int64_t t) { return 3 * part(r0 + t / w, rows) + part(c0 + t % w, columns); };
    for (std::int64_t a = 0; a < w * w; ++a)
      for (std::int64_t b = 0; b < w * w; ++b)
        *to++ = region(a) == region(b) ? 0.0F : -100.0F;
  }
  return mask.to(type);
}

/// Z. Liu et al., "Swin Transformer", ICCV 2021, section 3.2, equation 4, with timm's order of values.
at::Tensor window_attention(const at::Tensor& x, const at::Tensor& table, const Setting& s) {
  const std::int64_t n = x.size(0), rows = s.out, columns = x.size(1) / rows, w = s.kernel, area = w * w;
  const std::int64_t windows = rows / w * (columns / w), d = x.size(2) / (3 * s.heads);
  at::Tensor grid = x.reshape({n, rows, columns, x.size(2)});
  if (s.padding > 0) grid = grid.roll({-s.padding, -s.padding}, {1, 2});
  const at::Tensor qkv = grid.reshape({n, rows / w, w, columns / w, w, x.size(2)})
                             .permute({0, 1, 3, 2, 4, 5})
                             .reshape({n * windows, area, 3, s.heads, d})
                             .permute({2, 0, 3, 1, 4});
  const at::Tensor q = qkv.select(0, 0) * (1 / std::sqrt(static_cast<double>(d)));
  const at::Tensor bias = table.index_select(0, relative_places(w)).view({area, area, s.heads}).permute({2, 0, 1});
  at::Tensor logits = at::matmul(q, qkv.select(0, 1).transpose(-2, -1)) + bias;
  if (s.padding > 0)
    logits =
        (logits.view({n, windows, s.heads, area, area}) + shift_mask(rows, columns, w, s.padding, logits.scalar_type()))
            .view({n * windows, s.heads, area, area});
  at::Tensor y = at::matmul(at::softmax(logits, -1), qkv.select(0, 2))
                     .transpose(1, 2)
                     .reshape({n, rows / w, columns / w, w, w, s.heads * d})
                     .permute({0, 1, 3, 2, 4, 5})
                     .reshape({n, rows, columns, s.heads * d});
  if (s.padding > 0) y = y.roll({s.padding, s.padding}, {1, 2});
  return y.reshape({n, rows * columns, s.heads * d});
}

/// Four neighbours side by side: the two rows of the left column, then those of the right one, as timm has them.
at::Tensor merge(const at::Tensor& x, std::int64_t rows) {
  const std::int64_t n = x.size(0), columns = x.size(1) / rows, d = x.size(2);
  return x.reshape({n, rows / 2, 2, columns / 2, 2, d})
      .permute({0, 1, 3, 4, 2, 5})
      .reshape({n, rows * columns / 4, 4 * d});
}

class Runner {
 public:
  Runner(const Graph& graph, std::span<const at::Tensor> weights, const Pass& pass)
      : graph_(graph), weights_(weights), pass_(pass), low_(pass.compute == at::kBFloat16) {}

  at::Tensor run(at::Tensor x, int begin, int end) {
    fused_ =
        pass_.fused && pass_.training && !low_ ? fuse(graph_, begin, end) : std::vector<Fused>(graph_.nodes.size());
    // Values are dropped after their last use, so that inference needs memory for a few layers only.
    std::vector<int> last_use(static_cast<std::size_t>(end), -1);
    for (int i = begin; i < end; ++i)
      for (const int input : read_by(i))
        if (input >= begin - 1) last_use[static_cast<std::size_t>(input)] = i;
    values_.resize(static_cast<std::size_t>(end));
    values_[static_cast<std::size_t>(begin - 1)] = low_ && x.is_floating_point() ? x.to(at::kBFloat16) : std::move(x);
    for (int i = begin; i < end; ++i) {
      values_[static_cast<std::size_t>(i)] = value_of(i);
      for (const int input : read_by(i))
        if (last_use[static_cast<std::size_t>(input)] == i) values_[static_cast<std::size_t>(input)] = at::Tensor();
    }
    at::Tensor y = std::move(values_[static_cast<std::size_t>(end - 1)]);
    return low_ ? y.to(at::kFloat) : y;
  }

 private:
  const Node& node(int i) const { return graph_.nodes[static_cast<std::size_t>(i)]; }
  const Fused& fused(int i) const { return fused_[static_cast<std::size_t>(i)]; }

  /// The nodes whose values node i needs.
  std::vector<int> read_by(int i) const {
    const Fused& f = fused(i);
    if (f.kind == Fused::Kind::plain || f.kind == Fused::Kind::relu_in_place) return node(i).inputs;
    if (f.kind == Fused::Kind::absorbed) return {};
    if (f.kind == Fused::Kind::pool) return node(node(i).inputs[0]).inputs;
    std::vector<int> inputs = node(f.norm).inputs;
    if (f.skip >= 0) inputs.push_back(f.skip);
    return inputs;
  }

  at::Tensor value_of(int i) {
    const Fused& f = fused(i);
    const auto value_at = [&](int k) { return values_[static_cast<std::size_t>(k)]; };
    switch (f.kind) {
      case Fused::Kind::absorbed:
        return {};
      case Fused::Kind::norm: {
        const Node& n = node(f.norm);
        const auto raw = [&](std::size_t k) { return weights_[static_cast<std::size_t>(n.parameters[k])]; };
        ++*raw(4).data_ptr<std::int64_t>();
        return fused_norm(value_at(n.inputs[0]), {raw(0), raw(1), raw(2), raw(3), epsilon(n)},
                          f.skip >= 0 ? value_at(f.skip) : at::Tensor(), f.relu);
      }
      case Fused::Kind::pool:
        return fused_relu_pool(value_at(read_by(i)[0]), node(i).setting.kernel);
      case Fused::Kind::relu_in_place:
        return at::relu_(values_[static_cast<std::size_t>(node(i).inputs[0])]);
      case Fused::Kind::plain:
        break;
    }
    return evaluate(i);
  }

  static double epsilon(const Node& n) { return n.setting.rate > 0 ? n.setting.rate : 1e-5; }
  const at::Tensor& value(const Node& n, std::size_t i) const { return values_[static_cast<std::size_t>(n.inputs[i])]; }

  at::Tensor weight(const Node& n, std::size_t i) const {
    if (i >= n.parameters.size()) return {};
    const at::Tensor& w = weights_[static_cast<std::size_t>(n.parameters[i])];
    return low_ ? w.to(at::kBFloat16) : w;
  }
  c10::optional<at::Tensor> optional_weight(const Node& n, std::size_t i) const {
    return i < n.parameters.size() ? c10::optional<at::Tensor>(weight(n, i)) : c10::nullopt;
  }

  at::Tensor batch_norm(const Node& n, const at::Tensor& x) {
    const auto raw = [&](std::size_t i) { return weights_[static_cast<std::size_t>(n.parameters[i])]; };
    if (pass_.training) raw(4).add_(1);
    const at::Tensor y = at::batch_norm(low_ ? x.to(at::kFloat) : x, raw(0), raw(1), raw(2), raw(3), pass_.training,
                                        0.1, epsilon(n), false);
    return low_ ? y.to(at::kBFloat16) : y;
  }

  at::Tensor evaluate(int i) {
    const Node& n = node(i);
    const Setting& s = n.setting;
    const at::Tensor& x = value(n, 0);
    switch (n.op) {
      case Op::input:
        return x;
      case Op::linear:
        return at::linear(x, weight(n, 0), optional_weight(n, 1));
      case Op::conv:
        return at::conv2d(x, weight(n, 0), optional_weight(n, 1), s.stride, s.padding, 1, s.groups);
      case Op::batch_norm:
        return batch_norm(n, x);
      case Op::layer_norm:
        return at::layer_norm(x, {x.size(-1)}, weight(n, 0), weight(n, 1), epsilon(n));
      case Op::relu:
        return at::relu(x);
      case Op::tanh:
        return at::tanh(x);
      case Op::gelu:
        return at::gelu(x);
      case Op::sigmoid:
        return at::sigmoid(x);
      case Op::softmax:
        return at::softmax(x, -1);
      case Op::dropout:
        return pass_.training ? dropout(x, s.rate, pass_, i) : x;
      case Op::max_pool:
        return at::max_pool2d(x, s.kernel, s.stride, s.padding);
      case Op::mean_pool:
        return at::avg_pool2d(x, s.kernel, s.stride, s.padding);
      case Op::global_mean:
        return x.dim() == 4 ? x.mean({2, 3}) : x.mean(1);
      case Op::resize_pool:
        return at::adaptive_avg_pool2d(x, {s.out, s.out});
      case Op::flatten:
        return x.flatten(1);
      case Op::unflatten:
        return x.reshape({x.size(0), s.out, -1});
      case Op::add:
        return x + value(n, 1);
      case Op::shortcut:
        return padded_shortcut(x, s);
      case Op::tokens:
        return x.flatten(2).transpose(1, 2);
      case Op::patches:
        return patches(x, s.kernel);
      case Op::class_token:
        return at::cat({weight(n, 0).expand({x.size(0), -1, -1}), x}, 1);
      case Op::position:
        return x + weight(n, 0);
      case Op::attention:
        return attention(x, s.heads);
      case Op::window_attention:
        return window_attention(x, weight(n, 0), s);
      case Op::merge:
        return merge(x, s.out);
      case Op::first_token:
        return x.select(1, 0);
      case Op::transpose:
        return x.transpose(1, 2);
      case Op::embedding:
        return at::embedding(weight(n, 0), x.to(at::kLong).clamp(0, s.classes - 1));
    }
    throw std::logic_error("unknown operation");
  }

  const Graph& graph_;
  std::span<const at::Tensor> weights_;
  const Pass& pass_;
  bool low_;
  std::vector<Fused> fused_;
  std::vector<at::Tensor> values_;
};

}  // namespace

Parameters::Parameters(const std::vector<std::pair<std::string, at::Tensor>>& initial) {
  offsets.push_back(0);
  for (const auto& [name, value] : initial) {
    names.push_back(name);
    offsets.push_back(offsets.back() + value.numel());
  }
  const auto options = initial.empty() ? at::TensorOptions() : initial[0].second.options().requires_grad(false);
  flat = at::empty({offsets.back()}, options);
  flat_gradient = at::zeros({offsets.back()}, options);
  for (std::size_t i = 0; i < initial.size(); ++i) {
    const auto piece = [&](const at::Tensor& all) {
      return all.narrow(0, offsets[i], offsets[i + 1] - offsets[i]).view(initial[i].second.sizes()).detach();
    };
    at::Tensor value = piece(flat);
    value.copy_(initial[i].second);
    value.set_requires_grad(true);
    gradients.push_back(piece(flat_gradient));
    value.mutable_grad() = gradients.back();
    values.push_back(std::move(value));
  }
}

void Parameters::clear_gradients() {
  at::NoGradGuard no_grad;
  flat_gradient.zero_();
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!values[i].grad().is_same(gradients[i])) values[i].mutable_grad() = gradients[i];
}

void Parameters::release_gradients() {
  for (at::Tensor& value : values)
    value.mutable_grad() = at::Tensor();
}

void Parameters::collect_gradient(std::size_t i) {
  at::NoGradGuard no_grad;
  at::Tensor& found = values[i].mutable_grad();
  if (found.is_same(gradients[i])) return;
  if (found.defined())
    gradients[i].copy_(found);
  else
    gradients[i].zero_();
  found = gradients[i];
}

void Parameters::collect_gradients() {
  for (std::size_t i = 0; i < values.size(); ++i)
    collect_gradient(i);
}

at::Tensor initial_value(const Parameter& p, std::uint64_t seed, at::ScalarType type) {
  if (p.integer) return at::zeros(p.shape, at::kLong);
  at::Tensor value = at::empty(p.shape, at::kDouble);
  double* to = value.data_ptr<double>();
  const std::int64_t n = value.numel();
  compute::Stream random = stream(seed, Channel::initial, item_of(p.name));
  const double bound = 1 / std::sqrt(static_cast<double>(p.fan_in));
  for (std::int64_t i = 0; i < n; ++i)
    switch (p.initial) {
      case Initial::fan_in:
        to[i] = bound * (2 * random.uniform() - 1);
        break;
      case Initial::zeros:
        to[i] = 0;
        break;
      case Initial::ones:
        to[i] = 1;
        break;
      case Initial::small:
        to[i] = 0.02 * random.normal();
        break;
      case Initial::normal:
        to[i] = random.normal();
        break;
    }
  return value.to(type);
}

Network make_network(Graph graph, std::uint64_t seed, at::ScalarType type) {
  Network network;
  network.graph = std::move(graph);
  network.type = type;
  std::vector<std::pair<std::string, at::Tensor>> trained;
  std::vector<at::Tensor> initial;
  for (const Parameter& p : network.graph.parameters) {
    initial.push_back(initial_value(p, seed, type));
    if (p.trainable) trained.emplace_back(p.name, initial.back());
  }
  network.trained = Parameters(trained);
  std::size_t next = 0;
  for (std::size_t i = 0; i < initial.size(); ++i)
    network.weights.push_back(network.graph.parameters[i].trainable ? network.trained.values[next++] : initial[i]);
  return network;
}

Network make_network(const ModelFile& model, at::ScalarType type) {
  Network network = make_network(model.graph, 1, type);
  load_state(network, model.state, "model");
  return network;
}

at::Tensor to_tensor(const formats::Variable& variable) {
  const std::vector<std::int64_t> shape(variable.shape.begin(), variable.shape.end());
  return std::visit(
      [&](const auto& values) -> at::Tensor {
        using T = typename std::decay_t<decltype(values)>::value_type;
        if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_same_v<T, std::int64_t> ||
                      std::is_same_v<T, std::int32_t> || std::is_same_v<T, std::uint8_t>)
          return at::from_blob(const_cast<T*>(values.data()), shape, c10::CppTypeToScalarType<T>::value).clone();
        throw bad_input("{}: expected real or whole numbers", variable.name);
      },
      variable.values);
}

formats::Variable to_variable(const std::string& name, const at::Tensor& tensor) {
  const at::Tensor flat = tensor.detach().contiguous();
  formats::Variable out;
  out.name = name;
  out.shape.assign(flat.sizes().begin(), flat.sizes().end());
  const auto copy = [&]<class T>(const at::Tensor& t, T) {
    out.values = std::vector<T>(t.data_ptr<T>(), t.data_ptr<T>() + t.numel());
  };
  if (flat.scalar_type() == at::kDouble)
    copy(flat, double());
  else if (flat.is_floating_point())
    copy(flat.to(at::kFloat), float());
  else
    copy(flat.to(at::kLong), std::int64_t());
  return out;
}

State state_of(const Network& network) {
  State state;
  for (std::size_t i = 0; i < network.weights.size(); ++i)
    state.push_back(to_variable(network.graph.parameters[i].name, network.weights[i]));
  return state;
}

void load_state(Network& network, const State& state, const std::string& file, bool partial) {
  at::NoGradGuard no_grad;
  const auto found = match_state(network.graph, state, file, partial);
  for (std::size_t i = 0; i < found.size(); ++i)
    if (found[i]) network.weights[i].detach().copy_(to_tensor(*found[i]).view(network.weights[i].sizes()));
}

at::Tensor forward(const Graph& graph, std::span<const at::Tensor> weights, const at::Tensor& x, const Pass& pass) {
  return forward(graph, weights, x, pass, 1, static_cast<int>(graph.nodes.size()));
}

at::Tensor forward(const Graph& graph, std::span<const at::Tensor> weights, const at::Tensor& x, const Pass& pass,
                   int begin, int end) {
  return Runner(graph, weights, pass).run(x, begin, end);
}

}  // namespace fachwerk::neural
