#include "neural/model_options.hpp"

namespace fachwerk::neural {

std::vector<cli::Option> model_option_list(ModelOptions& m, ModelSwitches& switches) {
  std::string models;
  for (const std::string& name : model_names())
    models += name + " ";
  return {
      {"--model",
       &m.name,
       "the network: " + models + "or spec:LAYERS, such as spec:conv16,3-bn-relu-pool2--flatten-fc10",
       {.value_name = "NAME"}},
      {"--hidden", &m.hidden, "widths of the hidden layers of an mlp (500)", {.minimum = 1}},
      {"--act", &m.activation, "activation of mlp and transformer", {.choices = {"relu", "tanh", "gelu", "sigmoid"}}},
      {"--out-act",
       &m.output_activation,
       "what follows the last layer of an mlp",
       {.choices = {"none", "sigmoid", "softmax"}}},
      {"--norm", &m.norm, "normalisation of lenet5 (batch) and vgg (none)", {.choices = {"batch", "none"}}},
      {"--bn", &switches.bn, "the same as --norm batch"},
      {"--no-bias", &switches.no_bias, "linear and convolution layers without bias"},
      {"--no-head-bias", &switches.no_head_bias, "the last layer without bias"},
      {"--shortcut", &m.shortcut, "residual nets: A pads, B projects", {.choices = {"A", "B"}}},
      {"--stem", &m.stem, "resnet18 and larger: by image size when not given", {.choices = {"imagenet", "cifar"}}},
      {"--classifier", &m.classifier, "of vgg", {.choices = {"small", "full"}}},
      {"--dropout", &m.dropout, "rate", {.minimum = 0, .maximum = 0.99}},
      {"--patch", &m.patch, "vit, mixer: pixels of a patch's side", {.minimum = 0}},
      {"--dim", &m.dim, "vit, mixer, transformer: width", {.minimum = 0}},
      {"--depth", &m.depth, "vit, mixer, transformer: blocks", {.minimum = 0}},
      {"--heads", &m.heads, "vit, transformer: heads; mixer: width of the token mlp", {.minimum = 0}},
      {"--mlp-dim", &m.mlp_dim, "vit, mixer, transformer: hidden width", {.minimum = 0}},
      {"--vocabulary", &m.vocabulary, "transformer on whole numbers: how many there are", {.minimum = 0}}};
}

}  // namespace fachwerk::neural
