// The least a filter can do: reads /x whole and writes it. What it takes is the cost of the pipe.
#include "cli/command.hpp"
#include "io/hdf5.hpp"

using namespace fachwerk;

int main(int argc, char** argv) {
  std::string in, out;
  const cli::Command command{.name = "bench-pass",
                             .purpose = "copy /x",
                             .description = "Reads /x and writes it.",
                             .arguments = {cli::input("IN", in, "HDF5"), cli::output("OUT", out, "HDF5")}};
  return command.run(argc, argv, [&](cli::Session& session) {
    const h5::Input input = h5::Input::open(in);
    const auto x = input.read<float>("/x");
    h5::Output output = h5::Output::create(out, session.force, x.size() * sizeof(float));
    output.write("/x", x.values, x.shape);
    output.stamp(session, "array", &input);
    output.commit();
  });
}
