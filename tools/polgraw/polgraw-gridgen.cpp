#include <fmt/format.h>

#include "cli/command.hpp"
#include "dataset.hpp"
#include "io/bytes.hpp"
#include "lattice.hpp"
#include "legacy.hpp"

using namespace fachwerk;
using namespace fachwerk::polgraw;

namespace {

std::string name_of(Lattice algorithm) {
  switch (algorithm) {
    case Lattice::s1:
      return "s1";
    case Lattice::s2:
      return "s2";
    default:
      return "s3";
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::string in, out, algorithm = "auto", legacy_file;
  double min_match = 0.8660254037844386;
  std::optional<double> c0;
  std::optional<int> exponent;
  int fftpad = 1;
  std::vector<double> sigma2;
  const cli::Command command{
      .name = "polgraw-gridgen",
      .purpose = "make a grid of templates from an ephemeris",
      .description =
          "A lattice in frequency, spindown and sky whose first vector is the step of the Fourier transform and whose covering "
          "radius is what the minimal match allows. s1 turns and shrinks A4*, s2 stretches it along a shortest vector, s3 "
          "along and across the best of its vectors; auto takes the thinnest. The covering radius is computed from the "
          "vertices of the Voronoi cell before anything is written.",
      .arguments = {cli::input("EPH", in, "gw-data with ephemerides"), cli::output("OUT", out, "gw-data with /grid")},
      .options = {{"--min-match", &min_match, "minimal match", {.minimum = 0.05, .maximum = 0.999}},
                  {"--c0", &c0, "its square instead", {.minimum = 0.0025, .maximum = 0.998}},
                  {"--nfft-exp",
                   &exponent,
                   "log2 of the transform's length; default: least for N",
                   {.minimum = 6, .maximum = 34}},
                  {"--fftpad", &fftpad, "zero padding: 1, 2, 4, ...", {.minimum = 1, .maximum = 64}},
                  {"--algorithm", &algorithm, "construction", {.choices = {"auto", "s1", "s2", "s3"}}},
                  {"--sigma2", &sigma2, "variances of the detectors; default: of their data, else equal"},
                  {"--legacy", &legacy_file, "write grid.bin too", {.value_name = "FILE"}}},
      .examples = {{"polgraw-gridgen ephem.h5 grid.h5 --c0 0.75", "A grid that loses at most a quarter of the power."},
                   {"polgraw-ephem --gps 1187008512 - | polgraw-gridgen - grid.h5 --min-match 0.5 --legacy grid.bin",
                    "In a pipe."}},
      .reference =
          "Pisarski & Jaranowski, Class. Quantum Grav. 32 (2015) 145014; Astone et al., Phys. Rev. D 82 (2010) 022005",
      .reads = "/DET/ephem: see polgraw-ephem; /DET/x for the variances",
      .writes = "/grid/M, M_unnormalised, fisher (4,4); attributes fftpad, c0, thickness, covering_radius, algorithm",
      .standard = {}};
  return command.run(argc, argv, [&](cli::Session& session) {
    if ((fftpad & (fftpad - 1)) != 0) throw usage_error("--fftpad: expected 1, 2, 4, ..., found {}", fftpad);
    const auto input = h5::Input::open(in);
    input.require_kind({"gw-data", "polgraw-data"});
    Frame frame = read_frame(input, Needs::ephemeris);
    auto& o = frame.observation;
    if (!sigma2.empty()) {
      if (sigma2.size() != o.detectors.size())
        throw usage_error("--sigma2: expected {} variances, found {}", o.detectors.size(), sigma2.size());
      for (std::size_t d = 0; d < sigma2.size(); ++d) {
        if (!(sigma2[d] > 0)) throw usage_error("--sigma2: expected values above 0");
        o.detectors[d].sigma2 = sigma2[d];
      }
    }
    GridSettings settings;
    settings.c0 = c0.value_or(min_match * min_match);
    settings.fftpad = fftpad;
    settings.algorithm = algorithm == "s1"   ? Lattice::s1
                         : algorithm == "s2" ? Lattice::s2
                         : algorithm == "s3" ? Lattice::s3
                                             : Lattice::best;
    if (exponent) settings.nfft = std::size_t{1} << *exponent;
    if (exponent && settings.nfft < o.band.N)
      throw usage_error("--nfft-exp {}: shorter than the {} samples", *exponent, o.band.N);
    const auto made = make_grid(o, settings);
    if (!legacy_file.empty()) {
      auto sink = formats::Sink::create(legacy_file, session.force);
      sink.write(legacy::format_grid(made.grid));
      sink.commit();
    }
    auto file = h5::Output::create(out, session.force);
    write_grid(file, made.grid, settings.c0, made.thickness, made.covering_radius, name_of(made.algorithm));
    file.stamp(session, "gw-data", &input);
    file.carry(input, {"/grid"});
    file.commit();
    auto& s = session.summary;
    s.add("algorithm", name_of(made.algorithm));
    s.add("thickness", made.thickness);
    s.add("covering radius", made.covering_radius * std::sqrt(1 - settings.c0));
    s.add("allowed radius", std::sqrt(1 - settings.c0));
    s.add("frequency step", made.grid.M[0] / (2 * pi * o.band.dt), "Hz");
    s.add("spindown step", std::abs(o.band.spindown(made.grid.M[5])), "Hz/s");
    if (o.band.fpo > 0)
      s.add("sky points per hemisphere",
            pi * o.band.oms() * o.band.oms() / std::abs(made.grid.M[10] * made.grid.M[15]));
  });
}
