#pragma once

#include <span>
#include <vector>

#include "network.hpp"

/// Areas of a grid: cut by the graph of its buses, or given by numbers.
namespace fachwerk::dpf {

/// Cuts the nodes into `parts` areas of nearly equal size with few edges between them: recursive bisection (METIS).
/// Returns the area of each node. Throws usage_error for more areas than nodes.
std::vector<int> bisect(const Pattern& pattern, int parts);

/// Areas 0, 1, ... by ascending number of their buses. `number` by file row; returns the area of each node.
std::vector<int> areas_of(const Network& network, std::span<const double> number);

}  // namespace fachwerk::dpf
