#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

#include "cli/command.hpp"
#include "cluster/hdf5.hpp"
#include "cluster/world.hpp"

// One way a job can end; tests/unit/cluster/errors/run starts it with mpirun and looks at code, message and files.
int main(int argc, char** argv) {
  using namespace fachwerk;
  std::string what, file;
  const cli::Command command{
      .name = "scenario",
      .purpose = "end a job in one of several ways",
      .description = "For tests.",
      .arguments = {cli::choice("HOW", what,
                                {"fine", "one", "one-in-collective", "two", "all", "after", "memory", "other", "fail",
                                 "file", "read", "stuck-computing", "root"},
                                "what happens"),
                    cli::optional_output("OUT", file, "a file in the works")},
  };
  return command.run(argc, argv, [&](cli::Session& session) {
    cluster::run(session, [&](const cluster::Communicator& world) {
      const int rank = world.rank(), last = world.size() - 1;
      const auto collective = [&] { world.barrier(); };
      session.warn("hello");  // rank 0 alone says so
      if (what == "one" && rank == last) throw bad_input("data.h5:/x: expected rank {}", rank).with_hint("mend it");
      if (what == "one-in-collective") {
        collective();
        std::vector<double> x(1'000'000);
        if (rank == last) throw method_failed("diverged on rank {}", rank);
        world.allreduce(x);
      }
      if (what == "two" && rank > 0) throw usage_error("rank {} of three", rank);
      if (what == "all") throw io_error("no such file, says rank {}", rank);
      if (what == "after" && rank == 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds(300));
        throw absent_error("late");
      }
      if (what == "after") return;
      if (what == "memory" && rank == last) throw std::bad_alloc();
      if (what == "other" && rank == last) throw std::runtime_error("something else");
      if (what == "fail" && rank == last) session.fail("the threshold was not met");
      if (what == "file") {
        h5::Output output = cluster::create_output(world, file, session.force);
        output.create_dataset<double>("/x", {100}, {});
        if (rank == last) throw bad_input("while the file is open");
        output.write_slab<double>("/x", {0}, {rank == 0 ? 100UL : 0UL}, std::vector<double>(rank == 0 ? 100 : 0));
        output.commit();
      }
      if (what == "read") {
        const h5::Input input = cluster::open_input(world, file);
        if (rank == last) throw bad_input("while reading");
        collective();
      }
      if (what == "stuck-computing") {
        if (rank == last) throw cli::stopped_error("state.h5");
        std::this_thread::sleep_for(std::chrono::hours(1));
      }
      if (what == "root") world.on_root([] { throw bad_input("the first rank found this"); });
      collective();
      session.summary.add("ranks", world.size());
    });
  });
}
