#include "limited_batch.hpp"

#include <algorithm>
#include <map>
#include <optional>

#include "cli/error.hpp"
#include "compute/parallel.hpp"

namespace fachwerk::dpf {
namespace {

constexpr std::size_t most_anchors = 24;               ///< factors that are kept
constexpr int most_borders = 96;                       ///< type differences beyond which Newton is cheaper
constexpr std::size_t memory = std::size_t{64} << 20;  ///< for the rounds of a block

// Types and states of the base case, round by round.
std::vector<LimitedSolution> rounds_of_base(const Grid& grid, const Network& network, const Batch& plain,
                                            QLimits mode) {
  QLimitRounds rounds(grid, network, mode);
  FlowWork work(network);
  Newton newton(network);
  Solution solution;
  solution.state = plain.base();
  solution.status = Status::converged;
  std::vector<LimitedSolution> out;
  while (rounds.accept(grid, network, work, std::move(solution))) {
    solution = newton.solve(rounds.problem(network), rounds.start(), {.tolerance = plain.options().tolerance});
    if (solution.status != Status::converged) break;
    out.push_back(rounds.now());
    out.back().solution = solution;
  }
  return out;
}

}  // namespace

LimitedBatch::LimitedBatch(const Grid& grid, const Network& network, Batch& plain, QLimits mode)
    : grid_(grid), network_(network) {
  for (int i = 0; i < network.nodes(); ++i)
    if (network.type[i] != NodeType::pq) controlled_.push_back(i);
  anchors_.push_back({{}, nullptr, &plain});
  std::vector<LimitedSolution> rounds = rounds_of_base(grid, network, plain, mode);
  const std::size_t stride = (rounds.size() + most_anchors - 1) / most_anchors;
  for (std::size_t r = rounds.size(); r > 0; r -= std::min(r, stride)) {  // the last for certain
    Anchor& anchor = anchors_.emplace_back(Anchor{std::move(rounds[r - 1]), nullptr, nullptr});
    try {
      anchor.owned = std::make_unique<Batch>(grid, problem_of(network, anchor.types), anchor.types.solution.state,
                                             plain.options());
      anchor.batch = anchor.owned.get();
    } catch (const Error&) {
      anchors_.pop_back();  // a Jacobian that needs pivoting
    }
  }
}

Batch* LimitedBatch::nearest(const LimitedSolution& limited) const {
  Batch* best = nullptr;
  int least = most_borders + 1;
  for (const Anchor& anchor : anchors_) {
    const std::span<const NodeType> type = anchor.batch->problem().type;
    int differ = 0;
    for (const int i : controlled_) {
      if ((type[i] == NodeType::reference) != (limited.type[i] == NodeType::reference)) differ = most_borders + 1;
      differ += (type[i] == NodeType::pq) != (limited.type[i] == NodeType::pq);
    }
    if (differ < least) least = differ, best = anchor.batch;
  }
  return best;
}

// Scenarios whose rounds are in memory together.
struct LimitedBatch::Part {
  std::size_t first;
  const Access& access;
  std::vector<std::optional<QLimitRounds>> rounds;
  std::vector<Path> path;
  std::vector<char> goes_on;

  Part(std::size_t begin, std::size_t count, const Access& given)
      : first(begin), access(given), rounds(count), path(count, Path::chord), goes_on(count, 0) {}

  void accept(std::size_t i, ScenarioResult&& result) {
    Desk& desk = access.desk();
    const auto point = [&]() -> OperatingPoint& {
      OperatingPoint& out = desk.fresh_point();
      access.point(first + i, out);
      return out;
    };
    if (!rounds[i]) {
      path[i] = result.path;
      if (result.solution.status != Status::converged) {
        access.done(first + i, desk.finish(point(), std::move(result)));
        return;
      }
      rounds[i].emplace(desk.first_round(point()));
    } else if (result.solution.status != Status::converged) {
      path[i] = Path::nr;
    }
    goes_on[i] = desk.accept(point(), *rounds[i], std::move(result));
    if (goes_on[i]) return;
    access.done(first + i, desk.finish(point(), std::move(*rounds[i]), path[i]));
    rounds[i].reset();
  }
};

void LimitedBatch::solve(std::size_t first, std::size_t count, const Access& access) {
  const std::size_t lanes = static_cast<std::size_t>(anchors_[0].batch->lanes()),
                    most = std::max<std::size_t>(1, memory / (48 * network_.type.size()) / lanes) * lanes;
  for (std::size_t begin = 0; begin < count; begin += most) {
    Part part(first + begin, std::min(most, count - begin), access);
    const auto specified = [&](std::size_t s, const Specified& x) {
      OperatingPoint& point = access.desk().fresh_point();
      access.point(s, point);
      specify(grid_, network_, point, x);
    };
    anchors_[0].batch->solve(part.first, part.rounds.size(), specified, [&](std::size_t s, ScenarioResult&& result) {
      part.accept(s - part.first, std::move(result));
    });
    for (;;) {
      std::map<const Batch*, std::vector<std::size_t>> groups;
      for (std::size_t i = 0; i < part.rounds.size(); ++i)
        if (part.goes_on[i]) groups[nearest(part.rounds[i]->now())].push_back(i);
      if (groups.empty()) break;
      for (const Anchor& anchor : anchors_)
        if (const auto found = groups.find(anchor.batch); found != groups.end()) {
          const auto& group = found->second;
          anchor.batch->solve_typed(
              group.size(),
              [&](std::size_t k) {
                const QLimitRounds& rounds = *part.rounds[group[k]];
                return TypedScenario{rounds.now().type, rounds.now().p, rounds.now().q, &rounds.start()};
              },
              [&](std::size_t k, ScenarioResult&& result) { part.accept(group[k], std::move(result)); });
        }
      const auto& alone = groups[nullptr];
      compute::parallel_tasks(alone.size(), [&](std::size_t k) { part.accept(alone[k], ScenarioResult{}); });
    }
  }
}

}  // namespace fachwerk::dpf
