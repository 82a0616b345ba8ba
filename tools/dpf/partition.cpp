#include "partition.hpp"

#include <algorithm>
#include <map>

#include <metis.h>

#include "cli/error.hpp"

namespace fachwerk::dpf {

std::vector<int> bisect(const Pattern& pattern, int parts) {
  const int n = pattern.rows();
  if (parts > n) throw usage_error("{} areas are more than the {} buses of the grid", parts, n);
  std::vector<int> area(static_cast<std::size_t>(n), 0);
  if (parts <= 1) return area;
  std::vector<idx_t> start{0}, neighbour, found(area.size());
  for (int i = 0; i < n; ++i) {
    for (int k = pattern.start[i]; k < pattern.start[i + 1]; ++k)
      if (pattern.column[k] != i) neighbour.push_back(pattern.column[k]);
    start.push_back(static_cast<idx_t>(neighbour.size()));
  }
  idx_t nodes = n, constraints = 1, wanted = parts, cut = 0;
  idx_t options[METIS_NOPTIONS];
  METIS_SetDefaultOptions(options);
  options[METIS_OPTION_SEED] = 1;
  if (METIS_PartGraphRecursive(&nodes, &constraints, start.data(), neighbour.data(), nullptr, nullptr, nullptr, &wanted,
                               nullptr, nullptr, options, &cut, found.data()) != METIS_OK)
    throw absent_error("out of memory for cutting a grid of {} buses", n);
  // An area may have stayed empty: the others close up.
  std::map<idx_t, int> order;
  for (const idx_t part : found)
    order.emplace(part, 0);
  int next = 0;
  for (auto& [part, number] : order)
    number = next++;
  std::ranges::transform(found, area.begin(), [&](idx_t part) { return order.at(part); });
  return area;
}

std::vector<int> areas_of(const Network& network, std::span<const double> number) {
  std::map<double, int> order;
  for (const int row : network.bus_of_node)
    order.emplace(number[static_cast<std::size_t>(row)], 0);
  int next = 0;
  for (auto& [value, area] : order)
    area = next++;
  std::vector<int> area;
  for (const int row : network.bus_of_node)
    area.push_back(order.at(number[static_cast<std::size_t>(row)]));
  return area;
}

}  // namespace fachwerk::dpf
