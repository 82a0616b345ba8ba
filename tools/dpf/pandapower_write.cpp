#include <algorithm>
#include <cmath>
#include <numbers>

#include "cli/error.hpp"
#include "json_frame.hpp"
#include "pandapower.hpp"

namespace fachwerk::dpf {
namespace {

using Ordered = nlohmann::ordered_json;

// A number as JSON text that reads back to the same bits; what JSON cannot hold is null.
std::string json_number(double x) {
  return std::isfinite(x) ? fmt::format("{:.17g}", x) : "null";
}
std::string json_text(const std::string& text) {
  return Ordered(text).dump(-1, ' ', true, Ordered::error_handler_t::replace);
}
const char* json_flag(bool on) {
  return on ? "true" : "false";
}

// A table in pandas' split layout, whose content pandapower keeps as JSON within a string.
class Sheet {
 public:
  explicit Sheet(std::vector<std::pair<std::string, std::string>> columns) : columns_(std::move(columns)) {}
  void row(std::int64_t index, const std::vector<std::string>& values) {
    const char* comma = rows_ == 0 ? "" : ",";
    index_ += fmt::format("{}{}", comma, index);
    data_ += comma;
    for (std::size_t k = 0; k < values.size(); ++k)
      data_ += (k == 0 ? "[" : ",") + values[k];
    data_ += ']';
    ++rows_;
  }
  void row(const std::vector<std::string>& values) { row(static_cast<std::int64_t>(rows_), values); }

  std::string json() const {
    std::string names, types;
    for (const auto& [name, type] : columns_) {
      names += fmt::format("{}\"{}\"", names.empty() ? "" : ",", name);
      types += fmt::format("{}\"{}\":\"{}\"", types.empty() ? "" : ",", name, type);
    }
    const std::string content = fmt::format("{{\"columns\":[{}],\"index\":[{}],\"data\":[{}]}}", names, index_, data_);
    return fmt::format(
        "{{\"_module\":\"pandas.core.frame\",\"_class\":\"DataFrame\",\"_object\":{},\"orient\":\"split\",\"dtype\":{{{}}},"
        "\"is_multiindex\":false,\"is_multicolumn\":false}}",
        json_text(content), types);
  }

 private:
  std::vector<std::pair<std::string, std::string>> columns_;
  std::string index_, data_;
  std::size_t rows_ = 0;
};

constexpr const char *real = "float64", *flag = "bool", *whole = "int64", *word = "object";

class Writer {
 public:
  explicit Writer(const Grid& grid) : grid_(grid), rows_(bus_rows(grid)) {}

  std::string text(std::vector<std::string>& warnings) {
    for (const double kv : grid_.bus.base_kv)
      without_base_ += !(kv > 0);
    if (without_base_ > 0) warnings.push_back(fmt::format("{} buses without a base voltage get 1 kV", without_base_));
    std::string out = "{\"_module\":\"pandapower.auxiliary\",\"_class\":\"pandapowerNet\",\"_object\":{";
    const auto add = [&](const char* name, const Sheet& sheet) {
      out += fmt::format("\"{}\":{},\n", name, sheet.json());
    };
    add("bus", buses());
    add("load", loads());
    branches();
    machines();
    nodal_shunts();
    add("line", line_);
    add("trafo", transformer_);
    add("shunt", shunt_);
    add("ext_grid", external_);
    add("gen", generator_);
    add("sgen", fixed_);
    out += fmt::format("\"version\":\"3.0.0\",\"format_version\":\"3.0.0\",\"name\":{},\"f_hz\":{},\"sn_mva\":{}}}}}\n",
                       json_text(grid_.name), json_number(hertz()), json_number(grid_.base_mva));
    return out;
  }

 private:
  double hertz() const { return grid_.frequency > 0 ? grid_.frequency : 50; }
  double kv(std::int64_t id) const {
    const double base = grid_.bus.base_kv[rows_.at(id)];
    return base > 0 ? base : 1;
  }

  Sheet buses() const {
    Sheet sheet({{"name", word},
                 {"vn_kv", real},
                 {"type", word},
                 {"zone", word},
                 {"in_service", flag},
                 {"max_vm_pu", real},
                 {"min_vm_pu", real}});
    for (std::size_t i = 0; i < grid_.bus.size(); ++i)
      sheet.row(grid_.bus.id[i],
                {grid_.bus.name.empty() ? "null" : json_text(grid_.bus.name[i]), json_number(kv(grid_.bus.id[i])),
                 "\"b\"", std::to_string(grid_.bus.zone[i]), json_flag(grid_.bus.type[i] != 4),
                 json_number(grid_.bus.vmax[i]), json_number(grid_.bus.vmin[i])});
    return sheet;
  }

  // Generators at buses that nobody holds, and loads, are constant powers there.
  Sheet loads() const {
    Sheet sheet({{"name", word},
                 {"bus", whole},
                 {"p_mw", real},
                 {"q_mvar", real},
                 {"const_z_p_percent", real},
                 {"const_i_p_percent", real},
                 {"const_z_q_percent", real},
                 {"const_i_q_percent", real},
                 {"sn_mva", real},
                 {"scaling", real},
                 {"in_service", flag},
                 {"type", word}});
    for (std::size_t i = 0; i < grid_.bus.size(); ++i) {
      const double p = grid_.bus.pd[i], q = grid_.bus.qd[i];
      if (p == 0 && q == 0) continue;
      const auto share = [&](std::size_t k) {
        return json_number(grid_.bus.zip.empty() ? 0 : 100 * grid_.bus.zip[i][k]);
      };
      sheet.row({"null", std::to_string(grid_.bus.id[i]), json_number(p), json_number(q), share(2), share(1), share(5),
                 share(4), "null", "1.0", "true", "\"wye\""});
    }
    return sheet;
  }

  void branches() {
    const Branches& b = grid_.branch;
    for (std::size_t k = 0; k < b.size(); ++k) {
      const double from = kv(b.from[k]), to = kv(b.to[k]);
      const auto ends = b.end_y.empty() ? std::array<Complex, 2>{} : b.end_y[k];
      const bool on = b.status[k] > 0;
      const bool plain = (b.tap[k] == 0 || b.tap[k] == 1) && b.shift[k] == 0 && from == to && ends[0] == ends[1];
      plain ? line(k, from, ends[0] * 2.0 + Complex(0, b.b[k]), on) : transformer(k, from, to, ends, on);
    }
  }

  void line(std::size_t k, double kv, Complex charging, bool on) {
    const Branches& b = grid_.branch;
    const double ohm = kv * kv / grid_.base_mva, ka = b.rate_a[k] > 0 ? b.rate_a[k] / (std::sqrt(3.0) * kv) : 99999;
    line_.row({"null", "null", std::to_string(b.from[k]), std::to_string(b.to[k]), "1.0", json_number(b.r[k] * ohm),
               json_number(b.x[k] * ohm), json_number(charging.imag() / ohm / (2 * std::numbers::pi * hertz()) * 1e9),
               json_number(charging.real() / ohm * 1e6), json_number(ka), "1.0", "1", "\"ol\"", json_flag(on)});
  }

  // The ratio is in the rated voltage of the from side; what the ends draw becomes shunts at the buses, which serve
  // while the branch does.
  void transformer(std::size_t k, double from, double to, const std::array<Complex, 2>& ends, bool on) {
    const Branches& b = grid_.branch;
    const double tap = b.tap[k] == 0 ? 1 : b.tap[k], rated = b.rate_a[k] > 0 ? b.rate_a[k] : grid_.base_mva;
    const double z = std::copysign(std::hypot(b.r[k], b.x[k]), b.x[k]), percent = 100 * rated / grid_.base_mva;
    transformer_.row({"null",
                      "null",
                      std::to_string(b.from[k]),
                      std::to_string(b.to[k]),
                      json_number(rated),
                      json_number(from * tap),
                      json_number(to),
                      json_number(z * percent),
                      json_number(b.r[k] * percent),
                      "0.0",
                      "0.0",
                      json_number(b.shift[k]),
                      "null",
                      "null",
                      "null",
                      "null",
                      "null",
                      "null",
                      "null",
                      "null",
                      "false",
                      "1",
                      "1.0",
                      json_flag(on)});
    const Complex half(0, b.b[k] / 2);
    shunt(b.from[k], (ends[0] + half) / (tap * tap) * grid_.base_mva, on);
    shunt(b.to[k], (ends[1] + half) * grid_.base_mva, on);
  }

  void shunt(std::int64_t bus, Complex mva, bool on) {
    if (mva == 0.0) return;
    shunt_.row({std::to_string(bus), "null", json_number(-mva.imag()), json_number(mva.real()), json_number(kv(bus)),
                "1", "1", json_flag(on)});
  }
  void nodal_shunts() {
    for (std::size_t i = 0; i < grid_.bus.size(); ++i)
      shunt(grid_.bus.id[i], {grid_.bus.gs[i], grid_.bus.bs[i]}, true);
  }

  void machines() {
    const Generators& g = grid_.gen;
    std::map<std::int64_t, std::size_t> last;  // in service: its set-point is the bus's
    for (std::size_t k = 0; k < g.size(); ++k)
      if (g.status[k] > 0) last[g.bus[k]] = k;
    std::map<std::int64_t, bool> slack;  // a reference bus has its external grid already
    for (std::size_t k = 0; k < g.size(); ++k) {
      const int row = rows_.at(g.bus[k]);
      const bool on = g.status[k] > 0;
      const std::string bus = std::to_string(g.bus[k]);
      const double vm = last.contains(g.bus[k]) ? g.vg[last[g.bus[k]]] : g.vg[k];
      if (grid_.bus.type[row] == 1) {
        fixed_.row({"null", bus, json_number(g.pg[k]), json_number(g.qg[k]), json_number(g.mbase[k]), "1.0",
                    json_flag(on), "\"wye\"", "true"});
      } else if (on && grid_.bus.type[row] == 3 && !slack[g.bus[k]]) {
        slack[g.bus[k]] = true;
        external_.row({"null", bus, json_number(vm), json_number(grid_.bus.va[row]), "1.0", "true",
                       json_number(g.pmax[k]), json_number(g.pmin[k]), json_number(g.qmax[k]), json_number(g.qmin[k])});
      } else {
        generator_.row({"null", bus, json_number(g.pg[k]), json_number(vm), json_number(g.mbase[k]),
                        json_number(g.qmin[k]), json_number(g.qmax[k]), json_number(g.pmin[k]), json_number(g.pmax[k]),
                        "1.0", "false", json_flag(on), json_number(g.apf[k]), "null"});
      }
    }
  }

  const Grid& grid_;
  std::map<std::int64_t, int> rows_;
  std::size_t without_base_ = 0;
  Sheet line_{{{"name", word},
               {"std_type", word},
               {"from_bus", whole},
               {"to_bus", whole},
               {"length_km", real},
               {"r_ohm_per_km", real},
               {"x_ohm_per_km", real},
               {"c_nf_per_km", real},
               {"g_us_per_km", real},
               {"max_i_ka", real},
               {"df", real},
               {"parallel", whole},
               {"type", word},
               {"in_service", flag}}};
  Sheet transformer_{{{"name", word},
                      {"std_type", word},
                      {"hv_bus", whole},
                      {"lv_bus", whole},
                      {"sn_mva", real},
                      {"vn_hv_kv", real},
                      {"vn_lv_kv", real},
                      {"vk_percent", real},
                      {"vkr_percent", real},
                      {"pfe_kw", real},
                      {"i0_percent", real},
                      {"shift_degree", real},
                      {"tap_side", word},
                      {"tap_neutral", real},
                      {"tap_min", real},
                      {"tap_max", real},
                      {"tap_step_percent", real},
                      {"tap_step_degree", real},
                      {"tap_pos", real},
                      {"tap_changer_type", word},
                      {"tap_dependency_table", flag},
                      {"parallel", whole},
                      {"df", real},
                      {"in_service", flag}}};
  Sheet shunt_{{{"bus", whole},
                {"name", word},
                {"q_mvar", real},
                {"p_mw", real},
                {"vn_kv", real},
                {"step", whole},
                {"max_step", whole},
                {"in_service", flag}}};
  Sheet external_{{{"name", word},
                   {"bus", whole},
                   {"vm_pu", real},
                   {"va_degree", real},
                   {"slack_weight", real},
                   {"in_service", flag},
                   {"max_p_mw", real},
                   {"min_p_mw", real},
                   {"max_q_mvar", real},
                   {"min_q_mvar", real}}};
  Sheet generator_{{{"name", word},
                    {"bus", whole},
                    {"p_mw", real},
                    {"vm_pu", real},
                    {"sn_mva", real},
                    {"min_q_mvar", real},
                    {"max_q_mvar", real},
                    {"min_p_mw", real},
                    {"max_p_mw", real},
                    {"scaling", real},
                    {"slack", flag},
                    {"in_service", flag},
                    {"slack_weight", real},
                    {"type", word}}};
  Sheet fixed_{{{"name", word},
                {"bus", whole},
                {"p_mw", real},
                {"q_mvar", real},
                {"sn_mva", real},
                {"scaling", real},
                {"in_service", flag},
                {"type", word},
                {"current_source", flag}}};
};

}  // namespace

std::string pandapower_text(const Grid& grid, std::vector<std::string>& warnings) {
  return Writer(grid).text(warnings);
}

}  // namespace fachwerk::dpf
