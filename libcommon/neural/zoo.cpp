#include "neural/zoo.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace fachwerk::neural {

namespace {

using Json = nlohmann::ordered_json;

Op activation(const std::string& name) {
  if (name == "relu") return Op::relu;
  if (name == "tanh") return Op::tanh;
  if (name == "gelu") return Op::gelu;
  if (name == "sigmoid") return Op::sigmoid;
  throw usage_error("\"{}\" is not one of the activations relu, tanh, gelu, sigmoid", name);
}

/// One sample as an image; a row of features becomes an error that says so.
void need_image(const ModelOptions& o, const Dims& input) {
  if (input.size() != 3)
    throw usage_error("model {} needs images (channels x rows x columns), found samples of {}", o.name, text(input))
        .with_hint("--model mlp takes any shape");
}

int mlp(Builder& b, const ModelOptions& o, std::int64_t outputs, const std::vector<std::int64_t>& hidden) {
  int x = b.shape(0).size() == 1 ? 0 : b.plain(Op::flatten, 0);
  const Op act = activation(o.activation.empty() ? "relu" : o.activation);
  for (std::size_t i = 0; i < hidden.size(); ++i) {
    x = b.linear(x, fmt::format("layers.{}", i), hidden[i], o.bias);
    x = b.dropout(b.plain(act, x), o.dropout);
    b.end_block(fmt::format("layers.{}", i));
  }
  x = b.linear(x, fmt::format("layers.{}", hidden.size()), outputs, o.bias && o.head_bias);
  if (o.output_activation == "sigmoid") x = b.plain(Op::sigmoid, x);
  if (o.output_activation == "softmax") x = b.plain(Op::softmax, x);
  return x;
}

/// LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", Proc. IEEE 86 (1998),
/// with ReLU, max pooling and, by default, batch normalisation.
int lenet5(Builder& b, const ModelOptions& o, std::int64_t outputs) {
  const bool norm = o.norm != "none";
  int x = 0;
  for (const int layer : {1, 2}) {
    const std::string name = fmt::format("conv{}", layer);
    x = b.conv(x, name + ".0", layer == 1 ? 6 : 16, 5, 1, 0, o.bias);
    if (norm) x = b.batch_norm(x, name + ".1");
    x = b.max_pool(b.plain(Op::relu, x), 2, 2);
    b.end_block(name);
  }
  x = b.plain(Op::relu, b.linear(b.plain(Op::flatten, x), "fc1.1", 120, o.bias));
  b.end_block("fc1");
  x = b.plain(Op::relu, b.linear(x, "fc2.0", 84, o.bias));
  b.end_block("fc2");
  return b.linear(x, "fc3", outputs, o.bias && o.head_bias);
}

/// conv, norm, relu; the names of torchvision's basic block.
int conv_norm(Builder& b, int x, const std::string& conv, const std::string& norm, std::int64_t out,
              std::int64_t kernel, std::int64_t stride, bool relu) {
  x = b.batch_norm(b.conv(x, conv, out, kernel, stride, kernel / 2, false), norm);
  return relu ? b.plain(Op::relu, x) : x;
}

int projection(Builder& b, int x, const std::string& name, std::int64_t out, std::int64_t stride) {
  return conv_norm(b, x, name + ".downsample.0", name + ".downsample.1", out, 1, stride, false);
}

int basic_block(Builder& b, int in, const std::string& name, std::int64_t out, std::int64_t stride, bool padded) {
  int x = conv_norm(b, in, name + ".conv1", name + ".bn1", out, 3, stride, true);
  x = conv_norm(b, x, name + ".conv2", name + ".bn2", out, 3, 1, false);
  int skip = in;
  if (stride != 1 || b.shape(in)[0] != out)
    skip = padded ? b.append(Op::shortcut, {in}, {}, {.out = out, .stride = stride})
                  : projection(b, in, name, out, stride);
  x = b.plain(Op::relu, b.append(Op::add, {x, skip}));
  b.end_block(name);
  return x;
}

int bottleneck(Builder& b, int in, const std::string& name, std::int64_t width, std::int64_t stride) {
  int x = conv_norm(b, in, name + ".conv1", name + ".bn1", width, 1, 1, true);
  x = conv_norm(b, x, name + ".conv2", name + ".bn2", width, 3, stride, true);
  x = conv_norm(b, x, name + ".conv3", name + ".bn3", 4 * width, 1, 1, false);
  const bool same = stride == 1 && b.shape(in)[0] == 4 * width;
  x = b.plain(Op::relu, b.append(Op::add, {x, same ? in : projection(b, in, name, 4 * width, stride)}));
  b.end_block(name);
  return x;
}

/// K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016, section 4.2: 6n+2
/// layers.
int resnet_small(Builder& b, const ModelOptions& o, int layers, std::int64_t outputs) {
  int x = conv_norm(b, 0, "conv1", "bn1", 16, 3, 1, true);
  b.end_block("stem");
  for (int stage = 0; stage < 3; ++stage)
    for (int i = 0; i < (layers - 2) / 6; ++i)
      x = basic_block(b, x, fmt::format("layer{}.{}", stage + 1, i), 16 << stage, stage > 0 && i == 0 ? 2 : 1,
                      o.shortcut == "A");
  return b.linear(b.plain(Op::global_mean, x), "fc", outputs, o.head_bias);
}

/// The same paper's table 1, layout and names of torchvision.
int resnet(Builder& b, const ModelOptions& o, int layers, std::int64_t outputs) {
  const bool small = o.stem.empty() ? b.shape(0)[1] < 64 : o.stem == "cifar";
  int x = 0;
  if (small) {
    x = conv_norm(b, x, "conv1", "bn1", 64, 3, 1, true);
  } else {
    x = conv_norm(b, x, "conv1", "bn1", 64, 7, 2, true);
    x = b.max_pool(x, 3, 2, 1);
  }
  b.end_block("stem");
  const std::vector<int> depth = layers == 18 ? std::vector{2, 2, 2, 2} : std::vector{3, 4, 6, 3};
  for (int stage = 0; stage < 4; ++stage)
    for (int i = 0; i < depth[static_cast<std::size_t>(stage)]; ++i) {
      const std::string name = fmt::format("layer{}.{}", stage + 1, i);
      const std::int64_t width = 64 << stage, stride = stage > 0 && i == 0 ? 2 : 1;
      x = layers == 50 ? bottleneck(b, x, name, width, stride)
                       : basic_block(b, x, name, width, stride, o.shortcut == "A");
    }
  return b.linear(b.plain(Op::global_mean, x), "fc", outputs, o.head_bias);
}

/// K. Simonyan, A. Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015.
int vgg(Builder& b, const ModelOptions& o, int layers, std::int64_t outputs) {
  const std::vector<int> eleven = {64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0};
  const std::vector<int> sixteen = {64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0};
  const bool norm = o.norm == "batch";
  int x = 0, layer = 0;
  for (const int width : layers == 11 ? eleven : sixteen) {
    const std::string name = fmt::format("features.{}", layer);
    if (width == 0) {
      x = b.max_pool(x, 2, 2);
      layer += 1;
    } else {
      x = b.conv(x, name, width, 3, 1, 1, o.bias);
      if (norm) x = b.batch_norm(x, fmt::format("features.{}", ++layer));
      x = b.plain(Op::relu, x);
      layer += 2;
      b.end_block(name);
    }
  }
  const bool bias = o.bias && o.head_bias;
  if (o.classifier == "small") return b.linear(b.plain(Op::global_mean, x), "classifier", outputs, bias);
  x = b.plain(Op::flatten, b.append(Op::resize_pool, {x}, {}, {.out = 7}));
  const double rate = o.dropout > 0 ? o.dropout : 0.5;
  x = b.dropout(b.plain(Op::relu, b.linear(x, "classifier.0", 4096, o.bias)), rate);
  x = b.dropout(b.plain(Op::relu, b.linear(x, "classifier.3", 4096, o.bias)), rate);
  return b.linear(x, "classifier.6", outputs, bias);
}

struct Width {
  std::int64_t patch, dim, depth, heads, mlp;
};

Width widths(const ModelOptions& o, Width w) {
  const auto choose = [](std::int64_t given, std::int64_t usual) { return given > 0 ? given : usual; };
  return {choose(o.patch, w.patch), choose(o.dim, w.dim), choose(o.depth, w.depth), choose(o.heads, w.heads),
          choose(o.mlp_dim, w.mlp)};
}

/// Pre-norm encoder block with timm's names. `inner` is the width of q, k and v together with all heads.
int encoder_block(Builder& b, int in, const std::string& name, std::int64_t inner, std::int64_t heads, std::int64_t mlp,
                  Op act, const ModelOptions& o, double epsilon) {
  const std::int64_t dim = b.shape(in)[1];
  int x = b.layer_norm(in, name + ".norm1", epsilon);
  x = b.append(Op::attention, {b.linear(x, name + ".attn.qkv", 3 * inner, o.bias)}, {}, {.heads = heads});
  x = b.dropout(b.linear(x, name + ".attn.proj", dim, o.bias), o.dropout);
  const int middle = b.append(Op::add, {in, x});
  x = b.layer_norm(middle, name + ".norm2", epsilon);
  x = b.dropout(b.plain(act, b.linear(x, name + ".mlp.fc1", mlp, o.bias)), o.dropout);
  x = b.dropout(b.linear(x, name + ".mlp.fc2", dim, o.bias), o.dropout);
  return b.append(Op::add, {middle, x});
}

int patch_embedding(Builder& b, const std::string& name, const Width& w, bool bias) {
  const Dims in = b.shape(0);
  if (in[1] % w.patch != 0 || in[2] % w.patch != 0)
    throw usage_error("{} x {} pixels are not patches of {} x {}", in[1], in[2], w.patch, w.patch)
        .with_hint("--patch N");
  return b.plain(Op::tokens, b.conv(0, name, w.dim, w.patch, w.patch, 0, bias));
}

/// A. Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021.
int vit(Builder& b, const ModelOptions& o, std::int64_t outputs) {
  const std::int64_t patch = b.shape(0)[1] >= 64 ? 16 : b.shape(0)[1] % 4 == 0 ? 4 : 2;
  Width usual = {patch, 192, 12, 3, 768};
  if (o.name == "vit-mini") usual = {8, 768, 6, 6, 3072};
  if (o.name == "vit-frog") usual = {4, 256, 6, 4, 512};
  if (o.name == "vit") usual = {patch, 512, 6, 8, 512};
  const Width w = widths(o, usual);
  if (w.dim % w.heads != 0) throw usage_error("{} features are not {} heads", w.dim, w.heads);
  constexpr double epsilon = 1e-6;
  int x = patch_embedding(b, "patch_embed.proj", w, o.bias);
  x = b.append(Op::class_token, {x}, "cls_token");
  x = b.dropout(b.append(Op::position, {x}, "pos_embed"), o.dropout);
  b.end_block("patch_embed");
  for (std::int64_t i = 0; i < w.depth; ++i) {
    x = encoder_block(b, x, fmt::format("blocks.{}", i), w.dim, w.heads, w.mlp, Op::gelu, o, epsilon);
    b.end_block(fmt::format("blocks.{}", i));
  }
  return b.linear(b.plain(Op::first_token, b.layer_norm(x, "norm", epsilon)), "head", outputs, o.bias && o.head_bias);
}

/// Z. Liu et al., "Swin Transformer", ICCV 2021, made small: three stages of two blocks, windows of 4 x 4 tokens; names
/// of timm.
int swin(Builder& b, const ModelOptions& o, std::int64_t outputs) {
  const Width w = widths(o, {b.shape(0)[1] >= 64 ? 4 : 2, 48, 2, 3, 0});
  int x = b.layer_norm(patch_embedding(b, "patch_embed.proj", w, o.bias), "patch_embed.norm");
  b.end_block("patch_embed");
  std::int64_t rows = b.shape(0)[1] / w.patch, columns = b.shape(0)[2] / w.patch;
  for (int stage = 0; stage < 3; ++stage) {
    const std::string layer = fmt::format("layers.{}", stage);
    const std::int64_t dim = w.dim << stage, heads = w.heads << stage;
    if (stage > 0) {
      x = b.layer_norm(b.append(Op::merge, {x}, {}, {.out = rows}), layer + ".downsample.norm");
      x = b.linear(x, layer + ".downsample.reduction", dim, false);
      rows /= 2, columns /= 2;
    }
    const std::int64_t window = std::min<std::int64_t>({4, rows, columns});
    for (std::int64_t i = 0; i < w.depth; ++i) {
      const std::string name = fmt::format("{}.blocks.{}", layer, i);
      const bool moved = i % 2 == 1 && window < std::min(rows, columns);
      int y = b.linear(b.layer_norm(x, name + ".norm1"), name + ".attn.qkv", 3 * dim, o.bias);
      y = b.append(Op::window_attention, {y}, name + ".attn",
                   {.out = rows, .kernel = window, .padding = moved ? window / 2 : 0, .heads = heads});
      y = b.dropout(b.linear(y, name + ".attn.proj", dim, o.bias), o.dropout);
      const int middle = b.append(Op::add, {x, y});
      y = b.linear(b.layer_norm(middle, name + ".norm2"), name + ".mlp.fc1", w.mlp > 0 ? w.mlp : 4 * dim, o.bias);
      y = b.dropout(b.linear(b.plain(Op::gelu, y), name + ".mlp.fc2", dim, o.bias), o.dropout);
      x = b.append(Op::add, {middle, y});
      b.end_block(name);
    }
  }
  return b.linear(b.plain(Op::global_mean, b.layer_norm(x, "norm")), "head.fc", outputs, o.bias && o.head_bias);
}

/// I. Tolstikhin et al., "MLP-Mixer: an all-MLP architecture for vision", NeurIPS 2021.
int mixer(Builder& b, const ModelOptions& o, std::int64_t outputs) {
  const Width w = widths(o, {4, 512, 8, 256, 2048});  // heads: width of the token mlp
  constexpr double epsilon = 1e-6;
  int x = patch_embedding(b, "stem.proj", w, o.bias);
  b.end_block("stem");
  const std::int64_t tokens = b.shape(x)[0];
  for (std::int64_t i = 0; i < w.depth; ++i) {
    const std::string name = fmt::format("blocks.{}", i);
    int y = b.plain(Op::transpose, b.layer_norm(x, name + ".norm1", epsilon));
    y = b.dropout(b.plain(Op::gelu, b.linear(y, name + ".mlp_tokens.fc1", w.heads, o.bias)), o.dropout);
    y = b.plain(Op::transpose, b.linear(y, name + ".mlp_tokens.fc2", tokens, o.bias));
    x = b.append(Op::add, {x, y});
    y = b.layer_norm(x, name + ".norm2", epsilon);
    y = b.dropout(b.plain(Op::gelu, b.linear(y, name + ".mlp_channels.fc1", w.mlp, o.bias)), o.dropout);
    y = b.linear(y, name + ".mlp_channels.fc2", w.dim, o.bias);
    x = b.append(Op::add, {x, y});
    b.end_block(name);
  }
  return b.linear(b.plain(Op::global_mean, b.layer_norm(x, "norm", epsilon)), "head", outputs, o.bias && o.head_bias);
}

/// Images: F3's flattened vision transformer, one joint embedding of all patches, blocks that pass flat vectors. Rows
/// of whole numbers: an encoder of tokens with a class token.
int transformer(Builder& b, const ModelOptions& o, std::int64_t outputs) {
  const Dims in = b.shape(0);
  if (in.size() == 3) {
    const Width w = widths(o, {7, 32, 4, 8, 128});
    const Op act = activation(o.activation.empty() ? "tanh" : o.activation);
    const std::int64_t tokens = 16, flat = tokens * w.dim;
    int x = b.plain(Op::flatten, b.append(Op::patches, {0}, {}, {.kernel = w.patch}));
    x = b.linear(x, "embed", flat, o.bias);
    for (std::int64_t i = 0; i < w.depth; ++i) {
      x = b.append(Op::unflatten, {x}, {}, {.out = tokens});
      x = encoder_block(b, x, fmt::format("blocks.{}", i), 64 * w.heads, w.heads, w.mlp, act, o, 0);
      x = b.plain(Op::flatten, x);
      b.end_block(fmt::format("blocks.{}", i));
    }
    x = b.plain(act, b.linear(x, "fc", flat, o.bias));
    b.end_block("fc");
    return b.linear(x, "head", outputs, o.bias && o.head_bias);
  }
  if (o.vocabulary < 1)
    throw usage_error("model transformer needs images, or rows of whole numbers").with_hint("--vocabulary N");
  const Width w = widths(o, {0, 64, 2, 4, 128});
  if (w.dim % w.heads != 0) throw usage_error("{} features are not {} heads", w.dim, w.heads);
  int x = b.append(Op::embedding, {0}, "embed", {.out = w.dim, .classes = o.vocabulary});
  x = b.append(Op::class_token, {x}, "cls_token");
  x = b.append(Op::position, {x}, "pos_embed");
  b.end_block("embed");
  const Op act = activation(o.activation.empty() ? "gelu" : o.activation);
  for (std::int64_t i = 0; i < w.depth; ++i) {
    x = encoder_block(b, x, fmt::format("blocks.{}", i), w.dim, w.heads, w.mlp, act, o, 0);
    b.end_block(fmt::format("blocks.{}", i));
  }
  return b.linear(b.plain(Op::first_token, b.layer_norm(x, "norm")), "head", outputs, o.bias && o.head_bias);
}

// ---- spec: a network in one line -----------------------------------------------------------------

std::vector<std::string> split(const std::string& text, const std::string& separator) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  for (;;) {
    const std::size_t end = text.find(separator, begin);
    parts.push_back(text.substr(begin, end - begin));
    if (end == std::string::npos) return parts;
    begin = end + separator.size();
  }
}

std::vector<std::int64_t> spec_numbers(const std::string& word, const std::string& text) {
  std::vector<std::int64_t> numbers;
  if (text.empty()) return numbers;
  for (const std::string& part : split(text, ",")) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    if (error != std::errc() || end != part.data() + part.size() || value < 0 || value > (1 << 24))
      throw usage_error("layer \"{}\": \"{}\" is not a number", word, part);
    numbers.push_back(value);
  }
  return numbers;
}

int spec_layer(Builder& b, int x, const std::string& word, const std::string& name, const ModelOptions& o) {
  const std::size_t digits = std::min(word.find_first_of("0123456789"), word.size());
  const std::string op = word.substr(0, digits);
  const auto n = spec_numbers(word, word.substr(digits));
  const auto at = [&](std::size_t i, std::int64_t otherwise) { return i < n.size() ? n[i] : otherwise; };
  if (op == "fc") return b.linear(x, name, at(0, 0), o.bias);
  if (op == "conv") return b.conv(x, name, at(0, 0), at(1, 3), at(2, 1), at(3, at(1, 3) / 2), o.bias);
  if (op == "bn") return b.batch_norm(x, name);
  if (op == "ln") return b.layer_norm(x, name);
  if (op == "pool") return b.max_pool(x, at(0, 2), at(1, at(0, 2)));
  if (op == "avgpool") return b.append(Op::mean_pool, {x}, {}, {.kernel = at(0, 2), .stride = at(1, at(0, 2))});
  if (op == "drop") return b.dropout(x, static_cast<double>(at(0, 50)) / 100);
  if (op == "flatten") return b.plain(Op::flatten, x);
  if (op == "mean") return b.plain(Op::global_mean, x);
  if (op == "softmax") return b.plain(Op::softmax, x);
  if (op == "relu" || op == "tanh" || op == "gelu" || op == "sigmoid") return b.plain(activation(op), x);
  throw usage_error("\"{}\" is not a layer", word)
      .with_hint(
          "layers: fcN convN,KERNEL,STRIDE bn ln relu tanh gelu sigmoid softmax poolK,S avgpoolK,S dropPERCENT "
          "flatten mean");
}

int spec(Builder& b, const ModelOptions& o, std::int64_t outputs) {
  const auto blocks = split(o.name.substr(5), "--");
  int x = 0;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const auto layers = split(blocks[i], "-");
    for (std::size_t l = 0; l < layers.size(); ++l)
      x = spec_layer(b, x, layers[l], fmt::format("blocks.{}.{}", i, l), o);
    if (i + 1 < blocks.size()) b.end_block(fmt::format("blocks.{}", i));
  }
  if (b.shape(x) != Dims{outputs})
    throw usage_error("the network gives {} values, the data has {} classes or targets", text(b.shape(x)), outputs);
  return x;
}

void check(const ModelOptions& o) {
  for (const auto width : o.hidden)
    if (width < 1) throw usage_error("a hidden layer of {} units", width);
  if (o.patch < 0 || o.dim < 0 || o.depth < 0 || o.heads < 0 || o.mlp_dim < 0)
    throw usage_error("sizes of a model cannot be negative");
}

}  // namespace

const std::vector<std::string>& model_names() {
  static const std::vector<std::string> names = {
      "mlp",   "lenet-300-100", "lenet5", "resnet20", "resnet32", "resnet56", "resnet18",  "resnet34", "resnet50",
      "vgg11", "vgg16",         "vit",    "vit-tiny", "vit-mini", "vit-frog", "swin-lite", "mixer",    "transformer"};
  return names;
}

Graph make_graph(const ModelOptions& o, const Dims& input, std::int64_t outputs) {
  check(o);
  if (outputs < 1) throw usage_error("a model of {} outputs", outputs);
  Builder b(input);
  const std::string& name = o.name;
  if (name == "mlp")
    mlp(b, o, outputs, o.hidden.empty() ? std::vector<std::int64_t>{500} : o.hidden);
  else if (name == "lenet-300-100")
    mlp(b, o, outputs, {300, 100});
  else if (name.starts_with("spec:"))
    spec(b, o, outputs);
  else if (name == "transformer")
    transformer(b, o, outputs);
  else if (std::find(model_names().begin(), model_names().end(), name) != model_names().end()) {
    need_image(o, input);
    if (name == "lenet5") lenet5(b, o, outputs);
    if (name == "resnet20" || name == "resnet32" || name == "resnet56")
      resnet_small(b, o, std::stoi(name.substr(6)), outputs);
    if (name == "resnet18" || name == "resnet34" || name == "resnet50")
      resnet(b, o, std::stoi(name.substr(6)), outputs);
    if (name == "vgg11" || name == "vgg16") vgg(b, o, std::stoi(name.substr(3)), outputs);
    if (name.starts_with("vit")) vit(b, o, outputs);
    if (name == "swin-lite") swin(b, o, outputs);
    if (name == "mixer") mixer(b, o, outputs);
  } else
    throw usage_error("\"{}\" is not one of the models {} and spec:LAYERS", name, fmt::join(model_names(), ", "));
  return b.build();
}

namespace {

template <class Each>
void each_field(ModelOptions& o, const Each& each) {
  each("hidden", o.hidden);
  each("activation", o.activation);
  each("output_activation", o.output_activation);
  each("norm", o.norm);
  each("bias", o.bias);
  each("head_bias", o.head_bias);
  each("shortcut", o.shortcut);
  each("stem", o.stem);
  each("classifier", o.classifier);
  each("dropout", o.dropout);
  each("patch", o.patch);
  each("dim", o.dim);
  each("depth", o.depth);
  each("heads", o.heads);
  each("mlp_dim", o.mlp_dim);
  each("vocabulary", o.vocabulary);
}

}  // namespace

std::string ModelOptions::to_json() const {
  Json now = Json::object(), usual = Json::object(), different = Json::object();
  ModelOptions copy = *this, plain;
  each_field(copy, [&](const char* key, const auto& value) { now[key] = value; });
  each_field(plain, [&](const char* key, const auto& value) { usual[key] = value; });
  for (const auto& [key, value] : now.items())
    if (value != usual[key]) different[key] = value;
  return different.dump();
}

ModelOptions ModelOptions::from_json(const std::string& text, const std::string& model) {
  ModelOptions o;
  o.name = model;
  try {
    const Json json = text.empty() ? Json::object() : Json::parse(text);
    each_field(o, [&](const char* key, auto& value) {
      if (json.contains(key)) json.at(key).get_to(value);
    });
  } catch (const nlohmann::json::exception& error) {
    throw bad_input("model_args of model {}: {}", model, error.what());
  }
  return o;
}

}  // namespace fachwerk::neural
