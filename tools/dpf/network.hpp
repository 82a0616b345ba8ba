#pragma once

#include <optional>
#include <string>
#include <vector>

#include "grid.hpp"

/// The grid as the solvers see it: live nodes in elimination order, per unit, radians.
namespace fachwerk::dpf {

enum class NodeType : std::int8_t { pq, pv, reference };

/// A sparse matrix pattern by rows: columns ascending, symmetric, the diagonal always there.
struct Pattern {
  std::vector<int> start{0};
  std::vector<int> column;
  std::vector<int> diagonal;  ///< position of (i, i)
  int rows() const { return static_cast<int>(start.size()) - 1; }
  int entries() const { return static_cast<int>(column.size()); }
  /// Position of (i, j), or -1.
  int position(int i, int j) const;
};

/// Current entering a branch at its two ends: I_f = ff V_f + ft V_t, I_t = tf V_f + tt V_t (MATPOWER manual, eq. 3.2).
struct BranchAdmittance {
  Complex ff, ft, tf, tt;
};
BranchAdmittance branch_admittance(const Branches& branch, std::size_t row);
/// What a branch draws whose two ends are one node, pu: its charging, and a current round a tap. Throws bad input for r
/// = x = 0 with a tap or a shift: such ends have different voltages.
Complex closed_branch_admittance(const Branches& branch, std::size_t row);

/// Where the four admittances of a branch are in Ybus.
struct BranchSlots {
  int ff, ft, tf, tt;
};

/// Voltage-dependent part of a load: of constant current and constant impedance, pu at 1 pu.
struct VoltageDependence {
  double p_current = 0, p_impedance = 0, q_current = 0, q_impedance = 0;
};

/// Adds those parts of a load of pd + j qd pu, by its shares.
void add_dependence(const std::array<double, 6>& share, double pd, double qd, VoltageDependence& out);

/// How a network is made from a grid.
struct NetworkOptions {
  bool first_reference = false;    ///< --ref-rule first: the first PV bus replaces a missing reference, not the largest
  bool drop_unreferenced = false;  ///< islands without a reference bus of the file are dead, even with generators
  bool merge_zero_impedance = false;  ///< fuse the ends of branches with r = x = 0 instead of refusing them
};

struct Network {
  double base_mva = 100;

  // ---- nodes, in elimination order ----
  std::vector<int> bus_of_node;  ///< a file row of each node (the first of fused ones)
  std::vector<NodeType> type;
  std::vector<int> island;             ///< island of each node, 0...
  std::vector<double> p, q;            ///< specified injection without the voltage-dependent loads, pu
  std::vector<VoltageDependence> zip;  ///< empty if every load is of constant power
  std::vector<double> set_point;       ///< |V| of PV and reference nodes
  std::vector<double> vm, va;          ///< voltages of the file, set-points put in; pu, radians
  std::vector<double> slack_weight;    ///< share in distributed slack, sum 1 in each island; empty unless asked for
  int islands = 0;

  // ---- admittance ----
  Pattern pattern;
  std::vector<Complex> y;                    ///< by the positions of `pattern`
  std::vector<Complex> shunt;                ///< of each node, pu; it is in `y` too
  std::vector<BranchAdmittance> admittance;  ///< by file row, zero if out of service
  std::vector<BranchSlots> slots;            ///< by file row, -1 if out of service or fused

  // ---- file rows ----
  std::vector<int> node_of_bus;                   ///< -1: dead
  std::vector<int> node_of_gen;                   ///< -1: out of service or on a dead bus
  std::vector<char> sets_voltage;                 ///< by generator: its set-point is that of its node
  std::vector<int> from_of_branch, to_of_branch;  ///< nodes of in-service branches, else -1
  std::vector<std::pair<int, int>> closed;        ///< in-service branches within a fused node, and that node
  double lost_load_mw = 0;                        ///< load of dead buses
  std::vector<std::string> warnings;

  int nodes() const { return static_cast<int>(type.size()); }
  int unknowns() const;  ///< angles of PV and PQ, magnitudes of PQ
};

/// Builds it: in-service elements, bus types corrected, islands and their references, Ybus, minimum-degree order.
/// Throws bad input for r = x = 0 (unless merged) and for a grid without any live bus.
Network build_network(const Grid& grid, const NetworkOptions& options = {});

/// Makes all generators of an island share its slack: by participation factor where the file has any, else by headroom
/// Pmax - Pg. The first reference of an island keeps its angle, others become PV.
void distribute_slack(Network& network, const Grid& grid);

/// Connected components of `nodes` nodes under the edges; returns the component of each node, numbered by first node.
std::vector<int> components(int nodes, const std::vector<std::pair<int, int>>& edges);

/// For every in-service branch: does its outage split its island (a bridge that no parallel branch covers)? Tarjan, O(n
/// + m).
std::vector<bool> bridges(const Network& network);

/// Sets `p`, `q`, `zip`, `set_point` and the lost load from the grid's loads and generators.
void specify_injections(Network& network, const Grid& grid);

/// Rebuilds `y` from `admittance`, the shunts and the charging within fused nodes: for grids whose parameters changed.
void assemble_admittance(Network& network, const Grid& grid);

}  // namespace fachwerk::dpf
