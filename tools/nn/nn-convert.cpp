#include "cli/command.hpp"
#include "io/npy.hpp"
#include "neural/exchange.hpp"
#include "neural/model_options.hpp"

using namespace fachwerk;

namespace {

struct Options {
  std::string from = "auto", to = "auto", key, data, task = "classification";
  neural::ModelOptions model;
  neural::ModelSwitches switches;
  std::vector<std::int64_t> input;
  std::vector<double> mean, std;
  std::int64_t outputs = 0;
};

std::string format_of(const std::string& path, const std::string& given) {
  if (given != "auto") return given;
  for (const auto& [ending, format] : {std::pair<const char*, const char*>{".pt", "pt"},
                                       {".pth", "pt"},
                                       {".bin", "pt"},
                                       {".safetensors", "safetensors"},
                                       {".npz", "npz"},
                                       {".onnx", "onnx"},
                                       {".h5", "h5"},
                                       {".hdf5", "h5"},
                                       {"-", "h5"}})
    if (path.ends_with(ending)) return format;
  throw usage_error("{}: which format is this?", path).with_hint("--from and --to take h5, pt, safetensors, npz, onnx");
}

neural::State read(const std::string& format, const std::string& path, const std::string& key) {
  const formats::File file = formats::File::open(path);
  if (format == "pt") return neural::read_torch(file.bytes(), file.name(), key);
  if (format == "safetensors") return neural::read_safetensors(file.bytes(), file.name());
  if (format == "onnx") return neural::read_onnx(file.bytes(), file.name());
  return neural::read_npz_state(file.bytes(), file.name());
}

/// A complete model file from weights and what the options say of them; weights alone when they say nothing.
void write_h5(cli::Session& session, const std::string& path, const std::string& source, neural::State state,
              Options& o) {
  h5::Output out = h5::Output::create(path, session.force);
  out.stamp(session, "model");
  if (o.model.name.empty()) {
    neural::write_state(out, state);
    return out.commit();
  }
  o.switches.apply(o.model);
  neural::ModelFile model;
  model.classification = o.task == "classification";
  neural::Dims input = o.input;
  if (!o.data.empty()) {
    const neural::Dataset data = neural::read_dataset(h5::Input::open(o.data));
    input = data.train_or_any().sample;
    if (o.outputs == 0) o.outputs = data.outputs_count();
    model.classification = data.classification;
    model.inputs = data.inputs;
    model.outputs = data.outputs;
    model.class_names = data.class_names;
  }
  if (input.empty() || o.outputs < 1) throw usage_error("--model needs --data FILE, or --input-shape and --outputs");
  if (!o.mean.empty() || !o.std.empty()) model.inputs = {o.mean, o.std};
  if (!model.inputs.empty() && (model.inputs.mean.size() != static_cast<std::size_t>(input[0]) ||
                                model.inputs.std.size() != model.inputs.mean.size()))
    throw usage_error("--mean and --std: expected {} values each", input[0]);
  model.options = o.model;
  model.graph = neural::make_graph(o.model, input, o.outputs);
  for (auto& tensor : neural::match_state(model.graph, state, source))
    model.state.push_back(std::move(*tensor));
  neural::write_model(out, model);
  out.commit();
}

}  // namespace

int main(int argc, char** argv) {
  std::string input, output;
  Options o;
  o.model.name.clear();
  cli::Command command;
  command.name = "nn-convert";
  command.purpose = "convert weights between PyTorch, safetensors, NumPy, ONNX and HDF5";
  command.description =
      "Formats follow from the names: .pt .pth .bin (torch.save of a state_dict, or of a dictionary that has one), "
      ".safetensors, .npz, .onnx (its initialisers; only read) and .h5. No code in a .pt file is ever run: a pickle "
      "that "
      "asks for anything but tensors and dictionaries is refused.\n\n"
      "With --model the weights become a model file that nn-eval runs and nn-train starts from; names and shapes must "
      "be "
      "those of the model. Half precision becomes float32.";
  command.arguments = {cli::input("IN", input, "weights"), cli::output("OUT", output, "weights in another format")};
  command.options = neural::model_option_list(o.model, o.switches);
  const std::vector<cli::Option> own = {
      {"--from", &o.from, "format of IN", {.choices = {"auto", "h5", "pt", "safetensors", "npz", "onnx"}}},
      {"--to", &o.to, "format of OUT", {.choices = {"auto", "h5", "pt", "safetensors", "npz"}}},
      {"--key", &o.key, ".pt: where in the dictionary the state_dict is", {.value_name = "KEY"}},
      {"--data",
       &o.data,
       "with --model: samples, classes, mean and standard deviation of this data set",
       {.value_name = "FILE"}},
      {"--input-shape", &o.input, "with --model: of a sample, such as 3,32,32", {.minimum = 1}},
      {"--outputs", &o.outputs, "with --model: classes or targets", {.minimum = 0}},
      {"--task", &o.task, "with --model", {.choices = {"classification", "regression"}}},
      {"--mean", &o.mean, "with --model: subtracted from channels or features"},
      {"--std", &o.std, "with --model: they are divided by it"}};
  command.options.insert(command.options.end(), own.begin(), own.end());
  command.examples = {{"nn-convert model.h5 model.pt", "for torch.load and load_state_dict"},
                      {"nn-convert resnet18.pth model.h5 --model resnet18 --input-shape 3,224,224 --outputs 1000 "
                       "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225",
                       "weights from torchvision, ready for nn-eval"},
                      {"nn-convert llm.safetensors - | nn-info -", "what is in a file"}};
  command.reference = "safetensors: https://github.com/huggingface/safetensors; ONNX: https://onnx.ai";
  command.reads = "/model/state/NAME or /state/NAME";
  command.writes = "/model/state/NAME, and with --model all of a model file (nn-train --help)";
  return command.run(argc, argv, [&](cli::Session& session) {
    const std::string from = format_of(input, o.from), to = format_of(output, o.to);
    if (to == "onnx") throw usage_error("ONNX is only read");
    if (!o.model.name.empty() && to != "h5") throw usage_error("--model is for HDF5 output");
    neural::State state;
    if (from == "h5") {
      const h5::Input file = h5::Input::open(input);
      state = neural::read_state(file);
      if (neural::has_model(file)) {  // in the network's order, which is PyTorch's
        neural::ModelFile model = neural::read_model(file);
        state = std::move(model.state);
      }
    } else {
      state = read(from, input, o.key);
    }
    std::size_t numbers = 0;
    for (const formats::Variable& tensor : state)
      numbers += formats::count(tensor.shape);
    session.summary.add("tensors", state.size());
    session.summary.add("numbers", numbers);
    if (to == "h5") return write_h5(session, output, input, std::move(state), o);
    formats::Sink sink = formats::Sink::create(output, session.force);
    if (to == "pt")
      neural::write_torch(sink, state);
    else if (to == "safetensors")
      neural::write_safetensors(sink, state);
    else
      formats::write_npz(sink, state, false);
    sink.commit();
  });
}
