#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/format.h>

#include "grid_builder.hpp"
#include "psse.hpp"

namespace fachwerk::dpf {
namespace {

std::string real(double x) {
  return std::isnan(x) ? "0" : std::isinf(x) ? (x > 0 ? "9999" : "-9999") : fmt::format("{:.17g}", x);
}

// Identifiers of parallel elements: 1, 2, ..., 9, A, ..., Z, 10, ...
class Identifiers {
 public:
  std::string next(std::int64_t i, std::int64_t j) {
    constexpr std::string_view digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    const auto count = static_cast<std::size_t>(++used_[std::minmax(i, j)]);
    const std::string last(1, digits[count % 36]);
    return count < 36 ? last : digits[count / 36 % 36] + last;
  }

 private:
  std::map<std::pair<std::int64_t, std::int64_t>, int> used_;
};

// Quotes and what the format has no place for are taken out of names.
std::string quoted(std::string name, std::size_t width) {
  std::erase_if(name, [](char c) { return c == '\'' || static_cast<unsigned char>(c) < ' '; });
  name.resize(width, ' ');
  return "'" + name + "'";
}

class Writer {
 public:
  explicit Writer(const Grid& grid) : grid_(grid), rows_(bus_rows(grid)) {}

  std::string text() {
    std::string branches, transformers, shunts;
    Identifiers circuit, shunt;
    const auto fixed = [&](std::int64_t bus, Complex mva, bool on) {
      if (mva == 0.0) return;
      shunts += fmt::format("{},{},{},{},{}\n", bus, quoted(shunt.next(bus, bus), 2), int{on}, real(mva.real()),
                            real(mva.imag()));
    };
    for (std::size_t i = 0; i < grid_.bus.size(); ++i)
      fixed(grid_.bus.id[i], {grid_.bus.gs[i], grid_.bus.bs[i]}, true);
    const Branches& b = grid_.branch;
    for (std::size_t k = 0; k < b.size(); ++k) {
      const std::string id = quoted(circuit.next(b.from[k], b.to[k]), 2);
      const auto ends = b.end_y.empty() ? std::array<Complex, 2>{} : b.end_y[k];
      const bool on = b.status[k] > 0;
      if (plain(k)) {
        branches += fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{},{},1,0.0,1,1.0\n", b.from[k], b.to[k], id,
                                real(b.r[k]), real(b.x[k]), real(b.b[k]), real(b.rate_a[k]), real(b.rate_b[k]),
                                real(b.rate_c[k]), real(ends[0].real()), real(ends[0].imag()), real(ends[1].real()),
                                real(ends[1].imag()), int{on});
        continue;
      }
      // The magnetising admittance stands at the first bus, outside the tap; what the other end draws is a shunt there.
      const double tap = b.tap[k] == 0 ? 1 : b.tap[k];
      const Complex half(0, b.b[k] / 2), magnetising = (ends[0] + half) / (tap * tap);
      fixed(b.to[k], (ends[1] + half) * grid_.base_mva, on);
      transformers += fmt::format("{},{},0,{},1,1,1,{},{},2,'            ',{},1,1.0\n{},{},{}\n", b.from[k], b.to[k],
                                  id, real(magnetising.real()), real(magnetising.imag()), int{on}, real(b.r[k]),
                                  real(b.x[k]), real(grid_.base_mva));
      transformers += fmt::format("{},0.0,{},{},{},{},0,0,1.1,0.9,1.1,0.9,33,0,0.0,0.0,0.0\n1.0,0.0\n", real(tap),
                                  real(b.shift[k]), real(b.rate_a[k]), real(b.rate_b[k]), real(b.rate_c[k]));
    }
    std::string name = grid_.name;
    std::erase_if(name, [](char c) { return static_cast<unsigned char>(c) < ' '; });
    return fmt::format("0,{},33,0,1,{} / PSS/E-33 RAW\n{}\n\n{}0 / END OF BUS DATA, BEGIN LOAD DATA\n{}",
                       real(grid_.base_mva), real(grid_.frequency > 0 ? grid_.frequency : 60), name.substr(0, 60),
                       buses(), loads()) +
           "0 / END OF LOAD DATA, BEGIN FIXED SHUNT DATA\n" + shunts +
           "0 / END OF FIXED SHUNT DATA, BEGIN GENERATOR DATA\n" + generators() +
           "0 / END OF GENERATOR DATA, BEGIN BRANCH DATA\n" + branches +
           "0 / END OF BRANCH DATA, BEGIN TRANSFORMER DATA\n" + transformers + rest();
  }

 private:
  bool plain(std::size_t k) const {
    const Branches& b = grid_.branch;
    const double from = grid_.bus.base_kv[rows_.at(b.from[k])], to = grid_.bus.base_kv[rows_.at(b.to[k])];
    return (b.tap[k] == 0 || b.tap[k] == 1) && b.shift[k] == 0 && from == to;
  }

  std::string buses() const {
    std::string out;
    const Buses& b = grid_.bus;
    for (std::size_t i = 0; i < b.size(); ++i)
      out +=
          fmt::format("{},{},{},{},{},{},1,{},{},{},{},{},{}\n", b.id[i], quoted(b.name.empty() ? "" : b.name[i], 12),
                      real(b.base_kv[i]), b.type[i], b.area[i], b.zone[i], real(std::isnan(b.vm[i]) ? 1 : b.vm[i]),
                      real(b.va[i]), real(b.vmax[i]), real(b.vmin[i]), real(b.vmax[i]), real(b.vmin[i]));
    return out;
  }
  std::string loads() const {
    std::string out;
    const Buses& b = grid_.bus;
    for (std::size_t i = 0; i < b.size(); ++i) {
      if (b.pd[i] == 0 && b.qd[i] == 0) continue;
      const LoadParts l = load_parts(b, i);
      out += fmt::format("{},'1 ',1,{},{},{},{},{},{},{},{},1,1,0\n", b.id[i], b.area[i], b.zone[i], real(l.p[0]),
                         real(l.q[0]), real(l.p[1]), real(l.q[1]), real(l.p[2]), real(-l.q[2]));
    }
    return out;
  }
  std::string generators() const {
    std::string out;
    Identifiers machine;
    const Generators& g = grid_.gen;
    for (std::size_t k = 0; k < g.size(); ++k)
      out += fmt::format("{},{},{},{},{},{},{},0,{},0.0,1.0,0.0,0.0,1.0,{},100.0,{},{},1,1.0\n", g.bus[k],
                         quoted(machine.next(g.bus[k], g.bus[k]), 2), real(g.pg[k]), real(g.qg[k]), real(g.qmax[k]),
                         real(g.qmin[k]), real(g.vg[k]), real(g.mbase[k]), int{g.status[k] > 0}, real(g.pmax[k]),
                         real(g.pmin[k]));
    return out;
  }
  // Areas, zones and the owner that the records name, and empty sections.
  std::string rest() const {
    std::string areas, zones;
    for (const int area : std::set(grid_.bus.area.begin(), grid_.bus.area.end()))
      areas += fmt::format("{},0,0.0,10.0,'            '\n", area);
    for (const int zone : std::set(grid_.bus.zone.begin(), grid_.bus.zone.end()))
      zones += fmt::format("{},'            '\n", zone);
    return "0 / END OF TRANSFORMER DATA, BEGIN AREA DATA\n" + areas +
           "0 / END OF AREA DATA, BEGIN TWO-TERMINAL DC DATA\n"
           "0 / END OF TWO-TERMINAL DC DATA, BEGIN VSC DC LINE DATA\n"
           "0 / END OF VSC DC LINE DATA, BEGIN IMPEDANCE CORRECTION DATA\n"
           "0 / END OF IMPEDANCE CORRECTION DATA, BEGIN MULTI-TERMINAL DC DATA\n"
           "0 / END OF MULTI-TERMINAL DC DATA, BEGIN MULTI-SECTION LINE DATA\n"
           "0 / END OF MULTI-SECTION LINE DATA, BEGIN ZONE DATA\n" +
           zones +
           "0 / END OF ZONE DATA, BEGIN INTER-AREA TRANSFER DATA\n"
           "0 / END OF INTER-AREA TRANSFER DATA, BEGIN OWNER DATA\n1,'            '\n"
           "0 / END OF OWNER DATA, BEGIN FACTS DEVICE DATA\n"
           "0 / END OF FACTS DEVICE DATA, BEGIN SWITCHED SHUNT DATA\n"
           "0 / END OF SWITCHED SHUNT DATA, BEGIN GNE DATA\n"
           "0 / END OF GNE DATA, BEGIN INDUCTION MACHINE DATA\n"
           "0 / END OF INDUCTION MACHINE DATA\nQ\n";
  }

  const Grid& grid_;
  std::map<std::int64_t, int> rows_;
};

}  // namespace

std::string raw_text(const Grid& grid) {
  return Writer(grid).text();
}

}  // namespace fachwerk::dpf
