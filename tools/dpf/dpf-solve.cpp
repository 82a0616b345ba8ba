#include "cli/command.hpp"
#include "layout.hpp"
#include "qlimits.hpp"

using namespace fachwerk;

namespace {

struct Options {
  std::string input, output;
  std::string method = "auto", init = "auto", qlim = "off", slack = "single", reference_rule = "largest",
              zero_impedance = "error", plot;
  double tolerance = 1e-8;
  int max_iterations = 20;
  bool allow_failures = false;
};
}  // namespace
int main(int argc, char** argv) {
  (void)argc;
  (void)argv;
  return 0;
}
