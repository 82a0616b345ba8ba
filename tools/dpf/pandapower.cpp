#include "pandapower.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <set>
#include <tuple>

#include "cli/error.hpp"
#include "json_frame.hpp"
#include "transformer.hpp"

namespace fachwerk::dpf {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// The members of a network, under "_object" or, in old files, at the top.
const Json& members(const Json& file) {
  return file.contains("_object") && file["_object"].is_object() ? file["_object"] : file;
}

class Reader {
 public:
  Reader(const Json& net, std::string_view name, Grid& grid, std::vector<std::string>& warnings)
      : net_(net), name_(name), grid_(grid), build_(grid), warnings_(warnings) {}

  void run() {
    scalars();
    trafo_tables_ = table("trafo_characteristic_table");
    buses();
    switches();
    lines();
    transformers();
    three_windings();
    impedances();
    loads();
    shunts();
    generators();
    dc_lines();
    extended_wards();
    name_unused();
    build_.finish();
  }

 private:
  // ---- the file ----
  Frame table(const std::string& key) const {
    const std::string what = fmt::format("{}: {}", name_, key);
    if (!net_.contains(key) || net_[key].is_null()) return {};
    const Json& entry = net_[key];
    const Json& content = entry.is_object() && entry.contains("_object") ? entry["_object"] : entry;
    if (entry.is_object() && entry.contains("orient") && entry["orient"] != "split")
      throw bad_input("{}: expected a table in the split layout", what);
    return Frame::split(content.is_string() ? parse_json(content.get_ref<const std::string&>(), what) : content, what);
  }
  double scalar(const char* key, double otherwise) const {
    return net_.contains(key) && net_[key].is_number() ? net_[key].get<double>() : otherwise;
  }

  void scalars() {
    grid_.base_mva = scalar("sn_mva", 1);
    grid_.frequency = scalar("f_hz", 50);
    if (!(grid_.base_mva > 0)) throw bad_input("{}: sn_mva must be positive, found {}", name_, grid_.base_mva);
    if (net_.contains("name") && net_["name"].is_string()) grid_.name = net_["name"].get<std::string>();
    if (!net_.contains("user_pf_options") || !net_["user_pf_options"].is_object()) return;
    const Json& options = net_["user_pf_options"];
    const auto word = [&](const char* key, const char* otherwise) {
      return options.contains(key) && options[key].is_string() ? options[key].get<std::string>() : otherwise;
    };
    t_circuit_ = word("trafo_model", "t") == "t";
    losses_ = word("trafo3w_losses", "hv");
  }

  static bool in_service(const Frame& t, std::size_t row) { return t.flag(row, "in_service").value_or(true); }

  // ---- buses ----
  void buses() {
    const Frame t = table("bus");
    if (t.rows() == 0) throw bad_input("{}: there is no bus in this network", name_);
    for (std::size_t i = 0; i < t.rows(); ++i) {
      const double kv = t.number(i, "vn_kv");
      if (!(kv > 0)) throw bad_input("{}: vn_kv must be positive, found {}", t.where(i), kv);
      build_.add(BusRow{.id = t.index(i),
                        .name = t.text(i, "name").value_or(""),
                        .base_kv = kv,
                        .type = in_service(t, i) ? std::int8_t{1} : std::int8_t{4},
                        .vmax = t.number(i, "max_vm_pu", 1.1),
                        .vmin = t.number(i, "min_vm_pu", 0.9)});
    }
    const Frame solved = table("res_bus");
    for (std::size_t i = 0; i < solved.rows(); ++i)
      if (const auto row = build_.find(solved.index(i)); row >= 0)
        if (const auto vm = solved.real(i, "vm_pu"), va = solved.real(i, "va_degree"); vm && va && *vm > 0) {
          grid_.bus.vm[row] = *vm;
          grid_.bus.va[row] = *va;
        }
  }

  std::size_t bus(const Frame& t, std::size_t row, const std::string& column) const {
    const std::int64_t id = t.whole(row, column);
    const auto found = build_.find(id);
    if (found < 0) throw bad_input("{}: {}: there is no bus {}", t.where(row), column, id);
    return static_cast<std::size_t>(found);
  }
  bool live(std::size_t row) const { return grid_.bus.type[row] != 4; }
  double kv(std::size_t row) const { return grid_.bus.base_kv[row]; }

  // ---- switches ----
  void switches() {
    const Frame t = table("switch");
    for (std::size_t i = 0; i < t.rows(); ++i) {
      const std::size_t from = bus(t, i, "bus");
      const bool closed = t.flag(i, "closed").value_or(true);
      const std::string kind = t.text(i, "et").value_or("");
      if (kind == "l" || kind == "t" || kind == "t3") {
        if (!closed) open_.emplace(kind, t.whole(i, "element"), grid_.bus.id[from]);
        continue;
      }
      if (kind != "b") throw bad_input("{}: et: expected b, l, t or t3, found {}", t.where(i), kind);
      const std::size_t to = bus(t, i, "element");
      if (!closed || !live(from) || !live(to) || from == to) continue;
      const double ohm = t.number(i, "z_ohm", 0);
      if (!(ohm > 0)) {
        build_.fuse(from, to);
        continue;
      }
      const double z = ohm * grid_.base_mva / (kv(from) * kv(from));  // r/x = 2, as its power flow takes it
      build_.add(
          BranchRow{.from = grid_.bus.id[from], .to = grid_.bus.id[to], .z = z * Complex(2, 1) / std::sqrt(5.0)});
    }
  }

  // Does an open switch part the element from this bus?
  bool open(const char* kind, std::int64_t element, std::size_t row) const {
    return open_.contains(std::tuple(std::string(kind), element, grid_.bus.id[row]));
  }
  // A bus there instead. It starts at the voltage that the branch brings from its other end.
  std::int64_t open_end(const char* what, std::int64_t element, std::size_t like, double vm, double va) {
    const std::int64_t id = build_.extra_bus(fmt::format("open end of {} {}", what, element), like);
    grid_.bus.vm.back() = vm;
    grid_.bus.va.back() = va;
    return id;
  }

  // ---- branches ----
  void lines() {
    const Frame t = table("line");
    for (std::size_t i = 0; i < t.rows(); ++i) {
      const std::size_t from = bus(t, i, "from_bus"), to = bus(t, i, "to_bus");
      const double parallel = t.number(i, "parallel", 1), km = t.number(i, "length_km");
      if (!(parallel > 0)) throw bad_input("{}: parallel must be positive, found {}", t.where(i), parallel);
      const double ohm = kv(from) * kv(from) / grid_.base_mva;
      const Complex z = Complex(t.number(i, "r_ohm_per_km"), t.number(i, "x_ohm_per_km")) * (km / ohm / parallel);
      const double b = 2 * std::numbers::pi * grid_.frequency * t.number(i, "c_nf_per_km") * 1e-9 * ohm * km * parallel;
      const double g = t.number(i, "g_us_per_km", 0) * 1e-6 * ohm * km * parallel;
      const double rate = t.number(i, "max_i_ka", 0) * t.number(i, "df", 1) * parallel * kv(from) * std::sqrt(3.0);
      BranchRow line{.from = grid_.bus.id[from],
                     .to = grid_.bus.id[to],
                     .z = z,
                     .b = b,
                     .on = in_service(t, i),
                     .end_from = g / 2,
                     .end_to = g / 2,
                     .rates = {std::isfinite(rate) ? rate : 0, 0, 0}};
      // A line that ends at a bus out of service is still charged from its other end.
      const bool from_open = open("l", t.index(i), from) || (!live(from) && live(to)),
                 to_open = open("l", t.index(i), to) || (!live(to) && live(from));
      if (from_open && to_open) line.on = false;
      const auto end = [&](std::size_t row, std::size_t other) {
        return open_end("line", t.index(i), row, grid_.bus.vm[other], grid_.bus.va[other]);
      };
      if (line.on && from_open) line.from = end(from, to);
      if (line.on && to_open) line.to = end(to, from);
      build_.add(line);
    }
  }

  // What the tap changer does to the winding on `side` ("hv", "lv", ...): `direction` 1 for the from end, -1 for the to
  // end. Characteristics replace both ratio and impedance.
  TapEffect tap(const Frame& t, std::size_t row, const std::string& prefix, const std::string& side,
                int direction) const {
    if (t.text(row, prefix + "_side").value_or("") != side) return {};
    const auto position = t.real(row, prefix + "_pos");
    if (!position) return {};
    if (prefix == "tap" && t.flag(row, "tap_dependency_table").value_or(false)) {
      const std::size_t entry = characteristic(t, row);
      return {trafo_tables_.number(entry, "voltage_ratio", 1), direction * trafo_tables_.number(entry, "angle_deg", 0)};
    }
    const auto neutral = t.real(row, prefix + "_neutral");
    const double steps = neutral ? *position - *neutral : 0;
    const double percent = t.number(row, prefix + "_step_percent", 0),
                 degrees = t.number(row, prefix + "_step_degree", 0);
    bool ideal = false;
    if (t.has(prefix + "_changer_type")) {
      const std::string type = t.text(row, prefix + "_changer_type").value_or("");
      if (type != "Ideal" && type != "Ratio" && type != "Symmetrical") return {};
      ideal = type == "Ideal";
    } else {
      ideal = t.flag(row, prefix + "_phase_shifter").value_or(false);
    }
    if (!ideal) {
      const TapEffect effect = complex_tap(steps, percent / 100, degrees);
      return {effect.factor, direction * effect.degrees};
    }
    if (degrees != 0 && percent != 0)
      throw bad_input("{}: an ideal phase shifter has {}_step_degree or {}_step_percent, not both", t.where(row),
                      prefix, prefix);
    if (degrees != 0) return {1, direction * steps * degrees};
    const double sine = steps * percent / 200;
    if (std::abs(sine) > 1) throw bad_input("{}: the tap is beyond half a turn", t.where(row));
    return {1, direction * 2 * std::asin(sine) * 180 / std::numbers::pi};
  }

  // Row of the characteristic table for the transformer's tap position.
  std::size_t characteristic(const Frame& t, std::size_t row) const {
    const std::int64_t id = t.whole(row, "id_characteristic_table");
    const double step = t.number(row, "tap_pos");
    for (std::size_t k = 0; k < trafo_tables_.rows(); ++k)
      if (trafo_tables_.whole(k, "id_characteristic") == id && trafo_tables_.number(k, "step") == step) return k;
    throw bad_input("{}: trafo_characteristic_table has no step {} of characteristic {}", t.where(row), step, id);
  }

  // A short-circuit voltage, from the characteristic table if the transformer has one.
  double percent(const Frame& t, std::size_t row, const std::string& column) const {
    if (t.flag(row, "tap_dependency_table").value_or(false)) {
      const auto value = trafo_tables_.real(characteristic(t, row), column);
      if (value) return *value;
    } else if (t.flag(row, "tap_dependent_impedance").value_or(false)) {
      throw bad_input("{}: impedances by spline characteristics are not read", t.where(row));
    }
    return t.number(row, column);
  }

  void transformers() {
    const Frame t = table("trafo");
    for (std::size_t i = 0; i < t.rows(); ++i) {
      const std::size_t hv = bus(t, i, "hv_bus"), lv = bus(t, i, "lv_bus");
      TapEffect high, low;
      for (const char* prefix : {"tap", "tap2"})
        for (auto [effect, side, direction] : {std::tuple(&high, "hv", 1), std::tuple(&low, "lv", -1)}) {
          const TapEffect one = tap(t, i, prefix, side, direction);
          effect->factor *= one.factor;
          effect->degrees += one.degrees;
        }
      const double sn = t.number(i, "sn_mva"), parallel = t.number(i, "parallel", 1);
      TransformerTest test{.base_mva = grid_.base_mva,
                           .sn = sn,
                           .vn_from = t.number(i, "vn_hv_kv") * high.factor,
                           .vn_to = t.number(i, "vn_lv_kv") * low.factor,
                           .kv_from = kv(hv),
                           .kv_to = kv(lv),
                           .vk = percent(t, i, "vk_percent") / 100,
                           .vkr = percent(t, i, "vkr_percent") / 100,
                           .pfe = t.number(i, "pfe_kw", 0) / 1000,
                           .i0 = t.number(i, "i0_percent", 0) / 100,
                           .parallel = parallel,
                           .t_circuit = t_circuit_,
                           .r_from = t.number(i, "leakage_resistance_ratio_hv", 0.5),
                           .x_from = t.number(i, "leakage_reactance_ratio_hv", 0.5)};
      BranchRow branch = branch_of(test, t.where(i));
      branch.shift = t.number(i, "shift_degree", 0) + high.degrees + low.degrees;
      branch.rates[0] = sn * t.number(i, "df", 1) * parallel;
      put_transformer(branch, "t", "transformer", t.index(i), hv, lv, in_service(t, i));
    }
  }

  void put_transformer(BranchRow& branch, const char* kind, const char* what, std::int64_t element, std::size_t from,
                       std::size_t to, bool on) {
    branch.from = grid_.bus.id[from];
    branch.to = grid_.bus.id[to];
    const bool from_open = open(kind, element, from), to_open = open(kind, element, to);
    branch.on = on && live(from) && live(to) && !(from_open && to_open);
    const std::vector<double>&vm = grid_.bus.vm, &va = grid_.bus.va;
    if (branch.on && from_open) branch.from = open_end(what, element, from, vm[to] * branch.tap, va[to] + branch.shift);
    if (branch.on && to_open) branch.to = open_end(what, element, to, vm[from] / branch.tap, va[from] - branch.shift);
    build_.add(branch);
  }

  // Three windings: transformers from the high side to a star point, and from there to the other two.
  void three_windings() {
    const Frame t = table("trafo3w");
    const std::array<std::string, 3> sides = {"hv", "mv", "lv"};
    for (std::size_t i = 0; i < t.rows(); ++i) {
      std::array<std::size_t, 3> buses{};
      std::array<double, 3> sn{}, vk{}, vkr{};
      for (std::size_t k = 0; k < 3; ++k) {
        buses[k] = bus(t, i, sides[k] + "_bus");
        sn[k] = t.number(i, "sn_" + sides[k] + "_mva");
        if (!(sn[k] > 0)) throw bad_input("{}: rated power must be positive, found {}", t.where(i), sn[k]);
      }
      for (std::size_t k = 0; k < 3; ++k) {  // pairs hv-mv, mv-lv, lv-hv; pu of 1 MVA
        const double lesser = std::min(sn[k], sn[(k + 1) % 3]);
        vk[k] = percent(t, i, "vk_" + sides[k] + "_percent") / 100 / lesser;
        vkr[k] = percent(t, i, "vkr_" + sides[k] + "_percent") / 100 / lesser;
        if (std::abs(vkr[k]) > std::abs(vk[k]))
          throw bad_input("{}: active part of a short-circuit voltage exceeds the whole", t.where(i));
        vk[k] = std::sqrt(vk[k] * vk[k] - vkr[k] * vkr[k]);
      }
      const auto reactive = star_of(vk[0], vk[1], vk[2]), active = star_of(vkr[0], vkr[1], vkr[2]);
      const auto star = static_cast<std::size_t>(
          build_.find(build_.extra_bus(fmt::format("star point of trafo3w {}", t.index(i)), buses[0])));
      const bool on = in_service(t, i);
      if (!on) grid_.bus.type[star] = 4;
      const std::string loss_side = t.text(i, "loss_side").value_or(losses_);
      const double pfe = t.number(i, "pfe_kw", 0) / 1000, i0 = t.number(i, "i0_percent", 0) / 100;
      for (std::size_t k = 0; k < 3; ++k) {
        const bool high = k == 0, star_side = t.flag(i, "tap_at_star_point").value_or(false);
        const int direction = high ? 1 : -1;
        const TapEffect effect = tap(t, i, "tap", sides[k], direction);
        const double z = std::hypot(reactive[k], active[k]);
        const double own = t.number(i, "vn_" + sides[k] + "_kv") * (star_side ? 1 : effect.factor),
                     inner = t.number(i, "vn_hv_kv") * (star_side ? 1 / effect.factor : 1);
        const bool loss = loss_side == sides[k];
        const TransformerTest test{.base_mva = grid_.base_mva,
                                   .sn = sn[k],
                                   .vn_from = high ? own : inner,
                                   .vn_to = high ? inner : own,
                                   .kv_from = high ? kv(buses[0]) : kv(star),
                                   .kv_to = high ? kv(star) : kv(buses[k]),
                                   .vk = std::copysign(z, reactive[k]) * sn[k],
                                   .vkr = active[k] * sn[k],
                                   .pfe = loss ? pfe : 0,
                                   .i0 = loss ? i0 : 0,
                                   .t_circuit = t_circuit_};
        BranchRow branch = branch_of(test, t.where(i));
        branch.shift = effect.degrees + (high ? 0 : t.number(i, "shift_" + sides[k] + "_degree", 0));
        branch.rates[0] = sn[k];
        if (k == 1 && open("t3", t.index(i), buses[0])) {  // the star starts from a winding that is closed
          grid_.bus.vm[star] = grid_.bus.vm[buses[1]] * branch.tap;
          grid_.bus.va[star] = grid_.bus.va[buses[1]] + branch.shift;
        }
        put_transformer(branch, "t3", "trafo3w", t.index(i), high ? buses[0] : star, high ? star : buses[k], on);
      }
      if (loss_side == "star" && on) {
        const double ratio = kv(buses[0]) / t.number(i, "vn_hv_kv"), s0 = sn[0] * i0;
        build_.add_shunt(star, ratio * ratio * Complex(pfe, -std::sqrt(std::max(0.0, s0 * s0 - pfe * pfe))));
      }
    }
  }

  void impedances() {
    const Frame t = table("impedance");
    for (std::size_t i = 0; i < t.rows(); ++i) {
      const std::size_t from = bus(t, i, "from_bus"), to = bus(t, i, "to_bus");
      const double sn = t.number(i, "sn_mva");
      if (!(sn > 0)) throw bad_input("{}: sn_mva must be positive, found {}", t.where(i), sn);
      const Complex z(t.number(i, "rft_pu"), t.number(i, "xft_pu"));
      const Complex back(t.number(i, "rtf_pu", z.real()), t.number(i, "xtf_pu", z.imag()));
      if (z != back)
        throw bad_input("{}: rft + j xft and rtf + j xtf differ: branches that are not reciprocal are not read",
                        t.where(i));
      const auto end = [&](const char* g, const char* b) {
        return Complex(t.number(i, g, 0), t.number(i, b, 0)) * (sn / grid_.base_mva);
      };
      build_.add(BranchRow{.from = grid_.bus.id[from],
                           .to = grid_.bus.id[to],
                           .z = z * (grid_.base_mva / sn),
                           .on = in_service(t, i),
                           .end_from = end("gf_pu", "bf_pu"),
                           .end_to = end("gt_pu", "bt_pu"),
                           .rates = {sn, 0, 0}});
    }
  }

  // ---- what buses consume ----
  void consume(std::size_t row, double p, double q) { build_.add_load(row, {.p = {p, 0, 0}, .q = {q, 0, 0}}); }

  void loads() {
    const Frame t = table("load");
    for (std::size_t i = 0; i < t.rows(); ++i) {
      const std::size_t row = bus(t, i, "bus");
      if (!in_service(t, i)) continue;
      const double scale = t.number(i, "scaling", 1);
      const auto parts = [&](const char* power, const std::string& letter) -> std::array<double, 3> {
        const auto share = [&](const std::string& kind) {  // "const_z_percent" until 3.0, then one for p and q each
          const std::string both = "const_" + kind + "_percent";
          return t.number(i, t.has(both) ? both : "const_" + kind + "_" + letter + "_percent", 0) / 100;
        };
        const double total = t.number(i, power, 0) * scale, current = share("i"), impedance = share("z");
        if (current + impedance > 1 + 1e-12)
          throw bad_input("{}: shares of constant current and impedance exceed 100 %", t.where(i));
        return {total * (1 - current - impedance), total * current, total * impedance};
      };
      build_.add_load(row, {.p = parts("p_mw", "p"), .q = parts("q_mvar", "q")});
    }
    fixed("sgen", -1);
    fixed("storage", 1);
    phases("asymmetric_load", 1);
    phases("asymmetric_sgen", -1);
    const Frame motors = table("motor");
    for (std::size_t i = 0; i < motors.rows(); ++i) {
      const std::size_t row = bus(motors, i, "bus");
      if (!in_service(motors, i)) continue;
      const double efficiency = motors.number(i, "efficiency_percent") / 100, cosine = motors.number(i, "cos_phi");
      if (!(efficiency > 0 && cosine > 0 && cosine <= 1))
        throw bad_input("{}: expected efficiency_percent > 0 and 0 < cos_phi <= 1", motors.where(i));
      const double p = motors.number(i, "pn_mech_mw") / efficiency * motors.number(i, "loading_percent", 100) / 100 *
                       motors.number(i, "scaling", 1);
      consume(row, p, std::abs(p) * std::sqrt(1 / (cosine * cosine) - 1));
    }
  }
  void fixed(const char* key, double sign) {
    const Frame t = table(key);
    for (std::size_t i = 0; i < t.rows(); ++i) {
      const std::size_t row = bus(t, i, "bus");
      const double scale = sign * t.number(i, "scaling", 1);
      if (in_service(t, i)) consume(row, t.number(i, "p_mw") * scale, t.number(i, "q_mvar", 0) * scale);
    }
  }
  void phases(const char* key, double sign) {
    const Frame t = table(key);
    for (std::size_t i = 0; i < t.rows(); ++i) {
      const std::size_t row = bus(t, i, "bus");
      const double scale = sign * t.number(i, "scaling", 1);
      double p = 0, q = 0;
      for (const char phase : {'a', 'b', 'c'}) {
        p += t.number(i, fmt::format("p_{}_mw", phase), 0) * scale;
        q += t.number(i, fmt::format("q_{}_mvar", phase), 0) * scale;
      }
      if (in_service(t, i)) consume(row, p, q);
    }
  }

  void shunts() {
    const Frame t = table("shunt");
    for (std::size_t i = 0; i < t.rows(); ++i) {
      const std::size_t row = bus(t, i, "bus");
      if (!in_service(t, i)) continue;
      if (t.flag(i, "step_dependency_table").value_or(false))
        throw bad_input("{}: shunts by characteristic tables are not read", t.where(i));
      const double nominal = t.number(i, "vn_kv", kv(row)), steps = t.number(i, "step", 1);
      if (!(nominal > 0)) throw bad_input("{}: vn_kv must be positive, found {}", t.where(i), nominal);
      const double ratio = kv(row) / nominal;
      build_.add_shunt(row, steps * ratio * ratio * Complex(t.number(i, "p_mw", 0), -t.number(i, "q_mvar", 0)));
    }
    const Frame wards = table("ward");
    for (std::size_t i = 0; i < wards.rows(); ++i)
      ward(wards, i);
  }
  // A ward's load and shunt. Returns the row of its bus.
  std::size_t ward(const Frame& t, std::size_t i) {
    const std::size_t row = bus(t, i, "bus");
    if (!in_service(t, i)) return row;
    consume(row, t.number(i, "ps_mw"), t.number(i, "qs_mvar"));
    build_.add_shunt(row, {t.number(i, "pz_mw"), -t.number(i, "qz_mvar")});
    return row;
  }

  // ---- what holds voltages ----
  void control(std::size_t row, std::int8_t type, bool on) {
    if (on && live(row)) grid_.bus.type[row] = std::max(grid_.bus.type[row], type);
  }

  void generators() {
    const Frame grids = table("ext_grid");
    for (std::size_t i = 0; i < grids.rows(); ++i) {
      const std::size_t row = bus(grids, i, "bus");
      const bool on = in_service(grids, i);
      const GeneratorRow g = machine(grids, i, row, grids.number(i, "vm_pu"), on);
      control(row, 3, on);
      if (on) {
        grid_.bus.vm[row] = g.vg;
        grid_.bus.va[row] = grids.number(i, "va_degree", 0);
      }
      build_.add(g);
    }
    const Frame t = table("gen");
    for (std::size_t i = 0; i < t.rows(); ++i) {
      const std::size_t row = bus(t, i, "bus");
      const bool on = in_service(t, i);
      GeneratorRow g = machine(t, i, row, t.number(i, "vm_pu"), on);
      g.pg = t.number(i, "p_mw") * t.number(i, "scaling", 1);
      control(row, t.flag(i, "slack").value_or(false) ? 3 : 2, on);
      build_.add(g);
    }
  }
  GeneratorRow machine(const Frame& t, std::size_t i, std::size_t row, double vm, bool on) const {
    return {.bus = grid_.bus.id[row],
            .vg = vm,
            .on = on,
            .qmax = t.number(i, "max_q_mvar", infinity),
            .qmin = t.number(i, "min_q_mvar", -infinity),
            .pmax = t.number(i, "max_p_mw", infinity),
            .pmin = t.number(i, "min_p_mw", -infinity),
            .mbase = t.number(i, "sn_mva", grid_.base_mva),
            .apf = t.number(i, "slack_weight", 0)};
  }

  // A generator at each end: the sending one takes p, the other gives what losses leave.
  void dc_lines() {
    const Frame t = table("dcline");
    for (std::size_t i = 0; i < t.rows(); ++i) {
      const bool on = in_service(t, i);
      const double p = t.number(i, "p_mw"), sent = std::abs(p);
      const double received = sent * (1 - t.number(i, "loss_percent", 0) / 100) - t.number(i, "loss_mw", 0);
      for (const std::string side : {"to", "from"}) {
        const std::size_t row = bus(t, i, side + "_bus");
        const bool receives = (side == "to") == (p > 0);
        build_.add(GeneratorRow{.bus = grid_.bus.id[row],
                                .pg = receives ? received : -sent,
                                .vg = t.number(i, "vm_" + side + "_pu"),
                                .on = on,
                                .qmax = t.number(i, "max_q_" + side + "_mvar", infinity),
                                .qmin = t.number(i, "min_q_" + side + "_mvar", -infinity)});
        control(row, 2, on);
      }
    }
  }

  // A ward, and behind an impedance a bus that is held at a voltage without active power.
  void extended_wards() {
    const Frame t = table("xward");
    for (std::size_t i = 0; i < t.rows(); ++i) {
      const std::size_t row = ward(t, i);
      const bool on = in_service(t, i) && live(row);
      const std::int64_t inner = build_.extra_bus(fmt::format("inner bus of xward {}", t.index(i)), row);
      const auto inner_row = static_cast<std::size_t>(build_.find(inner));
      grid_.bus.type[inner_row] = on ? 2 : 4;
      const double ohm = kv(row) * kv(row) / grid_.base_mva;
      build_.add(BranchRow{.from = grid_.bus.id[row],
                           .to = inner,
                           .z = Complex(t.number(i, "r_ohm"), t.number(i, "x_ohm")) / ohm,
                           .on = on});
      build_.add(GeneratorRow{.bus = inner, .vg = t.number(i, "vm_pu"), .on = on});
    }
  }

  void name_unused() {
    for (const char* key :
         {"svc", "ssc", "tcsc", "vsc", "vsc_stacked", "vsc_bipolar", "line_dc", "load_dc", "source_dc"}) {
      const Frame t = table(key);
      std::size_t used = 0;
      for (std::size_t i = 0; i < t.rows(); ++i)
        used += in_service(t, i);
      if (used > 0) warnings_.push_back(fmt::format("{}: table {} has {} rows in service: not used", name_, key, used));
    }
  }

  const Json& net_;
  std::string_view name_;
  Grid& grid_;
  GridBuilder build_;
  std::vector<std::string>& warnings_;
  std::set<std::tuple<std::string, std::int64_t, std::int64_t>> open_;  // kind, element, bus
  Frame trafo_tables_;
  bool t_circuit_ = true;
  std::string losses_ = "hv";
};

}  // namespace

bool is_pandapower(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && text[first] == '{' &&
         (text.substr(0, 4000).find("pandapowerNet") != std::string_view::npos ||
          (text.find("\"ext_grid\"") != std::string_view::npos && text.find("\"_class\"") != std::string_view::npos));
}

Grid grid_of_pandapower(std::string_view text, std::string_view name, std::vector<std::string>& warnings) {
  const Json file = parse_json(text, name);
  if (!file.is_object() || !members(file).contains("bus"))
    throw bad_input("{}: expected a network with a table bus", name);
  Grid grid;
  Reader(members(file), name, grid, warnings).run();
  return grid;
}

}  // namespace fachwerk::dpf
