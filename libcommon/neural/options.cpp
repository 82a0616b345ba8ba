#include "neural/options.hpp"

#include <chrono>
#include <cmath>
#include <fstream>
#include <sstream>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include "io/bytes.hpp"

namespace fachwerk::neural {

const char* const reads_dataset =
    "/train/x [N,C,H,W] or [N,F] uint8 (scaled by 1/255) or real; /train/y [N] classes or [N,O] real\n"
    "/val/x /val/y /test/x /test/y: optional, the same\n"
    "/train/index [N]: optional ids of the samples\n"
    "root attributes task, classes, mean, std, class_names; without mean and std those of /train are used\n"
    "also: /images /labels, /data /target, /X /Y, or what --x and --y name";
const char* const writes_model =
    "/model/state/NAME: parameters and buffers under PyTorch's names; attribute requires_grad\n"
    "/model attributes: model, model_args, input_shape, classes, mean, std, task\n"
    "/graph: the network as JSON\n"
    "/history/epoch/COLUMN: epoch, step, lr, train_loss, train_acc, val_loss, test_acc, seconds_train, ...\n"
    "/history/step/COLUMN (with --log-steps): step, loss, lr, grad_norm\n"
    "/run attributes: command line, seed, ranks, threads, start, wall seconds, peak memory";

void add_train_options(cli::Command& command, TrainArguments& a) {
  command.arguments.push_back(cli::input("DATA", a.data, "data set (HDF5)"));
  command.arguments.push_back(cli::output("OUT", a.output, "model file"));
  command.standard.threads = command.standard.seed = command.standard.checkpoint = true;
  auto& o = a.train.optimiser;
  auto& s = a.train.schedule;
  auto& t = a.train;
  const std::vector<cli::Option> options = {
      {"--graph",
       &a.graph_file,
       "take the network from this file instead: the JSON of /graph, or a model file",
       {.value_name = "FILE"}},
      {"--init-from", &a.init_from, "start from the weights of this model file", {.value_name = "FILE"}},
      {"--init-partial", &a.init_partial, "take from it what fits, leave the rest as initialised"},
      {"--epochs", &t.epochs, "passes over the training set", {.minimum = 0}},
      {"--steps", &t.steps, "train this many steps instead", {.minimum = 0}},
      {"--batch", &t.batch, "samples in a step, over all ranks", {.minimum = 1}},
      {"--drop-last", &t.drop_last, "leave out the last, smaller batch of an epoch"},
      {"--pad-tail", &t.pad_tail, "fill the last batch of an epoch with the first samples of its order"},
      {"--optimizer",
       &o.name,
       "adam: weight decay in the gradient; adamw: decoupled",
       {.choices = {"sgd", "adam", "adamw", "lamb"}}},
      {"--lr", &o.lr, "learning rate", {.minimum = 0}},
      {"--momentum", &o.momentum, "of sgd", {.minimum = 0, .maximum = 0.999999}},
      {"--nesterov", &o.nesterov, "Nesterov's momentum"},
      {"--weight-decay", &o.weight_decay, "L2 penalty", {.minimum = 0}},
      {"--no-decay-1d", &a.no_decay_1d, "biases and normalisations do not decay"},
      {"--beta1", &o.beta1, "of adam and lamb", {.minimum = 0, .maximum = 0.999999}},
      {"--beta2", &o.beta2, "of adam and lamb", {.minimum = 0, .maximum = 0.9999999}},
      {"--eps", &o.eps, "of adam and lamb", {.minimum = 0}},
      {"--clip-norm", &o.clip_norm, "largest norm of the gradient; 0: any", {.minimum = 0}},
      {"--schedule",
       &s.name,
       "of the learning rate, by step",
       {.choices = {"constant", "step", "cosine", "exp", "plateau", "linear"}}},
      {"--min-lr", &s.min_lr, "where cosine, linear and exp end", {.minimum = 0}},
      {"--warmup-steps", &s.warmup_steps, "linear rise of the rate", {.minimum = 0}},
      {"--warmup-epochs", &s.warmup_epochs, "the same in epochs", {.minimum = 0}},
      {"--warmup-lr", &s.warmup_lr, "where the rise begins", {.minimum = 0}},
      {"--cooldown-epochs", &s.cooldown_epochs, "at --min-lr, at the end", {.minimum = 0}},
      {"--milestones", &s.milestones, "step: fractions of the run", {.minimum = 0, .maximum = 1}},
      {"--gamma", &s.gamma, "step: factor", {.minimum = 0}},
      {"--exp-rate", &s.exp_rate, "exp: lr exp(-rate step)", {.minimum = 0}},
      {"--cycle-mul", &s.cycle_mul, "cosine: growth of the cycles"},
      {"--cycle-decay", &s.cycle_decay, "cosine: factor of the rate from cycle to cycle"},
      {"--cycle-limit", &s.cycle_limit, "cosine: number of cycles", {.minimum = 1}},
      {"--k-decay", &s.k_decay, "cosine: power of time"},
      {"--scale-lr", &t.scale_lr, "scale the rate with (batch)/256", {.choices = {"none", "linear", "sqrt"}}},
      {"--loss",
       &t.loss.name,
       "ce (classes) or mse (regression) when not given",
       {.choices = {"ce", "bce", "mse", "nll"}}},
      {"--label-smoothing", &t.loss.smoothing, "of ce", {.minimum = 0, .maximum = 0.999}},
      {"--augment",
       &a.augment,
       "of training images; crop: 4 pixels of padding",
       {.choices = {"none", "flip", "crop", "crop-flip"}}},
      {"--cutout", &t.augmentation.cutout, "side of a square set to the mean", {.unit = "pixels", .minimum = 0}},
      {"--rotate", &t.augmentation.rotate, "largest rotation", {.unit = "deg", .minimum = 0, .maximum = 180}},
      {"--noise", &t.augmentation.noise, "standard deviation of noise on standardised images", {.minimum = 0}},
      {"--mixup", &t.augmentation.mixup, "alpha; 0: off", {.minimum = 0}},
      {"--cutmix", &t.augmentation.cutmix, "alpha; 0: off", {.minimum = 0}},
      {"--val-fraction",
       &a.val_fraction,
       "part of /train to validate on when there is no /val",
       {.minimum = 0, .maximum = 0.9}},
      {"--standardise-targets", &a.standardise_targets, "train a regression on (y - mean) / std"},
      {"--eval-every", &t.eval_every, "epochs", {.minimum = 1}},
      {"--early-stop", &t.early_stop, "epochs without a better validation loss; 0: never", {.minimum = 0}},
      {"--keep-best", &t.keep_best, "end with the weights of the best epoch on validation"},
      {"--log-steps", &t.log_steps, "a row of /history/step every so many steps; 0: none", {.minimum = 0}},
      {"--checkpoint-every", &t.checkpoint_every, "epochs", {.minimum = 1}},
      {"--max-seconds",
       &t.max_seconds,
       "save the checkpoint and stop (code 75) after this time",
       {.unit = "s", .minimum = 0}},
      {"--progress",
       &t.progress,
       "on stderr: a line an epoch, an object of JSON an epoch, or a bar",
       {.choices = {"plain", "json", "bar"}}},
      {"--dtype", &t.type, "bf16: weights in f32, arithmetic in bf16", {.choices = {"f32", "f64", "bf16"}}},
      {"--x", &a.paths.x, "where the samples are", {.value_name = "PATH"}},
      {"--y", &a.paths.y, "where the targets are", {.value_name = "PATH"}}};
  for (const auto& list : {model_option_list(a.model, a.switches), options})
    command.options.insert(command.options.end(), list.begin(), list.end());
}

namespace {

Graph read_graph(const std::string& path, const Dims& input, std::int64_t outputs) {
  const formats::File file = formats::File::open(path);
  Graph graph = file.text().starts_with("{") ? graph_from_json(std::string(file.text()), path)
                                             : read_model(h5::Input::open(path)).graph;
  if (graph.input != input)
    throw bad_input("{}: the network takes samples of {}, the data has {}", path, text(graph.input), text(input));
  if (graph.output() != Dims{outputs})
    throw bad_input("{}: the network gives {}, the data has {} classes or targets", path, text(graph.output()),
                    outputs);
  return graph;
}

void settle(TrainArguments& a) {
  a.switches.apply(a.model);
  a.train.optimiser.decay_1d = !a.no_decay_1d;
  a.train.augmentation.crop = a.augment == "crop" || a.augment == "crop-flip";
  a.train.augmentation.flip = a.augment == "flip" || a.augment == "crop-flip";
}

double peak_megabytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

}  // namespace

Prepared prepare(const cli::Session& session, TrainArguments& a, int ranks) {
  settle(a);
  a.train.seed = session.seed;
  use_threads(session.threads);
  Prepared p;
  p.data = read_dataset(h5::Input::open(a.data), a.paths);
  if (a.val_fraction > 0 && p.data.val.empty()) {
    Dataset dealt = p.data;
    split(dealt, {.fractions = {1 - a.val_fraction, a.val_fraction},
                  .stratify = dealt.classification && !dealt.train.labels.empty(),
                  .seed = session.seed});
    p.data.train = std::move(dealt.train);
    p.data.val = std::move(dealt.val);
  }
  if (p.data.train.empty()) throw bad_input("{}:/train/x: no samples to train on", p.data.name);
  if (a.train.augmentation.any() && p.data.train.sample.size() != 3)
    throw usage_error("augmentation needs images, {} has samples of {}", p.data.name, text(p.data.train.sample));
  if (!p.data.classification && a.standardise_targets && p.data.outputs.empty())
    p.data.outputs = standard_of_targets(p.data.train);
  if (!p.data.classification && !a.standardise_targets) p.data.outputs = {};
  if (ranks > static_cast<int>(p.data.train.count))
    throw usage_error("{} ranks for {} training samples", ranks, p.data.train.count);
  const std::int64_t outputs = p.data.outputs_count();
  Graph graph = a.graph_file.empty() ? make_graph(a.model, p.data.train.sample, outputs)
                                     : read_graph(a.graph_file, p.data.train.sample, outputs);
  p.model.options = a.model;
  p.model.graph = graph;
  p.model.classification = p.data.classification;
  const bool tokens = graph.nodes[1].op == Op::embedding;
  if (!tokens) p.model.inputs = p.data.inputs;
  p.model.outputs = p.data.outputs;
  p.model.class_names = p.data.class_names;
  p.network = make_network(std::move(graph), session.seed, a.train.type == "f64" ? at::kDouble : at::kFloat);
  if (!a.init_from.empty())
    load_state(p.network, read_state(h5::Input::open(a.init_from)), a.init_from, a.init_partial);
  return p;
}

void train_and_write(cli::Session& session, TrainArguments& a, Prepared& p, Hooks hooks, Ranks ranks,
                     const std::function<void(Training&, h5::Output&)>& describe) {
  const auto begun = std::chrono::system_clock::now();
  const int rank = ranks.rank, rank_count = ranks.count;
  Training training(p.network, p.data, a.train, std::move(hooks), std::move(ranks), &session);
  if (session.resume && !session.checkpoint.empty()) training.resume(session.checkpoint);
  training.run();
  const double wall = std::chrono::duration<double>(std::chrono::system_clock::now() - begun).count();
  if (rank != 0) return;
  p.model.state = state_of(p.network);
  h5::Output out = h5::Output::create(a.output, session.force);
  out.stamp(session, "model");
  write_model(out, p.model);
  training.write_history(out);
  out.group("/run");
  out.attribute("/run", "tool", session.tool);
  out.attribute("/run", "version", session.version);
  out.attribute("/run", "command_line", session.command_line);
  out.attribute("/run", "data", p.data.name);
  out.attribute("/run", "seed", static_cast<std::int64_t>(session.seed));
  out.attribute("/run", "ranks", rank_count);
  out.attribute("/run", "threads", session.threads);
  if (std::getenv("SOURCE_DATE_EPOCH") == nullptr) {
    char host[256] = {};
    gethostname(host, sizeof host - 1);
    out.attribute("/run", "hostname", std::string(host));
    out.attribute("/run", "start",
                  fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::chrono::system_clock::to_time_t(begun))));
    out.attribute("/run", "wall_seconds", wall);
    out.attribute("/run", "peak_rss_MiB", peak_megabytes());
  }
  if (describe) describe(training, out);
  out.commit();

  cli::Summary& summary = session.summary;
  summary.add("model", p.model.options.name);
  summary.add("parameters", p.network.graph.count());
  summary.add("epochs", training.epoch());
  summary.add("steps", training.step());
  const History& history = training.history();
  if (!history.rows.empty()) {
    for (std::size_t c = 0; c < history.columns.size(); ++c) {
      const std::string& name = history.columns[c];
      if (name.ends_with("_loss") || name.ends_with("_acc") || name.ends_with("_mse"))
        summary.add(name, history.rows.back()[c]);
    }
    summary.add("best epoch", training.best_epoch());
  }
  if (training.train_seconds() > 0)
    summary.add("speed", static_cast<double>(training.samples_seen()) / training.train_seconds(), "samples/s");
  summary.add("time", wall, "s");
  summary.add("peak memory", peak_megabytes(), "MiB");
}

}  // namespace fachwerk::neural
