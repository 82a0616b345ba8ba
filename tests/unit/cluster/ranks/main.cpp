#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest.h>

#include "cli/command.hpp"
#include "cluster/world.hpp"
#include "world.hpp"

namespace {
const fachwerk::cluster::Communicator* all_ranks = nullptr;
}

const fachwerk::cluster::Communicator& world() {
  return *all_ranks;
}

int main(int argc, char** argv) {
  using namespace fachwerk;
  const cli::Command command{
      .name = "unit-ranks", .purpose = "tests of libcommon/cluster on any number of ranks", .description = ""};
  return command.run(argc, argv, [](cli::Session& session) {
    cluster::run(session, [](const cluster::Communicator& ranks) {
      all_ranks = &ranks;
      doctest::Context context;
      if (!ranks.root()) context.setOption("minimal", true);
      if (context.run() != 0) throw method_failed("checks failed on rank {} of {}", ranks.rank(), ranks.size());
    });
  });
}
