#include "neural/graph.hpp"

#include <algorithm>
#include <map>
#include <stdexcept>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace fachwerk::neural {

namespace {

using Json = nlohmann::ordered_json;

const std::vector<std::pair<Op, std::string>>& op_names() {
  static const std::vector<std::pair<Op, std::string>> names = {{Op::input, "input"},
                                                                {Op::linear, "linear"},
                                                                {Op::conv, "conv"},
                                                                {Op::batch_norm, "batch_norm"},
                                                                {Op::layer_norm, "layer_norm"},
                                                                {Op::relu, "relu"},
                                                                {Op::tanh, "tanh"},
                                                                {Op::gelu, "gelu"},
                                                                {Op::sigmoid, "sigmoid"},
                                                                {Op::softmax, "softmax"},
                                                                {Op::dropout, "dropout"},
                                                                {Op::max_pool, "max_pool"},
                                                                {Op::mean_pool, "mean_pool"},
                                                                {Op::global_mean, "global_mean"},
                                                                {Op::resize_pool, "resize_pool"},
                                                                {Op::flatten, "flatten"},
                                                                {Op::unflatten, "unflatten"},
                                                                {Op::add, "add"},
                                                                {Op::shortcut, "shortcut"},
                                                                {Op::tokens, "tokens"},
                                                                {Op::patches, "patches"},
                                                                {Op::class_token, "class_token"},
                                                                {Op::position, "position"},
                                                                {Op::attention, "attention"},
                                                                {Op::window_attention, "window_attention"},
                                                                {Op::merge, "merge"},
                                                                {Op::first_token, "first_token"},
                                                                {Op::transpose, "transpose"},
                                                                {Op::embedding, "embedding"}};
  return names;
}

std::int64_t pooled(std::int64_t length, const Setting& s) {
  return (length + 2 * s.padding - s.kernel) / s.stride + 1;
}

void need_rank(const Node& node, const Dims& in, std::size_t rank) {
  if (in.size() != rank)
    throw usage_error("layer {}: expected an input of {} axes, found {}",
                      node.name.empty() ? op_name(node.op) : node.name, rank, text(in));
}

/// More values than this in one tensor are a mistake, or an attack on arithmetic.
constexpr double most_values = 0x1p36;

double size_of(const Dims& dims) {
  double n = 1;
  for (const auto d : dims)
    n *= static_cast<double>(d);
  return n;
}

/// Settings as files may give them: nothing that later products could overflow with.
void need_sane(const Setting& s, const std::string& name) {
  for (const std::int64_t value : {s.kernel, s.stride, s.padding, s.heads})
    if (value < 0 || value > 4096) throw usage_error("layer {}: a setting of {}", name, value);
  for (const std::int64_t value : {s.out, s.groups, s.classes})
    if (value < 0 || value > (1 << 28)) throw usage_error("layer {}: a setting of {}", name, value);
}

/// Columns of a grid of `out` rows of tokens.
std::int64_t grid_columns(const Node& node, const Dims& in) {
  need_rank(node, in, 2);
  const std::int64_t rows = node.setting.out;
  if (rows < 1 || in[0] % rows != 0) throw usage_error("layer {}: {} tokens are not {} rows", node.name, in[0], rows);
  return in[0] / rows;
}

}  // namespace

const std::string& op_name(Op op) {
  const auto& names = op_names();
  return std::find_if(names.begin(), names.end(), [op](const auto& pair) { return pair.first == op; })->second;
}

std::int64_t product(const Dims& dims) {
  std::int64_t n = 1;
  for (const auto d : dims)
    n *= d;
  return n;
}

std::string text(const Dims& dims) {
  return fmt::format("{}", fmt::join(dims, " x "));
}

std::int64_t Graph::count(bool trainable_only) const {
  std::int64_t n = 0;
  for (const Parameter& p : parameters)
    if (p.trainable || !trainable_only) n += product(p.shape);
  return n;
}

double Graph::flops() const {
  double total = 0;
  for (const Node& node : nodes)
    total += node.flops;
  return total;
}

int Graph::parameter(const std::string& name) const {
  for (std::size_t i = 0; i < parameters.size(); ++i)
    if (parameters[i].name == name) return static_cast<int>(i);
  return -1;
}

Builder::Builder(Dims input) {
  for (const auto d : input)
    if (d < 1) throw usage_error("a sample of shape {} has no values", text(input));
  if (size_of(input) > most_values) throw usage_error("a sample of shape {}", text(input));
  graph_.input = input;
  graph_.nodes.push_back({Op::input, {}, {}, {}, {}, std::move(input)});
}

int Builder::parameter(const std::string& name, Dims shape, Initial initial, std::int64_t fan_in, bool trainable,
                       bool integer) {
  if (size_of(shape) > most_values) throw usage_error("parameter {}: {} values", name, text(shape));
  if (graph_.parameter(name) >= 0) throw usage_error("two parameters are named {}", name);
  graph_.parameters.push_back({name, std::move(shape), initial, fan_in, trainable, integer});
  return static_cast<int>(graph_.parameters.size()) - 1;
}

int Builder::append(Op op, const std::vector<int>& inputs, const std::string& name, const Setting& setting) {
  need_sane(setting, name.empty() ? op_name(op) : name);
  Node node{op, name, inputs, setting, {}, {}};
  const auto at = [&](std::size_t i) -> const Dims& { return shape(inputs.at(i)); };
  for (const int i : inputs)
    if (i < 0 || i > last()) throw usage_error("layer {}: input {} does not exist", name, i);
  if (inputs.size() != (op == Op::add ? 2 : 1)) throw usage_error("layer {}: wrong number of inputs", name);
  const Setting& s = setting;
  Dims in = at(0);
  const double size = static_cast<double>(product(in));
  const auto prefix = [&](const char* what) { return name.empty() ? std::string(what) : name + "." + what; };
  const auto windows = [&] {
    need_rank(node, in, 3);
    if (s.kernel < 1 || s.stride < 1 || s.padding < 0) throw usage_error("layer {}: impossible window", name);
    const Dims out = {in[0], pooled(in[1], s), pooled(in[2], s)};
    if (in[1] + 2 * s.padding < s.kernel || in[2] + 2 * s.padding < s.kernel || out[1] < 1 || out[2] < 1)
      throw usage_error("layer {}: a {} x {} window does not fit {} x {} pixels", name.empty() ? op_name(op) : name,
                        s.kernel, s.kernel, in[1], in[2])
          .with_hint("larger images, or a model with less pooling");
    return out;
  };
  node.shape = in;
  switch (op) {
    case Op::input:
      throw usage_error("a graph has one input");
    case Op::linear: {
      if (s.out < 1) throw usage_error("layer {}: {} outputs", name, s.out);
      const std::int64_t features = in.back();
      node.parameters = {parameter(prefix("weight"), {s.out, features}, Initial::fan_in, features)};
      if (s.bias) node.parameters.push_back(parameter(prefix("bias"), {s.out}, Initial::fan_in, features));
      node.shape.back() = s.out;
      node.flops = 2 * size * static_cast<double>(s.out);
      break;
    }
    case Op::conv: {
      node.shape = windows();
      if (s.out < 1 || s.groups < 1 || in[0] % s.groups != 0 || s.out % s.groups != 0)
        throw usage_error("layer {}: {} to {} channels in {} groups", name, in[0], s.out, s.groups);
      node.shape[0] = s.out;
      const std::int64_t fan = in[0] / s.groups * s.kernel * s.kernel;
      node.parameters = {
          parameter(prefix("weight"), {s.out, in[0] / s.groups, s.kernel, s.kernel}, Initial::fan_in, fan)};
      if (s.bias) node.parameters.push_back(parameter(prefix("bias"), {s.out}, Initial::fan_in, fan));
      node.flops = 2.0 * static_cast<double>(fan) * static_cast<double>(product(node.shape));
      break;
    }
    case Op::batch_norm: {
      const std::int64_t c = in.front();
      node.parameters = {parameter(prefix("weight"), {c}, Initial::ones, c),
                         parameter(prefix("bias"), {c}, Initial::zeros, c),
                         parameter(prefix("running_mean"), {c}, Initial::zeros, c, false),
                         parameter(prefix("running_var"), {c}, Initial::ones, c, false),
                         parameter(prefix("num_batches_tracked"), {}, Initial::zeros, 1, false, true)};
      node.flops = 4 * size;
      break;
    }
    case Op::layer_norm: {
      const std::int64_t d = in.back();
      node.parameters = {parameter(prefix("weight"), {d}, Initial::ones, d),
                         parameter(prefix("bias"), {d}, Initial::zeros, d)};
      node.flops = 8 * size;
      break;
    }
    case Op::relu:
    case Op::tanh:
    case Op::gelu:
    case Op::sigmoid:
      node.flops = size;
      break;
    case Op::softmax:
      node.flops = 4 * size;
      break;
    case Op::dropout:
      if (!(s.rate >= 0 && s.rate < 1)) throw usage_error("a dropout rate of {}", s.rate);
      break;
    case Op::max_pool:
    case Op::mean_pool:
      node.shape = windows();
      node.flops = static_cast<double>(product(node.shape) * s.kernel * s.kernel);
      break;
    case Op::global_mean:
      if (in.size() < 2) throw usage_error("a mean over positions needs positions; found shape {}", text(in));
      node.shape = {in.size() == 2 ? in[1] : in[0]};
      node.flops = size;
      break;
    case Op::resize_pool:
      need_rank(node, in, 3);
      node.shape = {in[0], s.out, s.out};
      node.flops = size;
      break;
    case Op::flatten:
      node.shape = {product(in)};
      break;
    case Op::unflatten:
      need_rank(node, in, 1);
      if (s.out < 1 || in[0] % s.out != 0) throw usage_error("{} values are not {} tokens", in[0], s.out);
      node.shape = {s.out, in[0] / s.out};
      break;
    case Op::add:
      if (at(0) != at(1)) throw usage_error("layer {}: cannot add {} and {}", name, text(at(0)), text(at(1)));
      node.flops = size;
      break;
    case Op::shortcut:
      need_rank(node, in, 3);
      if (s.out < in[0] || s.stride < 1) throw usage_error("layer {}: impossible shortcut", name);
      node.shape = {s.out, (in[1] - 1) / s.stride + 1, (in[2] - 1) / s.stride + 1};
      break;
    case Op::tokens:
      need_rank(node, in, 3);
      node.shape = {in[1] * in[2], in[0]};
      break;
    case Op::patches:
      need_rank(node, in, 3);
      if (s.kernel < 1 || in[1] % s.kernel != 0 || in[2] % s.kernel != 0)
        throw usage_error("{} x {} pixels are not patches of {}", in[1], in[2], s.kernel);
      node.shape = {in[1] * in[2] / (s.kernel * s.kernel), in[0] * s.kernel * s.kernel};
      break;
    case Op::class_token:
      need_rank(node, in, 2);
      node.parameters = {parameter(name, {1, 1, in[1]}, Initial::small, in[1])};
      node.shape[0] += 1;
      break;
    case Op::position:
      need_rank(node, in, 2);
      node.parameters = {parameter(name, {1, in[0], in[1]}, Initial::small, in[1])};
      node.flops = size;
      break;
    case Op::attention: {
      need_rank(node, in, 2);
      if (s.heads < 1 || in[1] % (3 * s.heads) != 0)
        throw usage_error("{} features are not q, k, v of {} heads", in[1], s.heads);
      node.shape[1] = in[1] / 3;
      const double t = static_cast<double>(in[0]);
      node.flops = 4 * t * t * static_cast<double>(in[1]) / 3 + 4 * t * t * static_cast<double>(s.heads);
      break;
    }
    case Op::window_attention: {
      const std::int64_t columns = grid_columns(node, in);
      if (s.heads < 1 || in[1] % (3 * s.heads) != 0)
        throw usage_error("{} features are not q, k, v of {} heads", in[1], s.heads);
      if (s.kernel < 1 || s.out % s.kernel != 0 || columns % s.kernel != 0 || s.padding < 0 || s.padding >= s.kernel)
        throw usage_error("layer {}: {} x {} tokens are not windows of {} moved by {}", name, s.out, columns, s.kernel,
                          s.padding);
      const std::int64_t side = 2 * s.kernel - 1;
      node.parameters = {parameter(prefix("relative_position_bias_table"), {side * side, s.heads}, Initial::small, 1)};
      node.shape[1] = in[1] / 3;
      const double t = static_cast<double>(in[0]), window = static_cast<double>(s.kernel * s.kernel);
      node.flops = 4 * t * window * static_cast<double>(in[1]) / 3 + 5 * t * window * static_cast<double>(s.heads);
      break;
    }
    case Op::merge:
      if (grid_columns(node, in) % 2 != 0 || s.out % 2 != 0)
        throw usage_error("layer {}: a grid of {} x {} tokens cannot be halved", name, s.out, in[0] / s.out);
      node.shape = {in[0] / 4, 4 * in[1]};
      break;
    case Op::first_token:
      need_rank(node, in, 2);
      node.shape = {in[1]};
      break;
    case Op::transpose:
      need_rank(node, in, 2);
      node.shape = {in[1], in[0]};
      break;
    case Op::embedding:
      need_rank(node, in, 1);
      if (s.classes < 1 || s.out < 1) throw usage_error("layer {}: {} tokens of {} features", name, s.classes, s.out);
      node.parameters = {parameter(prefix("weight"), {s.classes, s.out}, Initial::normal, s.out)};
      node.shape = {in[0], s.out};
      break;
  }
  if (size_of(node.shape) > most_values) throw usage_error("layer {}: {} values", name, text(node.shape));
  graph_.nodes.push_back(std::move(node));
  return last();
}

void Builder::end_block(const std::string& name) {
  graph_.blocks.push_back({name, block_begin_, last() + 1});
  block_begin_ = last() + 1;
}

Graph Builder::build() {
  if (block_begin_ <= last()) end_block("head");
  // A block may read its own nodes and the last one before it, nothing else.
  for (const Block& block : graph_.blocks)
    for (int i = block.begin; i < block.end; ++i)
      for (const int input : graph_.nodes[static_cast<std::size_t>(i)].inputs)
        if (input < block.begin - 1) throw std::logic_error("block " + block.name + " reads past its input");
  return graph_;
}

std::string to_json(const Graph& graph) {
  Json nodes = Json::array();
  const Setting plain;
  for (const Node& node : graph.nodes) {
    if (node.op == Op::input) continue;
    Json item = {{"op", op_name(node.op)}, {"inputs", node.inputs}};
    if (!node.name.empty()) item["name"] = node.name;
    const auto put = [&](const char* key, const auto& value, const auto& usual) {
      if (value != usual) item[key] = value;
    };
    const Setting& s = node.setting;
    put("out", s.out, plain.out);
    put("kernel", s.kernel, plain.kernel);
    put("stride", s.stride, plain.stride);
    put("padding", s.padding, plain.padding);
    put("groups", s.groups, plain.groups);
    put("heads", s.heads, plain.heads);
    put("classes", s.classes, plain.classes);
    put("rate", s.rate, plain.rate);
    put("bias", s.bias, plain.bias);
    nodes.push_back(std::move(item));
  }
  Json blocks = Json::array();
  for (const Block& block : graph.blocks)
    blocks.push_back({{"name", block.name}, {"end", block.end}});
  return Json{{"input", graph.input}, {"nodes", nodes}, {"blocks", blocks}}.dump();
}

Graph graph_from_json(const std::string& source, const std::string& name) {
  try {
    const Json json = Json::parse(source);
    Builder builder(json.at("input").get<Dims>());
    std::map<int, std::string> ends;
    for (const Json& block : json.value("blocks", Json::array()))
      ends[block.at("end").get<int>()] = block.at("name").get<std::string>();
    for (const Json& item : json.at("nodes")) {
      const std::string op = item.at("op").get<std::string>();
      const auto& names = op_names();
      const auto found = std::find_if(names.begin(), names.end(), [&](const auto& pair) { return pair.second == op; });
      if (found == names.end()) throw bad_input("{}: unknown operation \"{}\"", name, op);
      Setting s;
      s.out = item.value("out", s.out);
      s.kernel = item.value("kernel", s.kernel);
      s.stride = item.value("stride", s.stride);
      s.padding = item.value("padding", s.padding);
      s.groups = item.value("groups", s.groups);
      s.heads = item.value("heads", s.heads);
      s.classes = item.value("classes", s.classes);
      s.rate = item.value("rate", s.rate);
      s.bias = item.value("bias", s.bias);
      const int node =
          builder.append(found->first, item.at("inputs").get<std::vector<int>>(), item.value("name", ""), s);
      if (const auto end = ends.find(node + 1); end != ends.end()) builder.end_block(end->second);
    }
    if (builder.last() == 0) throw bad_input("{}: a graph without layers", name);
    return builder.build();
  } catch (const nlohmann::json::exception& error) {
    throw bad_input("{}: not a graph: {}", name, error.what());
  } catch (const std::logic_error& error) {
    throw bad_input("{}: not a graph: {}", name, error.what());
  } catch (const Error& error) {
    throw bad_input("{}: {}", name, error.what());
  }
}

}  // namespace fachwerk::neural
