#include <cmath>

#include "cli/command.hpp"
#include "neural/options.hpp"

using namespace fachwerk;

namespace {

/// The data set as this model sees it: its standardisation, not that of the file.
neural::Dataset read_for(const neural::ModelFile& model, const std::string& path, const neural::DatasetPaths& paths) {
  neural::Dataset data = neural::read_dataset(h5::Input::open(path), paths);
  const neural::Dims& sample = data.train_or_any().sample;
  if (sample != model.graph.input)
    throw bad_input("{}: expected samples of {} as the model takes, found {}", data.name,
                    neural::text(model.graph.input), neural::text(sample));
  if (data.classification != model.classification)
    throw bad_input("{}: expected a {}", data.name, model.classification ? "classification" : "regression");
  const std::int64_t outputs = model.graph.output().back();
  if (data.outputs_count() > outputs)
    throw bad_input("{}: {} classes or targets, the model has {}", data.name, data.outputs_count(), outputs);
  if (data.classification) data.classes = outputs;
  data.inputs = model.inputs;
  data.outputs = model.outputs;
  return data;
}

void write_outputs(const cli::Session& session, const std::string& path, const std::vector<float>& values,
                   const neural::Dataset& data, const neural::Split& split, const h5::Node& source) {
  h5::Output out = h5::Output::create(path, session.force);
  out.stamp(session, "array", &source);
  out.write("/outputs", values, {split.count, values.size() / split.count},
            {.units = "1",
             .long_name = "output of the network",
             .dims = {"sample", data.classification ? "class" : "target"}});
  std::vector<std::int64_t> ids;
  for (std::size_t i = 0; i < split.count; ++i)
    ids.push_back(split.id(i));
  out.column("/index", ids, {.units = "1", .long_name = "id of the sample", .dims = {"sample"}});
  out.commit();
}

}  // namespace

int main(int argc, char** argv) {
  std::string model_path, data_path, output, part, type = "f32";
  neural::DatasetPaths paths;
  std::int64_t batch = 500;
  cli::Command command;
  command.name = "nn-eval";
  command.purpose = "measure a network on a data set";
  command.description =
      "Runs the network of a model file over a part of a data set and prints its quality: accuracy, negative "
      "log-likelihood, calibration error (15 bins), Brier score and area under the ROC (mean of each class against the rest) for classes; mean squared, absolute and relative "
      "error "
      "and R2 for a regression, in the targets' own units. With OUT the outputs of every sample are written. The "
      "standardisation is that of the model file.";
  command.arguments = {cli::input("MODEL", model_path, "model file"), cli::input("DATA", data_path, "data set"),
                       cli::optional_output("OUT", output, "outputs of every sample")};
  command.options = {
      {"--part", &part, "train, val or test; test if there is one", {.choices = {"train", "val", "test"}}},
      {"--batch", &batch, "samples at a time", {.minimum = 1}},
      {"--dtype", &type, "arithmetic", {.choices = {"f32", "f64"}}},
      {"--x", &paths.x, "where the samples are", {.value_name = "PATH"}},
      {"--y", &paths.y, "where the targets are", {.value_name = "PATH"}}};
  command.examples = {
      {"nn-train data/digits.h5 - --epochs 3 | nn-eval - data/digits.h5", "train and test"},
      {"nn-eval model.h5 data/digits.h5 out.h5 --part train --json", "outputs on the training part, numbers as JSON"}};
  command.reference = "C. Guo et al., \"On calibration of modern neural networks\", ICML 2017 (calibration error).";
  command.reads = std::string("a model file (nn-train --help), and a data set:\n") + neural::reads_dataset;
  command.writes =
      "/outputs [N,O]: logits, or values in the scaled units of a regression\n/index [N]: ids of the samples";
  command.standard.threads = true;
  return command.run(argc, argv, [&](cli::Session& session) {
    neural::use_threads(session.threads);
    const h5::Input file = h5::Input::open(model_path);
    const neural::ModelFile model = neural::read_model(file);
    const neural::Dataset data = read_for(model, data_path, paths);
    if (part.empty()) part = !data.test.empty() ? "test" : !data.val.empty() ? "val" : "train";
    const neural::Split& split = data.part(part);
    if (split.empty()) throw bad_input("{}:/{}/x: no samples", data.name, part);
    const neural::Network network = neural::make_network(model, type == "f64" ? at::kDouble : at::kFloat);
    std::vector<float> values;  // [samples, outputs]
    const auto keep = [&](const at::Tensor& result, const neural::Batch&) {
      const at::Tensor y = result.to(at::kFloat).contiguous();
      values.insert(values.end(), y.data_ptr<float>(), y.data_ptr<float>() + y.numel());
    };
    const neural::Metrics m =
        neural::evaluate(network.graph, network.weights, data, split, {}, batch, network.type, {}, keep);
    cli::Summary& summary = session.summary;
    summary.add("part", part);
    summary.add("samples", m.count);
    summary.add("loss", m.loss);
    if (model.classification) {
      summary.add("accuracy", m.accuracy);
      summary.add("nll", m.nll);
      summary.add("ece", m.ece);
      summary.add("brier", m.brier);
      if (!split.labels.empty()) summary.add("auroc", neural::auroc(values, split.labels, data.classes));
    } else {
      summary.add("mse", m.mse);
      summary.add("mae", m.mae);
      summary.add("mape", m.mape);
      summary.add("r2", m.r2);
    }
    if (!output.empty()) write_outputs(session, output, values, data, split, file);
    if (!std::isfinite(m.loss)) session.fail("the outputs of the network are not finite");
  });
}
