#include <fmt/format.h>

#include "cli/command.hpp"
#include "neural/dataset.hpp"
#include "neural/model_file.hpp"

using namespace fachwerk;

namespace {

void describe_dataset(cli::Session& session, const h5::Node& file) {
  const neural::Dataset data = neural::read_dataset(file);
  session.summary.add("kind", "dataset");
  session.summary.add("task", data.classification ? "classification" : "regression");
  session.summary.add(data.classification ? "classes" : "targets", data.outputs_count());
  session.summary.add("sample", neural::text(data.train_or_any().sample));
  for (const char* part : {"train", "val", "test"})
    session.summary.add(std::string(part) + " samples", data.part(part).count);
  if (!data.class_names.empty()) session.summary.add("class names", data.class_names);
  if (!data.source.empty()) session.summary.add("source", data.source);
  if (!data.licence.empty()) session.summary.add("licence", data.licence);
}

std::string shape_text(const formats::Shape& shape) {
  return shape.empty() ? "scalar" : neural::text(neural::Dims(shape.begin(), shape.end()));
}

void describe_state(cli::Session& session, const neural::State& state) {
  cli::Table table{"tensors", {"name", "shape", "type", "mean", "rms"}};
  for (const formats::Variable& tensor : state) {
    double sum = 0, squares = 0;
    const auto n = static_cast<double>(std::max<std::size_t>(1, formats::length(tensor.values)));
    for (const double v : formats::as_reals(tensor.values, tensor.name)) {
      sum += v;
      squares += v * v;
    }
    table.rows.push_back(
        {tensor.name, shape_text(tensor.shape), formats::type_name(tensor.values), sum / n, std::sqrt(squares / n)});
  }
  session.summary.add(std::move(table));
}

void describe_layers(cli::Session& session, const neural::Graph& graph) {
  cli::Table table{"layers", {"node", "operation", "name", "output", "parameters", "MFLOP"}};
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const neural::Node& node = graph.nodes[i];
    std::int64_t parameters = 0;
    for (const int p : node.parameters)
      if (graph.parameters[static_cast<std::size_t>(p)].trainable)
        parameters += neural::product(graph.parameters[static_cast<std::size_t>(p)].shape);
    table.rows.push_back({static_cast<std::int64_t>(i), neural::op_name(node.op), node.name, neural::text(node.shape),
                          parameters, node.flops / 1e6});
  }
  session.summary.add(std::move(table));
}

}  // namespace

int main(int argc, char** argv) {
  std::string path;
  bool layers = false;
  cli::Command command;
  command.name = "nn-info";
  command.purpose = "say what a model, weights or data set file holds";
  command.description =
      "Prints model, parameter count, floating-point operations of a forward pass and every tensor of a model file "
      "with "
      "its mean and root mean square; task, shapes and sizes of a data set.";
  command.arguments = {cli::input("FILE", path, "model file, weights, checkpoint or data set")};
  command.options = {{"--layers", &layers, "a table of the network's layers"}};
  command.examples = {{"nn-info model.h5 --layers", "layer by layer"},
                      {"nn-train data/digits.h5 - --epochs 1 | nn-info -", "at the end of a pipe"}};
  command.reads = "/model/state/NAME, or a data set";
  command.writes = "nothing";
  return command.run(argc, argv, [&](cli::Session& session) {
    const h5::Input file = h5::Input::open(path);
    if (!file.exists("/model/state") && !file.exists("/state")) return describe_dataset(session, file);
    const neural::State state = neural::read_state(file);
    cli::Summary& summary = session.summary;
    if (neural::has_model(file)) {
      const neural::ModelFile model = neural::read_model(file);
      summary.add("kind", "model");
      summary.add("model", model.options.name);
      summary.add("input", neural::text(model.graph.input));
      summary.add("outputs", model.graph.output().back());
      summary.add("task", model.classification ? "classification" : "regression");
      summary.add("parameters", model.graph.count());
      summary.add("with buffers", model.graph.count(false));
      summary.add("forward pass", model.graph.flops() / 1e6, "MFLOP");
      if (layers) describe_layers(session, model.graph);
    } else {
      std::int64_t count = 0;
      for (const formats::Variable& tensor : state)
        count += static_cast<std::int64_t>(formats::count(tensor.shape));
      summary.add("kind", "weights");
      summary.add("tensors", state.size());
      summary.add("numbers", count);
    }
    describe_state(session, state);
  });
}
