#include "cluster/world.hpp"
#include "neural/distributed.hpp"
#include "neural/options.hpp"
#include "neural/seeds.hpp"

using namespace fachwerk;

int main(int argc, char** argv) {
  neural::TrainArguments arguments;
  neural::RankOptions rank_options;
  std::int64_t batch_per_rank = 0;
  std::string seeds;
  cli::Command command;
  command.name = "nn-train";
  command.purpose = "train a network by back-propagation";
  command.description =
      "Trains one of the registry's networks, a network given in one line (spec:...), or one of any shape (--graph) on "
      "a "
      "data set, and writes its weights, learning curve and everything that nn-eval needs. It is the baseline of every "
      "training method in this toolkit: they use the same loop, data order, initial weights, optimisers and "
      "schedules.\n\n"
      "Initial weights, data order and augmentation come from separate counter-based random streams: the same seed "
      "gives "
      "the same run for any number of threads up to the rounding of sums, and the same run bit by bit for equal "
      "threads. "
      "With --checkpoint the state is saved as often as --checkpoint-every says and on SIGINT, SIGTERM or SIGUSR1; "
      "--resume goes on from there bit by bit.\n\n"
      "Inputs are standardised by the mean and standard deviation of the training set (or those in the file), which go "
      "into the model file.\n\n"
      "Under mpirun every rank takes a part of each batch and the gradients are summed while the backward pass still "
      "runs; the result is that of one rank up to the rounding of sums, except that batch normalisation uses the "
      "statistics of each rank's part (its running averages are averaged over ranks after every epoch). The history "
      "then has bytes_payload, bytes_wire (a ring's) and bytes_internode of this rank since the start.";
  command.examples = {
      {"nn-train data/digits.h5 model.h5 --model lenet5 --epochs 5", "train on the digits that come with the toolkit"},
      {"nn-data synth stripes - --n 2000 | nn-train - model.h5 --model resnet20 --epochs 3 --optimizer sgd --lr 0.1 "
       "--schedule cosine",
       "a residual net on generated images, through a pipe"},
      {"nn-train big.h5 model.h5 --model vit-tiny --epochs 100 --checkpoint run.ckpt --max-seconds 3000",
       "in a batch job of an hour; run it again with --resume until it exits 0"},
      {"mpirun -n 2 nn-train data/digits.h5 model.h5 --model lenet5 --batch 64 --threads 1", "on two ranks"},
      {"nn-train data/digits.h5 runs.h5 --hidden 64 --epochs 5 --seeds 1:3", "three runs, their mean and deviation"}};
  command.reference =
      "PyTorch's layers, losses and optimisers, as libtorch computes them (A. Paszke et al., NeurIPS 2019).";
  command.reads = neural::reads_dataset;
  command.writes =
      std::string(neural::writes_model) +
      "\nwith --seeds: /model of the first; /seeds/SEED/state/NAME and /seeds/SEED/history/epoch/COLUMN of "
      "each; /summary/COLUMN [run], attributes mean and std";
  neural::add_train_options(command, arguments);
  for (const cli::Option& option : neural::rank_option_list(rank_options))
    command.options.push_back(option);
  command.options.push_back(
      {"--batch-per-rank", &batch_per_rank, "samples in a step on each rank, instead of --batch", {.minimum = 0}});
  command.options.push_back({"--seeds",
                             &seeds,
                             "train once for each of these seeds, FIRST:LAST or a list, all into OUT",
                             {.value_name = "LIST"}});
  return command.run(argc, argv, [&](cli::Session& session) {
    cluster::run(session, [&](const cluster::Communicator& world) {
      if (world.size() > 1 && arguments.data == "-")
        throw usage_error("several ranks read the data set: it must be a file, not stdin");
      if (batch_per_rank > 0) arguments.train.batch = batch_per_rank * world.size();
      if (!seeds.empty()) {
        neural::train_seeds(session, arguments, neural::parse_seeds(seeds),
                            [&] { return neural::make_ranks(world, rank_options); });
        return;
      }
      neural::Prepared prepared = neural::prepare(session, arguments, world.size());
      neural::train_and_write(session, arguments, prepared, {}, neural::make_ranks(world, rank_options));
    });
  });
}
