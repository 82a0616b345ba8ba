#include "pgm.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <unordered_map>

#include "cli/error.hpp"
#include "json_frame.hpp"
#include "transformer.hpp"

namespace fachwerk::dpf {
namespace {

constexpr double degrees = 180 / std::numbers::pi, mega = 1e6, hertz = 50;

// Value of a quantity that changes linearly with the tap from nominal to either end.
double at_tap(double tap, double nominal, double least, double most, double value, double at_least, double at_most) {
  const bool upper = tap <= std::max(nominal, most) && tap >= std::min(nominal, most);
  const double end = upper ? most : least, there = upper ? at_most : at_least;
  return end == nominal ? value : value + (tap - nominal) * (there - value) / (end - nominal);
}

class Reader {
 public:
  Reader(const Json& file, std::string_view name, Grid& grid, std::vector<std::string>& warnings)
      : file_(file), name_(name), grid_(grid), build_(grid), warnings_(warnings) {}

  void run() {
    grid_.base_mva = 1;
    grid_.frequency = hertz;
    nodes();
    regulators();
    lines();
    links();
    transformers();
    three_windings();
    generic_branches();
    loads("sym_load", 1);
    loads("asym_load", 1);
    loads("sym_gen", -1);
    loads("asym_gen", -1);
    shunts();
    sources();
    if (!regulated_.empty())
      throw bad_input("{}: voltage_regulator: there is no load or generator {}", name_, regulated_.begin()->first);
    for (const char* kind : {"asym_line"})
      if (table(kind).rows() > 0) throw bad_input("{}: {}: components of this kind are not read", name_, kind);
    if (const std::size_t count = table("transformer_tap_regulator").rows(); count > 0)
      warnings_.push_back(fmt::format("{}: {} transformer_tap_regulators: taps stay where they are", name_, count));
    build_.finish();
  }

 private:
  Frame table(const std::string& kind) const {
    const std::string what = fmt::format("{}: {}", name_, kind);
    const Json& data = file_["data"];
    if (!data.contains(kind)) return {};
    std::vector<std::string> attributes;
    if (file_.contains("attributes") && file_["attributes"].is_object() && file_["attributes"].contains(kind)) {
      if (!file_["attributes"][kind].is_array()) throw bad_input("{}: expected a list of attributes", what);
      for (const Json& attribute : file_["attributes"][kind]) {
        if (!attribute.is_string()) throw bad_input("{}: expected the names of attributes", what);
        attributes.push_back(attribute.get<std::string>());
      }
    }
    return Frame::records(data[kind], attributes, what);
  }

  std::size_t node(const Frame& t, std::size_t row, const std::string& attribute) const {
    const std::int64_t id = t.whole(row, attribute);
    const auto found = build_.find(id);
    if (found < 0) throw bad_input("{}: {}: there is no node {}", t.where(row), attribute, id);
    return static_cast<std::size_t>(found);
  }
  double kv(std::size_t row) const { return grid_.bus.base_kv[row]; }
  double ohm(std::size_t row) const { return kv(row) * kv(row) / grid_.base_mva; }
  static bool on(const Frame& t, std::size_t row, const std::string& attribute = "status") {
    return t.flag(row, attribute).value_or(true);
  }

  void nodes() {
    const Frame t = table("node");
    if (t.rows() == 0) throw bad_input("{}: there is no node in this data set", name_);
    for (std::size_t i = 0; i < t.rows(); ++i) {
      const double volts = t.number(i, "u_rated");
      if (!(volts > 0)) throw bad_input("{}: u_rated must be positive, found {}", t.where(i), volts);
      build_.add(BusRow{.id = t.whole(i, "id"), .base_kv = volts / 1000});
    }
  }

  // ---- branches ----
  // An end that is switched off hangs on a bus of its own.
  void put(BranchRow branch, std::size_t from, std::size_t to, bool from_on, bool to_on, const std::string& what) {
    branch.from = grid_.bus.id[from];
    branch.to = grid_.bus.id[to];
    branch.on = from_on || to_on;
    if (branch.on && !from_on) branch.from = build_.extra_bus("open end of " + what, from);
    if (branch.on && !to_on) branch.to = build_.extra_bus("open end of " + what, to);
    build_.add(branch);
  }
  void put(BranchRow branch, const Frame& t, std::size_t i, const char* kind, std::size_t from, std::size_t to) {
    put(std::move(branch), from, to, on(t, i, "from_status"), on(t, i, "to_status"),
        fmt::format("{} {}", kind, t.whole(i, "id")));
  }

  void lines() {
    const Frame t = table("line");
    for (std::size_t i = 0; i < t.rows(); ++i) {
      const std::size_t from = node(t, i, "from_node"), to = node(t, i, "to_node");
      const double charging = 2 * std::numbers::pi * hertz * t.number(i, "c1") * ohm(from);
      const double rate = t.number(i, "i_n", 0) / 1000 * kv(from) * std::sqrt(3.0);
      const double loss = charging * t.number(i, "tan1") / 2;
      put({.z = Complex(t.number(i, "r1"), t.number(i, "x1")) / ohm(from),
           .b = charging,
           .end_from = loss,
           .end_to = loss,
           .rates = {std::isfinite(rate) ? rate : 0, 0, 0}},
          t, i, "line", from, to);
    }
  }

  void links() {
    const Frame t = table("link");
    for (std::size_t i = 0; i < t.rows(); ++i) {
      const std::size_t from = node(t, i, "from_node"), to = node(t, i, "to_node");
      if (on(t, i, "from_status") && on(t, i, "to_status") && from != to) build_.fuse(from, to);
    }
  }

  // Position of the tap within its range and how far the rated voltage moves, V.
  struct Tap {
    double position, nominal, least, most, volts;
  };
  static Tap tap(const Frame& t, std::size_t i) {
    const double nominal = t.number(i, "tap_nom", 0), least = t.number(i, "tap_min"), most = t.number(i, "tap_max");
    const double position = std::clamp(t.number(i, "tap_pos", nominal), std::min(least, most), std::max(least, most));
    return {position, nominal, least, most, (most > least ? 1 : -1) * (position - nominal) * t.number(i, "tap_size")};
  }
  static double adjusted(const Frame& t, std::size_t i, const std::string& attribute, const Tap& tap) {
    const double value = t.number(i, attribute);
    return at_tap(tap.position, tap.nominal, tap.least, tap.most, value, t.number(i, attribute + "_min", value),
                  t.number(i, attribute + "_max", value));
  }

  void transformers() {
    const Frame t = table("transformer");
    for (std::size_t i = 0; i < t.rows(); ++i) {
      const std::size_t from = node(t, i, "from_node"), to = node(t, i, "to_node");
      const Tap position = tap(t, i);
      const bool at_from = t.whole(i, "tap_side") == 0;
      const double sn = t.number(i, "sn");
      const TransformerTest test{.base_mva = grid_.base_mva,
                                 .sn = sn / mega,
                                 .vn_from = (t.number(i, "u1") + (at_from ? position.volts : 0)) / 1000,
                                 .vn_to = (t.number(i, "u2") + (at_from ? 0 : position.volts)) / 1000,
                                 .kv_from = kv(from),
                                 .kv_to = kv(to),
                                 .vk = adjusted(t, i, "uk", position),
                                 .vkr = adjusted(t, i, "pk", position) / sn,
                                 .pfe = t.number(i, "p0") / mega,
                                 .i0 = t.number(i, "i0")};
      BranchRow branch = branch_of(test, t.where(i));
      branch.shift = 30 * static_cast<double>(t.whole(i, "clock") % 12);
      branch.rates[0] = sn / mega;
      put(branch, t, i, "transformer", from, to);
    }
  }

  // Transformers from each winding to a star point that has the voltage of the first.
  void three_windings() {
    const Frame t = table("three_winding_transformer");
    const std::array<std::string, 3> pairs = {"12", "23", "13"};
    for (std::size_t i = 0; i < t.rows(); ++i) {
      const Tap position = tap(t, i);
      std::array<std::size_t, 3> nodes{};
      std::array<double, 3> sn{}, volts{}, uk{}, pk{};
      for (std::size_t k = 0; k < 3; ++k) {
        const std::string number = std::to_string(k + 1);
        nodes[k] = node(t, i, "node_" + number);
        sn[k] = t.number(i, "sn_" + number);
        if (!(sn[k] > 0)) throw bad_input("{}: rated power must be positive, found {}", t.where(i), sn[k]);
        volts[k] = t.number(i, "u" + number);
      }
      if (const std::int64_t side = t.whole(i, "tap_side"); side >= 0 && side < 3)
        volts[static_cast<std::size_t>(side)] += position.volts;
      for (std::size_t k = 0; k < 3; ++k) {  // pu of 1 VA
        const double lesser = std::min(sn[k], sn[(k + 1) % 3]);
        uk[k] = adjusted(t, i, "uk_" + pairs[k], position) / lesser;
        pk[k] = adjusted(t, i, "pk_" + pairs[k], position) / (lesser * lesser);
      }
      const auto star_uk = star_of(uk[0], uk[1], uk[2]), star_pk = star_of(pk[0], pk[1], pk[2]);
      const std::string what = fmt::format("three_winding_transformer {}", t.whole(i, "id"));
      const auto star = static_cast<std::size_t>(build_.find(build_.extra_bus("star point of " + what, nodes[0])));
      for (std::size_t k = 0; k < 3; ++k) {
        const TransformerTest test{.base_mva = grid_.base_mva,
                                   .sn = sn[k] / mega,
                                   .vn_from = volts[k] / 1000,
                                   .vn_to = volts[0] / 1000,
                                   .kv_from = kv(nodes[k]),
                                   .kv_to = kv(star),
                                   .vk = star_uk[k] * sn[k],
                                   .vkr = star_pk[k] * sn[k],
                                   .pfe = k == 0 ? t.number(i, "p0") / mega : 0,
                                   .i0 = k == 0 ? t.number(i, "i0") : 0};
        BranchRow branch = branch_of(test, t.where(i));
        if (k > 0) branch.shift = -30 * static_cast<double>(t.whole(i, "clock_1" + std::to_string(k + 1)) % 12);
        branch.rates[0] = sn[k] / mega;
        put(branch, nodes[k], star, on(t, i, "status_" + std::to_string(k + 1)), true, what);
      }
    }
  }

  void generic_branches() {
    const Frame t = table("generic_branch");
    for (std::size_t i = 0; i < t.rows(); ++i) {
      const std::size_t from = node(t, i, "from_node"), to = node(t, i, "to_node");
      const Complex shunt = Complex(t.number(i, "g1"), t.number(i, "b1")) * ohm(to);
      put({.z = Complex(t.number(i, "r1"), t.number(i, "x1")) / ohm(to),
           .b = shunt.imag(),
           .tap = t.number(i, "k", 1),
           .shift = t.number(i, "theta", 0) * degrees,
           .end_from = shunt.real() / 2,
           .end_to = shunt.real() / 2,
           .rates = {t.number(i, "sn", 0) / mega, 0, 0}},
          t, i, "generic_branch", from, to);
    }
  }

  // ---- appliances ----
  struct Regulator {
    double vm, qmin, qmax;
  };
  void regulators() {
    const Frame t = table("voltage_regulator");
    for (std::size_t i = 0; i < t.rows(); ++i)
      if (on(t, i))
        regulated_[t.whole(i, "regulated_object")] = {t.number(i, "u_ref"), t.number(i, "q_min", -INFINITY) / mega,
                                                      t.number(i, "q_max", INFINITY) / mega};
  }

  // Sum of one value, or of one a phase.
  void loads(const char* kind, double sign) {
    const Frame t = table(kind);
    const bool phases = kind[0] == 'a';
    for (std::size_t i = 0; i < t.rows(); ++i) {
      const std::size_t row = node(t, i, "node");
      const auto power = [&](const std::string& attribute) {
        return (phases ? t.sum(i, attribute) : t.number(i, attribute, 0)) / mega;
      };
      const double p = power("p_specified"), q = power("q_specified");
      const std::int64_t type = t.integer(i, "type").value_or(0);
      if (type < 0 || type > 2) throw bad_input("{}: type must be 0, 1 or 2, found {}", t.where(i), type);
      if (const auto regulator = regulated_.find(t.whole(i, "id")); regulator != regulated_.end()) {
        const bool live = on(t, i);
        const auto& [vm, qmin, qmax] = regulator->second;
        build_.add(
            GeneratorRow{.bus = grid_.bus.id[row], .pg = -sign * p, .vg = vm, .on = live, .qmax = qmax, .qmin = qmin});
        if (live) grid_.bus.type[row] = std::max(grid_.bus.type[row], std::int8_t{2});
        regulated_.erase(regulator);
        continue;
      }
      if (!on(t, i)) continue;
      LoadParts parts;  // 0 power, 1 impedance, 2 current
      const std::size_t part = type == 0 ? 0 : type == 1 ? 2 : 1;
      parts.p[part] = sign * p;
      parts.q[part] = sign * q;
      build_.add_load(row, parts);
    }
  }

  void shunts() {
    const Frame t = table("shunt");
    for (std::size_t i = 0; i < t.rows(); ++i) {
      const std::size_t row = node(t, i, "node");
      if (on(t, i)) build_.add_shunt(row, Complex(t.number(i, "g1"), t.number(i, "b1")) * (kv(row) * kv(row)));
    }
  }

  void sources() {
    const Frame t = table("source");
    for (std::size_t i = 0; i < t.rows(); ++i) {
      const std::size_t row = node(t, i, "node");
      const double sk = t.number(i, "sk", 1e10) / mega, ratio = t.number(i, "rx_ratio", 0.1);
      if (!(sk > 0)) throw bad_input("{}: sk must be positive, found {}", t.where(i), sk * mega);
      const std::int64_t inner = build_.extra_bus(fmt::format("source {}", t.whole(i, "id")), row);
      const bool live = on(t, i);
      grid_.bus.type.back() = live ? 3 : 4;
      grid_.bus.va.back() = t.number(i, "u_ref_angle", 0) * degrees;
      const double vm = live ? t.number(i, "u_ref") : t.number(i, "u_ref", 1);
      build_.add(GeneratorRow{.bus = inner, .vg = vm, .on = live});
      build_.add(BranchRow{.from = inner,
                           .to = grid_.bus.id[row],
                           .z = Complex(ratio, 1) * (grid_.base_mva / sk / std::hypot(ratio, 1.0)),
                           .on = live});
    }
  }

  const Json& file_;
  std::string_view name_;
  Grid& grid_;
  GridBuilder build_;
  std::vector<std::string>& warnings_;
  std::unordered_map<std::int64_t, Regulator> regulated_;  // by what they regulate
};

}  // namespace

bool is_pgm(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && text[first] == '{' && text.find("\"is_batch\"") != std::string_view::npos &&
         text.find("\"node\"") != std::string_view::npos;
}

Grid grid_of_pgm(std::string_view text, std::string_view name, std::vector<std::string>& warnings) {
  const Json file = parse_json(text, name);
  if (!file.is_object() || !file.contains("data") || !file["data"].is_object())
    throw bad_input("{}: expected one data set: an object \"data\" of components", name);
  if (file.contains("type") && file["type"] != "input") throw bad_input("{}: expected a data set of type input", name);
  Grid grid;
  Reader(file, name, grid, warnings).run();
  return grid;
}

}  // namespace fachwerk::dpf
