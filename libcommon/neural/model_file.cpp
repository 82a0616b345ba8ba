#include "neural/model_file.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace fachwerk::neural {

namespace {

std::string state_group(const h5::Node& file) {
  for (const char* group : {"/model/state", "/state"})
    if (file.exists(group)) return group;
  throw bad_input("{}:/model/state: no such group", file.name())
      .with_hint("expected a model file, see nn-train --help");
}

formats::Variable read_tensor(const h5::Node& file, const std::string& path, const std::string& name) {
  formats::Variable tensor;
  tensor.name = name;
  const h5::DatasetInfo info = file.info(path);
  tensor.shape = info.shape;
  if (info.type == h5::TypeClass::integer)
    tensor.values = file.read<std::int64_t>(path).values;
  else if (info.type == h5::TypeClass::real && info.bytes == 8)
    tensor.values = file.read<double>(path).values;
  else
    tensor.values = file.read<float>(path).values;
  return tensor;
}

Dims dims_of(const h5::Shape& shape) {
  return {shape.begin(), shape.end()};
}

}  // namespace

State read_state(const h5::Node& file) {
  const std::string group = state_group(file);
  State state;
  for (const std::string& name : file.children(group))
    if (file.is_dataset(group + "/" + name)) state.push_back(read_tensor(file, group + "/" + name, name));
  if (state.empty()) throw bad_input("{}:{}: no tensors", file.name(), group);
  return state;
}

bool has_model(const h5::Node& file) {
  return file.exists("/model") && file.text("/model", "model").has_value();
}

ModelFile read_model(const h5::Node& file) {
  ModelFile model;
  if (!has_model(file))
    throw bad_input("{}:/model: expected the attribute model", file.name())
        .with_hint("weights alone: nn-convert --model NAME says what they are");
  model.options =
      ModelOptions::from_json(file.text("/model", "model_args").value_or(""), file.text("/model", "model").value());
  Dims input;
  for (const double d : file.numbers("/model", "input_shape")) {
    if (!(d >= 1 && d < 1e9)) throw bad_input("{}:/model: attribute input_shape: {}", file.name(), d);
    input.push_back(static_cast<std::int64_t>(d));
  }
  const double outputs = file.number("/model", "outputs").value_or(file.number("/model", "classes").value_or(0));
  if (input.empty() || !(outputs >= 1 && outputs < 1e9))
    throw bad_input("{}:/model: expected attributes input_shape and classes", file.name());
  try {
    if (file.is_dataset("/graph"))
      model.graph = graph_from_json(file.strings("/graph").at(0), file.name() + ":/graph");
    else
      model.graph = make_graph(model.options, input, static_cast<std::int64_t>(outputs));
  } catch (const Error& error) {
    throw bad_input("{}:/model: {}", file.name(), error.what());
  }
  model.classification = file.text("/model", "task").value_or("classification") != "regression";
  model.inputs = {file.numbers("/model", "mean"), file.numbers("/model", "std")};
  model.outputs = {file.numbers("/model", "target_mean"), file.numbers("/model", "target_std")};
  for (const auto* s : {&model.inputs, &model.outputs})
    if (s->mean.size() != s->std.size()) throw bad_input("{}:/model: mean and std of unequal lengths", file.name());
  if (!model.inputs.empty() && static_cast<std::int64_t>(model.inputs.mean.size()) != model.graph.input[0])
    throw bad_input("{}:/model: attribute mean: expected {} values", file.name(), model.graph.input[0]);
  model.class_names = file.texts("/model", "class_names");
  State ordered;
  for (auto& tensor : match_state(model.graph, read_state(file), file.name())) {
    if (const auto* values = std::get_if<std::vector<float>>(&tensor->values))
      for (std::size_t i = 0; i < values->size(); ++i)
        if (!std::isfinite((*values)[i]))
          throw bad_input("{}:/model/state/{}: entry {} is not finite", file.name(), tensor->name, i);
    ordered.push_back(std::move(*tensor));
  }
  model.state = std::move(ordered);
  return model;
}

void write_state(h5::Output& file, const State& state, const Graph* graph, const std::string& group) {
  for (const formats::Variable& tensor : state) {
    const std::string path = group + "/" + tensor.name;
    const h5::Describe describe{.units = "1",
                                .long_name = tensor.name,
                                .deflate = formats::count(tensor.shape) > 65536 ? std::optional<int>(4) : std::nullopt};
    std::visit(
        [&](const auto& values) {
          using T = typename std::decay_t<decltype(values)>::value_type;
          if constexpr (h5::Numeric<T>) file.write(path, values, tensor.shape, describe);
        },
        tensor.values);
    if (graph != nullptr) {
      const int index = graph->parameter(tensor.name);
      file.attribute(path, "requires_grad",
                     index >= 0 && graph->parameters[static_cast<std::size_t>(index)].trainable ? 1 : 0);
    }
  }
}

void write_model(h5::Output& file, const ModelFile& model) {
  write_state(file, model.state, &model.graph);
  const auto reals = [](const Dims& dims) { return std::vector<double>(dims.begin(), dims.end()); };
  file.attribute("/model", "model", model.options.name);
  file.attribute("/model", "model_args", model.options.to_json());
  file.attribute("/model", "input_shape", reals(model.graph.input));
  file.attribute("/model", "outputs", model.graph.output().back());
  if (model.classification) file.attribute("/model", "classes", model.graph.output().back());
  file.attribute("/model", "task", model.classification ? "classification" : "regression");
  file.attribute("/model", "format_version", 1);
  if (!model.inputs.empty()) {
    file.attribute("/model", "mean", model.inputs.mean);
    file.attribute("/model", "std", model.inputs.std);
  }
  if (!model.outputs.empty()) {
    file.attribute("/model", "target_mean", model.outputs.mean);
    file.attribute("/model", "target_std", model.outputs.std);
  }
  if (!model.class_names.empty()) file.attribute("/model", "class_names", model.class_names);
  file.strings("/graph", {to_json(model.graph)}, {.units = "", .long_name = "the network, node by node, as JSON"});
}

std::vector<std::optional<formats::Variable>> match_state(const Graph& graph, const State& state,
                                                          const std::string& file, bool partial) {
  std::vector<std::optional<formats::Variable>> found(graph.parameters.size());
  std::vector<std::string> missing, unexpected;
  for (const formats::Variable& tensor : state) {
    const int index = graph.parameter(tensor.name);
    if (index < 0) {
      unexpected.push_back(tensor.name);
      continue;
    }
    const Parameter& parameter = graph.parameters[static_cast<std::size_t>(index)];
    Dims shape = dims_of(tensor.shape);
    if (shape == Dims{1} && parameter.shape.empty()) shape.clear();
    if (shape != parameter.shape) {
      if (partial) continue;
      throw bad_input("{}:/model/state/{}: expected shape {}, found {}", file, tensor.name, text(parameter.shape),
                      text(shape));
    }
    found[static_cast<std::size_t>(index)] = tensor;
  }
  if (partial) return found;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const Parameter& parameter = graph.parameters[i];
    if (found[i]) continue;
    if (parameter.integer) {  // counters of batch normalisation may be absent: other frameworks have none
      found[i] = formats::Variable{parameter.name, {}, std::vector<std::int64_t>{0}};
      continue;
    }
    missing.push_back(parameter.name);
  }
  const auto few = [](const std::vector<std::string>& names) {
    const std::vector<std::string> first(
        names.begin(), names.begin() + std::min<std::ptrdiff_t>(4, static_cast<std::ptrdiff_t>(names.size())));
    return fmt::format("{}{}", fmt::join(first, ", "),
                       names.size() > 4 ? fmt::format(" and {} more", names.size() - 4) : "");
  };
  if (!missing.empty()) throw bad_input("{}:/model/state: missing {}", file, few(missing));
  if (!unexpected.empty()) throw bad_input("{}:/model/state: unexpected {}", file, few(unexpected));
  return found;
}

}  // namespace fachwerk::neural
