#pragma once

#include <array>
#include <complex>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

/// A power grid as its file states it: file order, file units (MW, MVAr, degrees, pu), bus numbers as names.
namespace fachwerk::dpf {

using Complex = std::complex<double>;

struct Buses {
  std::vector<std::int64_t> id;
  std::vector<std::int8_t> type;  ///< 1 PQ, 2 PV, 3 reference, 4 isolated
  std::vector<double> pd, qd;     ///< load, MW and MVAr
  std::vector<double> gs, bs;     ///< shunt: MW consumed and MVAr injected at 1 pu
  std::vector<double> vm, va;     ///< voltage, pu and degrees
  std::vector<double> base_kv, vmax, vmin;
  std::vector<std::int32_t> area, zone;
  std::vector<std::string> name;           ///< empty, or one a bus
  std::vector<std::array<double, 6>> zip;  ///< empty, or shares of constant power, current, impedance: of pd, of qd
  std::size_t size() const { return id.size(); }
};

struct Generators {
  std::vector<std::int64_t> bus;
  std::vector<double> pg, qg, qmax, qmin;  ///< MW, MVAr
  std::vector<double> vg;                  ///< voltage set-point, pu
  std::vector<double> mbase;               ///< MVA
  std::vector<std::int8_t> status;
  std::vector<double> pmax, pmin;  ///< MW
  std::vector<double> apf;         ///< participation in distributed slack
  std::size_t size() const { return bus.size(); }
};

struct Branches {
  std::vector<std::int64_t> from, to;
  std::vector<double> r, x, b;                 ///< pu
  std::vector<double> rate_a, rate_b, rate_c;  ///< MVA, 0 = unlimited
  std::vector<double> tap;                     ///< ratio at the from side, 0 = 1
  std::vector<double> shift;                   ///< degrees
  std::vector<std::int8_t> status;
  std::vector<std::array<Complex, 2>> end_y;  ///< empty, or admittance to ground at the two ends besides b/2, pu
  std::size_t size() const { return from.size(); }
};

/// A table that the method does not use but the file has (gencost, areas, ...), row-major.
struct Table {
  std::size_t rows = 0, columns = 0;
  std::vector<double> values;
};

struct Grid {
  std::string name;
  double base_mva = 100;
  double frequency = 0;  ///< Hz, 0 = not stated
  Buses bus;
  Generators gen;
  Branches branch;
  std::map<std::string, Table> tables;  ///< carried along
};

/// Row of every bus number. Throws bad input for a number that occurs twice.
std::map<std::int64_t, int> bus_rows(const Grid& grid);

/// Throws bad input, naming table, row and bus, for what no solver can use: baseMVA <= 0, no bus, duplicate or unknown
/// bus numbers, unknown types, numbers that are not finite, branches from a bus to itself. Returns warnings: negative r
/// or x, set-points outside [0.5, 1.5], set-points of one bus that differ.
std::vector<std::string> check(const Grid& grid);

/// The same grid on another power base: impedances and admittances in pu change, MW do not.
Grid rebased(Grid grid, double base_mva);

}  // namespace fachwerk::dpf
