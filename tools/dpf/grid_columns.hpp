#pragma once

#include <array>
#include <map>
#include <string>

#include "grid.hpp"

namespace fachwerk::dpf {

/// The columns of the tables of /grid: name, units, meaning, place. One description for HDF5 and CSV, both ways.
template <class Visit>
void bus_columns(Buses& bus, Visit&& visit) {
  visit("id", "", "bus number", bus.id);
  visit("type", "", "1 PQ, 2 PV, 3 reference, 4 isolated", bus.type);
  visit("pd", "MW", "active load", bus.pd);
  visit("qd", "MVAr", "reactive load", bus.qd);
  visit("gs", "MW", "shunt conductance, consumed at 1 pu", bus.gs);
  visit("bs", "MVAr", "shunt susceptance, injected at 1 pu", bus.bs);
  visit("vm", "pu", "voltage magnitude", bus.vm);
  visit("va", "deg", "voltage angle", bus.va);
  visit("base_kv", "kV", "base voltage", bus.base_kv);
  visit("area", "", "area number", bus.area);
  visit("zone", "", "zone number", bus.zone);
  visit("vmax", "pu", "upper voltage limit", bus.vmax);
  visit("vmin", "pu", "lower voltage limit", bus.vmin);
}

template <class Visit>
void generator_columns(Generators& gen, Visit&& visit) {
  visit("bus", "", "bus number", gen.bus);
  visit("pg", "MW", "active output", gen.pg);
  visit("qg", "MVAr", "reactive output", gen.qg);
  visit("qmax", "MVAr", "upper reactive limit", gen.qmax);
  visit("qmin", "MVAr", "lower reactive limit", gen.qmin);
  visit("vg", "pu", "voltage set-point", gen.vg);
  visit("mbase", "MVA", "machine base", gen.mbase);
  visit("status", "", "1 in service", gen.status);
  visit("pmax", "MW", "upper active limit", gen.pmax);
  visit("pmin", "MW", "lower active limit", gen.pmin);
  visit("apf", "", "participation factor", gen.apf);
}

template <class Visit>
void branch_columns(Branches& branch, Visit&& visit) {
  visit("f", "", "from bus number", branch.from);
  visit("t", "", "to bus number", branch.to);
  visit("r", "pu", "series resistance", branch.r);
  visit("x", "pu", "series reactance", branch.x);
  visit("b", "pu", "total charging susceptance", branch.b);
  visit("rate_a", "MVA", "long-term rating, 0 = unlimited", branch.rate_a);
  visit("rate_b", "MVA", "short-term rating", branch.rate_b);
  visit("rate_c", "MVA", "emergency rating", branch.rate_c);
  visit("tap", "", "tap ratio at the from side, 0 = 1", branch.tap);
  visit("shift", "deg", "phase shift at the from side", branch.shift);
  visit("status", "", "1 in service", branch.status);
}

/// Columns that a foreign file may leave out, with their default.
inline bool optional_column(const std::string& name, double& value) {
  static const std::map<std::string, double> defaults = {{"area", 1},   {"zone", 1},    {"apf", 0},     {"rate_b", 0},
                                                         {"rate_c", 0}, {"mbase", 100}, {"base_kv", 0}, {"rate_a", 0}};
  const auto found = defaults.find(name);
  if (found == defaults.end()) return false;
  value = found->second;
  return true;
}

/// Columns that a table has only where the grid needs them: shares of constant power, current and impedance;
/// admittances at the ends of branches.
inline constexpr std::array<const char*, 6> share_columns = {"p_power", "p_current", "p_impedance",
                                                             "q_power", "q_current", "q_impedance"};
inline constexpr std::array<const char*, 4> end_columns = {"gf", "bf", "gt", "bt"};

}  // namespace fachwerk::dpf
