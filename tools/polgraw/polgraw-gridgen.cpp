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

struct Options {
  std::string in, out, algorithm = "auto", legacy_file, fisher = "linear", print;
  double min_match = 0.8660254037844386;
  std::optional<double> c0;
  std::optional<int> exponent;
  int fftpad = 1, spindowns = 1;
  std::vector<double> sigma2, directed;
};

GridSettings settings_of(const Options& o, std::size_t N) {
  if ((o.fftpad & (o.fftpad - 1)) != 0) throw usage_error("--fftpad: expected 1, 2, 4, ..., found {}", o.fftpad);
  GridSettings settings;
  settings.c0 = o.c0.value_or(o.min_match * o.min_match);
  settings.fftpad = o.fftpad;
  settings.algorithm = o.algorithm == "s1"   ? Lattice::s1
                       : o.algorithm == "s2" ? Lattice::s2
                       : o.algorithm == "s3" ? Lattice::s3
                                             : Lattice::best;
  settings.nfft = o.exponent ? std::size_t{1} << *o.exponent : power_of_two_at_least(N);
  if (settings.nfft < N) throw usage_error("--nfft-exp {}: shorter than the {} samples", *o.exponent, N);
  return settings;
}

template <std::size_t n>
cli::Table table_of(const std::string& name, const Square<n>& m, const std::vector<std::string>& axes) {
  cli::Table table{name, axes};
  for (std::size_t i = 0; i < n; ++i)
    table.rows.emplace_back(m.begin() + static_cast<std::ptrdiff_t>(n * i),
                            m.begin() + static_cast<std::ptrdiff_t>(n * (i + 1)));
  return table;
}

/// Makes, writes and reports the grid of n parameters.
template <std::size_t n>
void make(const Options& options, const Observation& o, const std::optional<SkyPosition>& sky, const h5::Input& input,
          cli::Session& session) {
  const auto settings = settings_of(options, o.band.N);
  const auto fisher = options.fisher == "linear" ? linear_fisher<n>(o)
                      : sky                      ? exact_fisher<n>(o, *sky)
                                                 : exact_fisher<n>(o);
  const auto made = make_grid(fisher, o.band.N, settings.nfft, settings);
  const auto& grid = made.grid;
  if (!options.legacy_file.empty()) {
    if constexpr (n == 4) {
      auto sink = formats::Sink::create(options.legacy_file, session.force);
      sink.write(legacy::format_grid(grid));
      sink.commit();
    } else {
      throw usage_error("--legacy: grid.bin has one spindown and the whole sky");
    }
  }
  std::vector<std::string> axes{"omega", "s"};
  if (options.spindowns == 2) axes.emplace_back("s2");
  if (!sky) axes.insert(axes.end(), {"al1", "al2"});
  auto file = h5::Output::create(options.out, session.force);
  write_grid(file,
             {n, grid.M, grid.unnormalised, grid.fisher, grid.fftpad, fmt::format("{}", fmt::join(axes, ",")), sky},
             {settings.c0, made.thickness, made.covering_radius, name_of(made.algorithm)});
  file.stamp(session, "gw-data", &input);
  file.carry(input, {"/grid"});
  file.commit();
  auto& s = session.summary;
  s.add("algorithm", name_of(made.algorithm));
  s.add("thickness", made.thickness);
  s.add("covering radius", made.covering_radius * std::sqrt(1 - settings.c0));
  s.add("allowed radius", std::sqrt(1 - settings.c0));
  s.add("frequency step", grid.M[0] / (2 * pi * o.band.dt), "Hz");
  s.add("spindown step", std::abs(o.band.spindown(grid.M[n + 1])), "Hz/s");
  if (options.spindowns == 2)
    s.add("second spindown step", std::abs(grid.M[2 * n + 2]) * 3 / (pi * std::pow(o.band.dt, 3)), "Hz/s^2");
  if (!sky && o.band.fpo > 0)
    s.add("sky points per hemisphere",
          pi * o.band.oms() * o.band.oms() / std::abs(grid.M[n * n - 1] * grid.M[(n - 1) * n - 2]));
  for (const char what : options.print) {
    if (what == 'd') s.add("density", made.thickness);
    if (what == 'f') s.add(table_of<n>("Fisher matrix", grid.fisher, axes));
    if (what == 'g') s.add(table_of<n>("grid", grid.M, axes));
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  const cli::Command command{
      .name = "polgraw-gridgen",
      .purpose = "make a grid of templates from an ephemeris",
      .description =
          "A lattice in frequency, spindown and sky (with --spindowns 2 the second spindown too; with --directed without the "
          "sky) whose first vector is the step of the Fourier transform and whose covering "
          "radius is what the minimal match allows. s1 turns and shrinks An*, s2 stretches it along a shortest vector, s3 "
          "along and across the best of its vectors; auto takes the thinnest. The covering radius is computed from the "
          "vertices of the Voronoi cell before anything is written.\n\n"
          "--fisher exact takes the 8x8 (or larger) Fisher matrix with the amplitudes of a circularly polarised signal and "
          "reduces it; without --directed it is averaged over the sky.",
      .arguments = {cli::input("EPH", o.in, "gw-data with ephemerides"),
                    cli::output("OUT", o.out, "gw-data with /grid")},
      .options = {{"--min-match", &o.min_match, "minimal match", {.minimum = 0.05, .maximum = 0.999}},
                  {"--c0", &o.c0, "its square instead", {.minimum = 0.0025, .maximum = 0.998}},
                  {"--nfft-exp",
                   &o.exponent,
                   "log2 of the transform's length; default: least for N",
                   {.minimum = 6, .maximum = 34}},
                  {"--fftpad", &o.fftpad, "zero padding: 1, 2, 4, ...", {.minimum = 1, .maximum = 64}},
                  {"--algorithm", &o.algorithm, "construction", {.choices = {"auto", "s1", "s2", "s3"}}},
                  {"--sigma2", &o.sigma2, "variances of the detectors; default: of their data, else equal"},
                  {"--spindowns", &o.spindowns, "1, or 2: with the second derivative", {.minimum = 1, .maximum = 2}},
                  {"--directed", &o.directed, "alpha,delta in rad: a grid for this position alone"},
                  {"--fisher",
                   &o.fisher,
                   "phase linear in the parameters, or the whole phase with the amplitudes' weights",
                   {.choices = {"linear", "exact"}}},
                  {"--print", &o.print, "letters: d density, f Fisher matrix, g grid", {.value_name = "WHAT"}},
                  {"--legacy", &o.legacy_file, "write grid.bin too", {.value_name = "FILE"}}},
      .examples = {{"polgraw-gridgen ephem.h5 grid.h5 --c0 0.75", "A grid that loses at most a quarter of the power."},
                   {"polgraw-ephem --gps 1187008512 - | polgraw-gridgen - grid.h5 --min-match 0.5 --legacy grid.bin",
                    "In a pipe."},
                   {"polgraw-gridgen ephem.h5 grid.h5 --directed 6.1238,1.0265 --spindowns 2 --print dfg",
                    "For one source, with the second spindown."}},
      .reference =
          "Pisarski & Jaranowski, Class. Quantum Grav. 32 (2015) 145014; Astone et al., Phys. Rev. D 82 (2010) 022005",
      .reads = "/DET/ephem: see polgraw-ephem; /DET/x for the variances",
      .writes =
          "/grid/M, M_unnormalised, fisher (n,n); attributes axes (names of the n columns), alpha, delta (directed), fftpad, c0, thickness, covering_radius, algorithm",
      .standard = {}};
  return command.run(argc, argv, [&](cli::Session& session) {
    if (o.print.find_first_not_of("dfg") != std::string::npos)
      throw usage_error("--print: expected letters of d, f and g, found \"{}\"", o.print);
    std::optional<SkyPosition> sky;
    if (!o.directed.empty()) {
      if (o.directed.size() != 2 || !(std::abs(o.directed[1]) <= pi / 2))
        throw usage_error("--directed: expected alpha,delta in rad, delta from -pi/2 to pi/2");
      sky = make_sky(o.directed[0], o.directed[1]);
    }
    const auto input = h5::Input::open(o.in);
    input.require_kind({"gw-data", "polgraw-data"});
    auto observation = read_frame(input, Needs::ephemeris).observation;
    auto& detectors = observation.detectors;
    if (!o.sigma2.empty() && o.sigma2.size() != detectors.size())
      throw usage_error("--sigma2: expected {} variances, found {}", detectors.size(), o.sigma2.size());
    for (std::size_t d = 0; d < o.sigma2.size(); ++d) {
      if (!(o.sigma2[d] > 0)) throw usage_error("--sigma2: expected values above 0");
      detectors[d].sigma2 = o.sigma2[d];
    }
    const bool two = o.spindowns == 2;
    const auto act = sky ? (two ? make<3> : make<2>) : (two ? make<5> : make<4>);
    act(o, observation, sky, input, session);
  });
}
