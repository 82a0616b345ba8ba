#include "metering.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "cli/error.hpp"
#include "compute/random.hpp"

namespace fachwerk::dpf {
namespace {

constexpr std::array<const char*, 10> names = {"vm", "va", "p", "q", "pf", "qf", "pt", "qt", "if", "it"};
constexpr std::uint32_t first_channel = 21;

// Neighbours of every bus by branches in service, itself among them.
std::vector<std::vector<int>> seen_from(const Grid& grid, const Network& network) {
  const auto rows = bus_rows(grid);
  std::vector<std::vector<int>> out(grid.bus.size());
  for (std::size_t i = 0; i < out.size(); ++i)
    if (network.node_of_bus[i] >= 0) out[i].push_back(static_cast<int>(i));
  for (std::size_t k = 0; k < grid.branch.size(); ++k) {
    if (network.from_of_branch[k] < 0) continue;
    const int f = rows.at(grid.branch.from[k]), t = rows.at(grid.branch.to[k]);
    out[f].push_back(t);
    out[t].push_back(f);
  }
  for (auto& list : out) {
    std::ranges::sort(list);
    list.erase(std::unique(list.begin(), list.end()), list.end());
  }
  return out;
}

}  // namespace

std::vector<int> covering_buses(const Grid& grid, const Network& network) {
  const auto sees = seen_from(grid, network);
  std::vector<int> watchers(sees.size(), 0), gain(sees.size()), chosen;
  // Buckets of buses by how much unseen they would see; a bus that has lost since moves down when it comes up.
  std::vector<std::vector<int>> bucket;
  const auto put = [&](int i) {
    const auto at = static_cast<std::size_t>(gain[i]);
    if (bucket.size() <= at) bucket.resize(at + 1);
    bucket[at].push_back(i);
  };
  for (std::size_t i = sees.size(); i-- > 0;) {
    gain[i] = static_cast<int>(sees[i].size());
    put(static_cast<int>(i));
  }
  for (std::size_t at = bucket.size(); at-- > 1;)
    while (!bucket[at].empty()) {
      const int i = bucket[at].back();
      bucket[at].pop_back();
      gain[i] = static_cast<int>(std::ranges::count_if(sees[i], [&](int j) { return watchers[j] == 0; }));
      if (gain[i] < static_cast<int>(at)) {
        put(i);
        continue;
      }
      chosen.push_back(i);
      for (const int j : sees[i])
        ++watchers[j];
    }
  std::erase_if(chosen, [&](int i) {
    if (std::ranges::any_of(sees[i], [&](int j) { return watchers[j] == 1; })) return false;
    for (const int j : sees[i])
      --watchers[j];
    return true;
  });
  std::ranges::sort(chosen);
  return chosen;
}

Quantity quantity_of(const std::string& word) {
  const auto found = std::ranges::find(names, word);
  if (found == names.end())
    throw usage_error("\"{}\" cannot be metered: expected some of {}", word, fmt::join(names, ", "));
  return static_cast<Quantity>(found - names.begin());
}
std::string name(Quantity quantity) {
  return names[static_cast<std::size_t>(quantity)];
}
std::string units(Quantity quantity) {
  switch (quantity) {
    case Quantity::va:
      return "deg";
    case Quantity::p:
    case Quantity::pf:
    case Quantity::pt:
      return "MW";
    case Quantity::q:
    case Quantity::qf:
    case Quantity::qt:
      return "MVAr";
    default:
      return "pu";
  }
}
bool of_bus(Quantity quantity) {
  return quantity <= Quantity::q;
}

std::vector<double> readings(const Grid& grid, const Problem& problem, const State& state, Quantity quantity,
                             const std::vector<char>& metered) {
  const Network& network = *problem.network;
  const Flows result = flows(grid, problem, state);
  if (of_bus(quantity)) {
    std::vector<Complex> s(state.vm.size());
    injections(problem, state, s);
    std::vector<double> out(grid.bus.size(), NAN);
    for (std::size_t i = 0; i < out.size(); ++i) {
      const int k = network.node_of_bus[i];
      if (k < 0) continue;
      if (quantity == Quantity::p) out[i] = s[k].real() * grid.base_mva;
      if (quantity == Quantity::q) out[i] = s[k].imag() * grid.base_mva;
      if (quantity == Quantity::vm && metered[i]) out[i] = result.vm[i];
      if (quantity == Quantity::va && metered[i]) out[i] = result.va[i];
    }
    return out;
  }
  const auto rows = bus_rows(grid);
  const bool at_from = quantity == Quantity::pf || quantity == Quantity::qf || quantity == Quantity::current_from;
  std::vector<double> out(grid.branch.size(), NAN);
  for (std::size_t k = 0; k < out.size(); ++k) {
    const int bus = rows.at(at_from ? grid.branch.from[k] : grid.branch.to[k]);
    if (network.from_of_branch[k] < 0 || !metered[bus]) continue;
    const double p = at_from ? result.pf[k] : result.pt[k], q = at_from ? result.qf[k] : result.qt[k];
    const bool active = quantity == Quantity::pf || quantity == Quantity::pt;
    const bool current = quantity == Quantity::current_from || quantity == Quantity::current_to;
    out[k] = current ? std::hypot(p, q) / grid.base_mva / result.vm[bus] : active ? p : q;
  }
  return out;
}

void disturb(std::vector<double>& values, std::size_t first, Quantity quantity, const MeterErrors& errors) {
  const std::uint32_t channel = first_channel + static_cast<std::uint32_t>(quantity);
  for (std::size_t i = 0; i < values.size(); ++i) {
    compute::Stream random(errors.seed, first + i, channel);
    const bool missing = random.uniform() < errors.missing, outlier = random.uniform() < errors.outliers;
    values[i] += errors.sigma * random.normal() * (outlier ? 50 : 1);
    if (missing) values[i] = NAN;
  }
}

}  // namespace fachwerk::dpf
