#include "cli/command.hpp"
#include "cluster/world.hpp"
#include "search_output.hpp"
#include "search_run.hpp"

using namespace fachwerk;
using namespace fachwerk::polgraw;

namespace {

/// The ranks of a machine take its devices in turn, unless one is named.
compute::Device device_of(const cli::Session& session, const cluster::Communicator& world) {
  const auto device = compute::Device::parse(session.device);
  if (device.is_cpu() || session.device.find(':') != std::string::npos) return device;
  return compute::Device::parse(fmt::format("cuda:{}", world.node().rank() % compute::cuda_devices()));
}

void search(const SearchOptions& options, cli::Session& session, const cluster::Communicator& world) {
  check_options(options);
  const auto settings = farm_settings(options, session.threads, device_of(session, world));
  const auto work = load_work(options, settings.search, session);
  const auto& first = *work.frames.front().source;
  if (!options.genvlines.empty() && world.root()) write_veto_list(options.genvlines, session.force, first);
  if (world.size() > 1 && (options.dry_run || !options.dump_f.empty()))
    throw usage_error("--dry-run and --dump-F: expected one rank, found {}", world.size());
  prepare_plans(work, settings, session, world);
  if (options.dry_run) return dry_run(work, settings, session);
  if (!options.dump_f.empty()) return dump_f(options, first, settings, session);
  Checkpoints checkpoints(session.checkpoint, fingerprint(options, work), world.rank());
  auto done = run_search(options, work, settings, session, world, checkpoints);
  if (!done) return;
  write_output(options, work, std::move(done->progress), session, world, done->seconds);
  world.on_root([&] {
    if (!session.checkpoint.empty()) checkpoints.remove_all();
  });
}

}  // namespace

int main(int argc, char** argv) {
  SearchOptions o;
  const cli::Command command{
      .name = "polgraw-search",
      .purpose = "search frames of narrow-band data for periodic gravitational waves",
      .description =
          "Computes the F-statistic on every point of a grid of frequency, spindown and sky, with the second spindown "
          "where the grid has it, and writes the triggers above threshold. By default the network statistic with its "
          "cross term, gaps masked, one time origin for all detectors, every bin normalised, at half the sampling rate "
          "in mixed precision: phases in double, transforms in single.\n\n"
          "--compat original reproduces the triggers of the community code's serial program: amplitude functions not "
          "masked in gaps, diagonal form, each detector's own time origin, bins after the last whole block of 4096 raw. "
          "original-omp is its OpenMP branch: gaps masked, prior narrow.\n\n"
          "DATA may be a .txt file that lists data files. Without --grid and without a grid in the file one is made for "
          "--min-match. Triggers are ordered by frame, hemisphere, mm, nn, second spindown, spindown and bin, whatever "
          "the number of threads. Under mpirun all ranks take sky points from one counter. FFTW plans are measured once "
          "and kept in ~/.cache/fachwerk; with the same plans results are the same bits.",
      .arguments = {cli::inputs("DATA", o.inputs, "gw-data files, or .txt lists of them"),
                    cli::output("OUT", o.output, "triggers; --dry-run does not write it")},
      .options =
          {{"--grid", &o.grid, "HDF5 or grid.bin with the grid", {.value_name = "FILE"}},
           {"--min-match",
            &o.min_match,
            "minimal match of a grid that is made here",
            {.minimum = 0.1, .maximum = 0.99}},
           {"--threshold", &o.threshold, "lowest F of a trigger; noise has mean 2"},
           {"--hemisphere", &o.hemisphere, "ecliptic: 1 north, 2 south, 0 both", {.minimum = 0, .maximum = 2}},
           {"--prior",
            &o.prior,
            "spindown: o1 (-1e-8..1e-9 Hz/s), age (1000 years), narrow (age below 200 Hz)",
            {.choices = {"o1", "age", "narrow"}}},
           {"--tau-min", &o.tau_min, "spindown from the age instead", {.unit = "yr", .minimum = 1e-3}},
           {"--fdot-min", &o.fdot_min, "lowest spindown instead", {.unit = "Hz/s"}},
           {"--fdot-max", &o.fdot_max, "highest spindown instead", {.unit = "Hz/s"}},
           {"--no-spindown", &o.no_spindown, "spindown number 0 alone"},
           {"--range", &o.range, "file of 8 integers: lowest and highest ss, nn, mm, pm", {.value_name = "FILE"}},
           {"--regions",
            &o.regions,
            "CSV of grid points: pm,nn,mm,ss_lo,ss_hi, or HDF5 with these columns in /regions",
            {.value_name = "FILE"}},
           {"--cone", &o.cone, "sky points within: alpha,delta,radius in rad, of one cone or several"},
           {"--exclude-cone", &o.exclude_cone, "no sky points within: alpha,delta,radius, one cone or several"},
           {"--f2", &o.f2,
            "second spindown of a grid that has it, or that is made here: lowest,highest in Hz/s^2; default 0,0"},
           {"--shapiro", &o.shapiro, "with the Shapiro delay; needs /DET/ephem/sun_ssb"},
           {"--around", &o.around, "grid points next to a signal: f,fdot,alpha,delta (Hz, Hz/s, rad)"},
           {"--gsize", &o.gsize, "how many grid steps round it", {.minimum = 0, .maximum = 1000}},
           {"--detectors", &o.detectors, "names, in the order in which they are taken"},
           {"--veto", &o.vetoes, "files of known lines", {.value_name = "FILE"}},
           {"--genvlines", &o.genvlines, "write the vetoed intervals", {.value_name = "FILE"}},
           {"--narrowdown",
            &o.narrowdown,
            "keep |omega - pi/2| below this times pi; 0.5 keeps all",
            {.minimum = 0, .maximum = 0.5}},
           {"--guard",
            &o.guard,
            "part of the band left out at both ends; default: 4096 B bins",
            {.unit = "Hz", .minimum = 0}},
           {"--whitenoise", &o.whitenoise, "no normalisation in blocks"},
           {"--norm", &o.norm, "normalise blocks of bins by mean or median", {.choices = {"block", "median", "none"}}},
           {"--nav", &o.nav, "bins in a block", {.minimum = 16, .maximum = 1048576}},
           {"--form", &o.form, "of F: with or without the cross term", {.choices = {"full", "diagonal"}}},
           {"--peaks",
            &o.peaks,
            "one trigger a run of bins above threshold, or each local maximum",
            {.choices = {"run", "local"}}},
           {"--precision", &o.precision, "mixed: single-precision transforms", {.choices = {"mixed", "double"}}},
           {"--engine",
            &o.engine,
            "plain: the same statistic without any of the fast form's means; batched: as on a GPU",
            {.choices = {"fast", "plain", "batched"}}},
           {"--interbin", &o.interbin, "F half-way between the bins too; for grids with fftpad 1"},
           {"--halfrate",
            &o.halfrate,
            "auto: where no frequency drifts out of the band; off: the full sampling rate",
            {.choices = {"auto", "off"}}},
           {"--interpolation",
            &o.degree,
            "degree of the spline of the fast form: 3, 5 or 7",
            {.minimum = 3, .maximum = 7}},
           {"--fft-planning",
            &o.planning,
            "how long FFTW looks for a plan",
            {.choices = {"estimate", "measure", "patient"}}},
           {"--refine",
            &o.refine,
            "maximise F off the grid next to so many of the loudest clusters of triggers",
            {.minimum = 0, .maximum = 100000}},
           {"--top", &o.top, "keep the loudest alone; 0 keeps all", {.minimum = 0}},
           {"--max-triggers", &o.max_triggers, "stop beyond this many", {.minimum = 1}},
           {"--compat", &o.compat, "reproduce the community code", {.choices = {"none", "original", "original-omp"}}},
           {"--dump-F", &o.dump_f,
            "write F over frequency at pm,nn,mm,ss instead; of a grid with second spindown at pm,nn,mm,ss,tt"},
           {"--dry-run", &o.dry_run, "print ranges, templates and predicted time"},
           {"--checkpoint-interval", &o.checkpoint_interval, "time between checkpoints", {.unit = "s", .minimum = 0}},
           {"--shards", &o.shards, "under mpirun each rank writes a file of its own: OUT.0.h5, OUT.1.h5, ..."},
           {"--detector-F", &o.detector_f,
            "write 2F of each detector at the triggers, and two statistics that tell lines"}},
      .examples = {{"polgraw-search frame1.h5 triggers.h5 --threshold 14.5", "Both hemispheres, the whole sky."},
                   {"polgraw-search frame1.h5 triggers.h5 --dry-run",
                    "How large the search is, and how long it will take."},
                   {"polgraw-search bands.txt all.h5 --checkpoint state.h5", "Many frames; continue with --resume."}},
      .reference =
          "Poghosyan, Matta, Streit, Bejger, Krolak, Comput. Phys. Commun. 188 (2015) 167 (arXiv:1410.3677); Astone "
          "et al., Phys. Rev. D 82 (2010) 022005; Jaranowski, Krolak, Schutz, Phys. Rev. D 58 (1998) 063001",
      .reads =
          "/ attributes fpo, dt, nod, gps_start, frame, band\n"
          "/DET/x (N) data, zero where missing; /DET/mask (N) optional\n"
          "/DET/ephem/earth_ssb, det_geo (N,3) s; /DET/ephem/einstein (N) s\n"
          "/DET attributes phir, eps, lat, lon, gamma, gps_start\n"
          "/DET/ephem/sun_ssb (N,3) s: --shapiro\n"
          "/grid/M, /grid/fisher (4,4), attribute fftpad: optional; (5,5) with the attribute axes = \"omega,s,s2,al1,al2\"\n"
          "directed: (2,2) or (3,3), attributes axes = \"omega,s\" or \"omega,s,s2\", alpha, delta",
      .writes =
          "/triggers/omega, s, delta, alpha, snr, f_hz, fdot (n) f64\n"
          "/triggers/pm, mm, nn, ss, k, source (n) i32\n"
          "/triggers/half (n) i32: --interbin\n"
          "/triggers/tt (n) i32, s2, fddot (n) f64: second spindown\n"
          "/triggers/twoF_det (n, detectors) f32, line (n) i32, log10_bsgl (n) f32: --detector-F\n"
          "/candidates/F, grid_F, snr, f_hz, fdot, fddot, alpha, delta, omega, s, source, trigger, converged: --refine, "
          "loudest first\n"
          "/sources/frame, band, fpo, dt, N, gps_start, obliquity, templates: one row a frame\n"
          "--dump-F: /frequency, /F",
      .standard = {.threads = true, .device = true, .checkpoint = true}};
  return command.run(argc, argv, [&](cli::Session& session) {
    cluster::run(session, [&](const cluster::Communicator& world) { search(o, session, world); });
  });
}
