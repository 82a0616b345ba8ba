#include <chrono>
#include <cmath>

#include "cli/command.hpp"
#include "cli/progress.hpp"
#include "cluster/world.hpp"
#include "farm.hpp"
#include "io/plot.hpp"
#include "scenario_source.hpp"
#include "screen_results.hpp"

using namespace fachwerk;

namespace {

using Options = dpf::ScreenCall;

// Solves blocks of a study; keeps the factors of the operating point it is at.
class Screener {
 public:
  Screener(const Options& options, const dpf::ScreenOptions& screen_options, const dpf::LoadedGrid& input,
           const dpf::ScreenStudy& study, dpf::ScenarioSource* source)
      : options_(options), screen_options_(screen_options), input_(input), study_(study), source_(source) {}

  std::span<const double> solve(cluster::Block block) {
    std::vector<double>& out = values_;
    out.clear();
    const std::size_t width = study_.contingencies.size();
    for (std::size_t at = block.begin; at < block.end();) {
      const std::size_t point = at / width, first = at % width, count = std::min(width - first, block.end() - at);
      solve_at(point, first, count, out);
      at += count;
    }
    return out;
  }

 private:
  // The intact grid at an operating point, solved.
  struct At {
    std::size_t point;
    dpf::Grid grid;
    dpf::Network network;
    std::optional<dpf::Screen> screen = {};
  };

  void move_to(std::size_t point) {
    if (at_ && at_->point == point) return;
    std::optional<dpf::Grid> grid = input_.grid;
    if (source_ != nullptr) {
      source_->load(point, 1);
      grid = source_->grid(point);
    }
    at_.reset(new At{point, grid ? std::move(*grid) : input_.grid, {}});
    if (!grid) return;
    at_->network = dpf::build_network(at_->grid);
    const dpf::Problem problem = dpf::problem_of(at_->network);
    dpf::Newton newton(at_->network);
    dpf::ScenarioResult base =
        dpf::climb(at_->grid, newton, problem, dpf::starting_point(at_->grid, problem, dpf::Start::automatic),
                   {.tolerance = options_.tolerance});
    if (base.solution.status == dpf::Status::converged)
      at_->screen.emplace(at_->grid, at_->network, std::move(base.solution.state), screen_options_);
    else if (source_ == nullptr)
      throw method_failed("{}: the intact grid has no solution ({}, max mismatch {:.3g} pu)", input_.name,
                          dpf::name(base.solution.status), base.solution.max_mismatch);
  }

  void solve_at(std::size_t point, std::size_t first, std::size_t count, std::vector<double>& out) {
    move_to(point);
    const auto begin = study_.contingencies.begin() + static_cast<std::ptrdiff_t>(first);
    const std::vector<dpf::Contingency> part(begin, begin + static_cast<std::ptrdiff_t>(count));
    const std::size_t n = input_.grid.bus.size(), width = options_.full ? 2 * n : 0;
    std::vector<double> voltages(count * width, NAN);
    const auto keep = [&](std::size_t c, const std::vector<double>& vm, const std::vector<double>& va) {
      const std::span<double> row = std::span(voltages).subspan(c * width, width);
      std::ranges::copy(vm, row.begin());
      for (std::size_t i = 0; i < n; ++i)
        row[n + i] = va[i] * 180 / 3.14159265358979323846;
    };
    std::vector<dpf::ContingencyResult> results(count);  // unsolved, where the operating point itself has no solution
    if (at_->screen && options_.full)
      results = at_->screen->run(
          part, [](std::size_t) {}, keep);
    else if (at_->screen)
      results = at_->screen->run(part, [](std::size_t) {});
    for (std::size_t c = 0; c < count; ++c)
      dpf::append_result(out, results[c], std::span(voltages).subspan(c * width, width));
  }

  const Options& options_;
  dpf::ScreenOptions screen_options_;
  const dpf::LoadedGrid& input_;
  const dpf::ScreenStudy& study_;
  dpf::ScenarioSource* source_;
  std::unique_ptr<At> at_;
  std::vector<double> values_;
};

void screen(const Options& options, cli::Session& session, const cluster::Communicator& world) {
  if (!options.plot.empty()) plot::format_of(options.plot);  // before any work
  if (world.size() > 1 && (options.input == "-" || options.output == "-" || options.scenarios == "-"))
    throw usage_error("- is a pipe of one process, and there are {} ranks", world.size()).with_hint("give a file name");
  const dpf::ScreenOptions screen_options = dpf::screen_options_of(options, session);
  const dpf::LoadedGrid input = dpf::load_grid(options.input);
  for (const auto& warning : input.warnings)
    session.warn(warning);
  std::optional<dpf::ScenarioSource> source;
  if (!options.scenarios.empty()) source = dpf::ScenarioSource::open(options.scenarios, input.grid, options.area);
  dpf::ScreenStudy study{
      contingencies_of(options, input.grid, dpf::about(input.name, [&] { return dpf::build_network(input.grid); }))};
  if (source) study.points = source->count();
  const auto clock = std::chrono::steady_clock::now();
  Screener screener(options, screen_options, input, study, source ? &*source : nullptr);
  std::optional<dpf::ScreenWriter> writer;
  if (world.root()) writer.emplace(options, session, input, study);
  // One rank takes an operating point whole, several share even one.
  const std::size_t width = study.contingencies.size(),
                    grain = world.size() == 1 ? width : std::min<std::size_t>(width, 64);
  {
    cli::Progress progress(session, "screening", study.size(), "contingencies");
    dpf::farm_out(
        world, study.size(), grain, width, [&](cluster::Block part) { return screener.solve(part); },
        [&](cluster::Block part, std::span<const double> values) {
          writer->write(part, values);
          progress.advance(part.count);
        });
  }
  if (!world.root()) return;
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - clock).count();
  writer->finish();
  if (!options.plot.empty()) dpf::plot_ranking(options, session, input.grid, writer->results());
  dpf::summarise(options, session, input.grid, study, writer->results(), seconds);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  const cli::Command command{
      .name = "dpf-screen",
      .purpose = "find out what happens when branches or generators fail",
      .description =
          "Solves the power flow with each branch or generator out of service (N-1), with pairs of branches, or with the outages of "
          "a change table, and lists overloads and voltage violations, worst first.\n\n"
          "All outages share the factor of the intact grid's Jacobian: an outage is a correction of rank four (Woodbury), iterations "
          "are accelerated (Anderson), many outages run side by side. What contracts too slowly is solved by Newton's method and a "
          "ladder of stronger ones; where Levenberg-Marquardt ends at a minimum of the mismatch that is no solution the verdict is "
          "infeasible, and the residual tells how far away a solution is. Outages that split the grid are found beforehand; the part "
          "with the reference is solved and the rest counted as lost load.\n\n"
          "With --guard a contingency is decided as soon as every loading and voltage is further from its limit than the given number "
          "of estimated errors. That is an estimate, not a proof: --check measures it.\n\n"
          "Under mpirun the ranks share the outages, and the first rank writes; results do not depend on the number of ranks.",
      .arguments = {cli::input("IN", options.input,
                               "grid, kind power-case or power-flow, or a MATPOWER case file (.m); - is stdin (HDF5)"),
                    cli::output("OUT", options.output, "contingency table, kind power-flow")},
      .options =
          {{"--branches",
            &options.branches,
            "branches to take out: all, none, rows from 1 (1,5,8), or a text file with them",
            {.value_name = "LIST|FILE"}},
           {"--gens",
            &options.generators,
            "generators to take out: all, none, rows from 1, or a text file with them",
            {.value_name = "LIST|FILE"}},
           {"--pairs",
            &options.pairs,
            "pairs of branches to take out together, as 3-7,12-40, or a text file with them",
            {.value_name = "LIST|FILE"}},
           {"--contab",
            &options.table,
            "outages of a MATPOWER change table (.m, or HDF5 from dpf-import) instead",
            {.value_name = "FILE"}},
           {"--limits", &options.limits, "voltage limits: file, or VMIN,VMAX in pu", {.value_name = "LIMITS"}},
           {"--rating", &options.rating, "which rating limits the branches", {.choices = {"A", "B", "C"}}},
           {"--guard",
            &options.guard,
            "decide early: off, auto (3), or the width of the guard band in estimated errors",
            {.value_name = "auto|off|KAPPA"}},
           {"--prefilter",
            &options.prefilter,
            "lodf: outages whose loadings all stay low in the linear guess are not solved (status 6); it does not look at voltages",
            {.choices = {"none", "lodf"}}},
           {"--prefilter-guard",
            &options.prefilter_guard,
            "guard band of the linear guess, in guessed changes of a loading",
            {.minimum = 1e-3, .maximum = 1e6}},
           {"--scenarios",
            &options.scenarios,
            "all contingencies for each of these operating points (HDF5 with /scenarios or /changes, or a change table .m)",
            {.value_name = "FILE"}},
           {"--area-column",
            &options.area,
            "what area numbers of a change table mean; auto: zone where a number is no area",
            {.choices = {"auto", "area", "zone"}}},
           {"--plot",
            &options.plot,
            "picture of the highest loading after each outage, ranked (.png, .svg)",
            {.value_name = "FILE"}},
           {"--split",
            &options.split,
            "outages that split the grid: solve the part with the reference, every part with a generator, or skip",
            {.choices = {"largest", "island", "skip"}}},
           {"--tol", &options.tolerance, "largest power mismatch", {.unit = "pu", .minimum = 1e-14, .maximum = 1}},
           {"--max-iter",
            &options.max_iterations,
            "most iterations of Newton's method",
            {.minimum = 1, .maximum = 10000}},
           {"--check",
            &options.check,
            "fraction of outages solved again by Newton's method and compared",
            {.minimum = 0, .maximum = 1}},
           {"--top", &options.top, "rows of the printed table", {.minimum = 0, .maximum = 100000}},
           {"--full", &options.full, "write the voltages of every contingency"}},
      .examples = {{"dpf-screen case118.h5 n1.h5", "N-1 of all branches."},
                   {"dpf-screen --gens all --branches none --limits .95,1.05 case118.h5 gens.h5",
                    "N-1 of all generators, with other voltage limits."},
                   {"dpf-screen --guard auto --check .1 --rating B case300.h5 n1.h5",
                    "Decide early, and measure what that does."}},
      .reference =
          "Oez, Hoerter, Phipps, Debus, Streit, Goetz: Differentiable Power-Flow Optimization. arXiv 2603.28203 (2026). Low-rank updates: "
          "Alsac, Stott, Tinney: IEEE Transactions on Power Apparatus and Systems 102 (1983) 2471-2479.",
      .reads = "/grid/{bus,gen,branch}/*  as dpf-import writes it\n/changes/*  with --contab",
      .writes =
          "/grid/*  as read\n/screen/{label,scenario,kind,element,status,iters,path,early,max_mismatch,severity,pi_mw,pi_v}[contingency]\n"
          "/screen/{worst_branch,worst_loading,vmin,vmin_bus,vmax,vmax_bus,lost_load_mw,n_viol}[contingency]\n"
          "/screen/violations/{ptr,kind,element,value}\n/result/{vm,va}[contingency,bus]  with --full",
      .standard = {.threads = true, .seed = true}};
  return command.run(argc, argv, [&](cli::Session& session) {
    cluster::run(session, [&](const cluster::Communicator& world) { screen(options, session, world); });
  });
}
