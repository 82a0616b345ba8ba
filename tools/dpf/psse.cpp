#include "psse.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "cli/error.hpp"
#include "grid_builder.hpp"
#include "words.hpp"

namespace fachwerk::dpf {
namespace {

// One line cut at its commas (or blanks where there are none), quotes kept together, what follows a / left out.
std::vector<std::string_view> cut(std::string_view line) {
  bool quoted = false, commas = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\'') quoted = !quoted;
    if (!quoted && line[i] == ',') commas = true;
    if (!quoted && line[i] == '/') line = line.substr(0, i);
  }
  std::vector<std::string_view> out;
  quoted = false;
  std::size_t begin = 0;
  const auto ends = [&](char c) { return commas ? c == ',' : c == ' ' || c == '\t'; };
  for (std::size_t i = 0; i <= line.size(); ++i) {
    if (i < line.size() && line[i] == '\'') quoted = !quoted;
    if (i < line.size() && (quoted || !ends(line[i]))) continue;
    const std::string_view field = trimmed(line.substr(begin, i - begin));
    if (commas || !field.empty()) out.push_back(field);
    begin = i + 1;
  }
  return out;
}

// The fields of one record.
class Record {
 public:
  Record(std::string_view name, int line, std::vector<std::string_view> fields)
      : name_(name), line_(line), fields_(std::move(fields)) {}
  double number(std::size_t i, double otherwise) const {
    if (i >= fields_.size() || fields_[i].empty()) return otherwise;
    std::string_view text = fields_[i];
    if (text.front() == '+') text.remove_prefix(1);
    std::string fixed(text);  // Fortran's exponents
    std::ranges::replace(fixed, 'D', 'E');
    std::ranges::replace(fixed, 'd', 'e');
    double value = 0;
    const auto result = std::from_chars(fixed.data(), fixed.data() + fixed.size(), value);
    if (result.ec != std::errc() || result.ptr != fixed.data() + fixed.size())
      throw bad_input("{}:{}: field {}: expected a number, found \"{}\"", name_, line_, i + 1, fields_[i]);
    return value;
  }
  std::int64_t integer(std::size_t i, std::int64_t otherwise) const {
    const double value = number(i, static_cast<double>(otherwise));
    if (value != std::floor(value) || std::abs(value) > 9e15)
      throw bad_input("{}:{}: field {}: expected an integer, found \"{}\"", name_, line_, i + 1, fields_[i]);
    return static_cast<std::int64_t>(value);
  }
  std::string text(std::size_t i) const {
    if (i >= fields_.size()) return {};
    std::string_view field = fields_[i];
    if (field.size() >= 2 && field.front() == '\'' && field.back() == '\'') field = field.substr(1, field.size() - 2);
    return std::string(trimmed(field));
  }
  std::size_t size() const { return fields_.size(); }
  int line() const { return line_; }

 private:
  std::string_view name_;
  int line_;
  std::vector<std::string_view> fields_;
};

class Reader {
 public:
  Reader(std::string_view text, std::string_view name) : text_(text), name_(name) {}
  std::string_view line() {
    if (at_ >= text_.size()) throw bad_input("{}:{}: the file ends inside a section", name_, number_ + 1);
    const std::size_t end = std::min(text_.find('\n', at_), text_.size());
    const std::string_view out = text_.substr(at_, end - at_);
    at_ = end + 1;
    ++number_;
    return trimmed(out);
  }
  Record record() { return from(line()); }
  Record from(std::string_view text) const { return {name_, number_, cut(text)}; }
  bool at_end() const { return at_ >= text_.size(); }
  int number() const { return number_; }
  std::string_view name() const { return name_; }

 private:
  std::string_view text_, name_;
  std::size_t at_ = 0;
  int number_ = 0;
};

bool ends_section(std::string_view line) {
  return line == "0" || line.starts_with("0 ") || line.starts_with("0/") || line.starts_with("0\t") || line == "Q";
}

// Sections in the order of the revision.
std::vector<std::string> sections_of(int revision) {
  std::vector<std::string> out;
  if (revision >= 34) out.push_back("SYSTEM-WIDE");
  out.insert(out.end(), {"BUS", "LOAD"});
  if (revision >= 31) out.push_back("FIXED SHUNT");
  out.insert(out.end(), {"GENERATOR", "BRANCH"});
  if (revision >= 34) out.push_back("SYSTEM SWITCHING DEVICE");
  out.insert(out.end(), {"TRANSFORMER", "AREA", "TWO-TERMINAL DC", "VSC DC LINE"});
  if (revision < 32) out.push_back("SWITCHED SHUNT");
  out.insert(out.end(), {"IMPEDANCE CORRECTION", "MULTI-TERMINAL DC", "MULTI-SECTION LINE", "ZONE",
                         "INTER-AREA TRANSFER", "OWNER", "FACTS DEVICE"});
  if (revision >= 32) out.push_back("SWITCHED SHUNT");
  out.insert(out.end(), {"GNE", "INDUCTION MACHINE"});
  return out;
}

class Builder {
 public:
  Builder(Grid& grid, int revision) : grid_(grid), build_(grid), revision_(revision) {}

  void bus(const Record& r) {
    const bool old = revision_ < 31;
    build_.add(BusRow{.id = r.integer(0, 0),
                      .name = r.text(1),
                      .base_kv = r.number(2, 0),
                      .type = static_cast<std::int8_t>(std::clamp<std::int64_t>(r.integer(3, 1), 1, 4)),
                      .vm = r.number(old ? 8 : 7, 1),
                      .va = r.number(old ? 9 : 8, 0),
                      .vmax = old ? 1.1 : r.number(9, 1.1),
                      .vmin = old ? 0.9 : r.number(10, 0.9),
                      .area = static_cast<std::int32_t>(r.integer(old ? 6 : 4, 1)),
                      .zone = static_cast<std::int32_t>(r.integer(old ? 7 : 5, 1))});
    if (old) build_.add_shunt(grid_.bus.size() - 1, {r.number(4, 0), r.number(5, 0)});
  }

  void load(const Record& r) {
    if (r.integer(2, 1) <= 0) return;
    LoadParts load;
    for (std::size_t k = 0; k < 3; ++k) {
      load.p[k] = r.number(5 + 2 * k, 0);
      // YQ counts what is injected, unlike QL and IQ.
      load.q[k] = (k == 2 ? -1 : 1) * r.number(6 + 2 * k, 0);
    }
    build_.add_load(at(r, 0), load);
  }

  void fixed_shunt(const Record& r) {
    if (r.integer(2, 1) <= 0) return;
    build_.add_shunt(at(r, 0), {r.number(3, 0), r.number(4, 0)});
  }

  void switched_shunt(const Record& r) {
    const std::size_t status = revision_ >= 35 ? 4 : 3, initial = revision_ >= 35 ? 11 : revision_ >= 32 ? 9 : 7;
    if (revision_ >= 32 && r.integer(status, 1) <= 0) return;
    build_.add_shunt(at(r, 0), {0, r.number(initial, 0)});
  }

  void generator(const Record& r) {
    const std::size_t shift = revision_ >= 35 ? 1 : 0;  // NREG after IREG
    const std::int64_t id = grid_.bus.id[at(r, 0)], remote = r.integer(7, 0);
    if (remote != 0 && remote != id) ++remote_;
    build_.add(GeneratorRow{.bus = id,
                            .pg = r.number(2, 0),
                            .qg = r.number(3, 0),
                            .vg = r.number(6, 1),
                            .on = r.integer(14 + shift, 1) > 0,
                            .qmax = r.number(4, 9999),
                            .qmin = r.number(5, -9999),
                            .pmax = r.number(16 + shift, 9999),
                            .pmin = r.number(17 + shift, -9999),
                            .mbase = r.number(8 + shift, grid_.base_mva)});
  }

  void branch(const Record& r) {
    const bool wide = revision_ >= 34;  // a name and twelve ratings
    const std::size_t rate = wide ? 7 : 6, ends = wide ? 19 : 9;
    const Complex from(r.number(ends, 0), r.number(ends + 1, 0)), to(r.number(ends + 2, 0), r.number(ends + 3, 0));
    build_.add(BranchRow{.from = grid_.bus.id[at(r, 0)],
                         .to = grid_.bus.id[at(r, 1)],
                         .z = {r.number(3, 0), r.number(4, 0)},
                         .b = r.number(5, 0),
                         .on = r.integer(ends + 4, 1) > 0,
                         .end_from = from,
                         .end_to = to,
                         .rates = {r.number(rate, 0), r.number(rate + 1, 0), r.number(rate + 2, 0)}});
  }

  void transformer(Reader& reader, const Record& head) {
    const bool three = head.size() > 2 && head.integer(2, 0) != 0;
    const Record impedance = reader.record();
    std::vector<Record> windings;
    for (int k = 0; k < (three ? 3 : 2); ++k)
      windings.push_back(reader.record());
    three ? three_windings(head, impedance, windings) : two_windings(head, impedance, windings);
  }

  void finish(std::vector<std::string>& warnings, std::string_view name) {
    build_.finish();
    if (remote_ > 0)
      warnings.push_back(
          fmt::format("{}: {} generators regulate another bus: taken as regulating their own", name, remote_));
  }

 private:
  std::size_t at(const Record& r, std::size_t field) const {
    const auto row = build_.find(std::abs(r.integer(field, 0)));  // a minus sign marks the metered end
    if (row < 0) throw bad_input("line {}: there is no bus {}", r.line(), r.integer(field, 0));
    return static_cast<std::size_t>(row);
  }

  // Ratio of a winding in pu of its bus's base voltage (CW: 1 that, 2 kV, 3 pu of the winding's nominal voltage).
  double ratio(const Record& head, const Record& winding, double base_kv) const {
    const std::int64_t code = head.integer(4, 1);
    const double value = winding.number(0, code == 2 ? base_kv : 1), nominal = winding.number(1, 0);
    if (code == 1 || base_kv == 0) return value;
    return code == 2 ? value / base_kv : value * (nominal == 0 ? 1 : nominal / base_kv);
  }

  // Impedance between two windings in pu of the system base (CZ: 1 that; 2 pu of the transformer's base; 3 load loss in
  // W and |z| in pu of the transformer's base). `nominal`, the winding's base voltage, 0: that of the bus.
  Complex impedance(const Record& head, const Record& record, std::size_t field, double nominal, double base_kv) const {
    const std::int64_t code = head.integer(5, 1);
    const double first = record.number(field, 0), second = record.number(field + 1, 0),
                 base = record.number(field + 2, grid_.base_mva);
    if (code == 1) return {first, second};
    if (!(base > 0)) throw bad_input("line {}: the transformer's base must be positive, found {}", record.line(), base);
    const double voltage = nominal > 0 && base_kv > 0 ? nominal / base_kv : 1;
    const double scale = grid_.base_mva / base * voltage * voltage;
    if (code == 2) return scale * Complex(first, second);
    const double r = first * 1e-6 / base;
    return scale * Complex(r, std::sqrt(std::max(0.0, second * second - r * r)));
  }

  // Magnetising admittance at the first winding's bus, pu of the system base (CM: 1 that; 2 no-load loss in W and
  // exciting current in pu).
  Complex magnetising(const Record& head, double base, double nominal, double base_kv) const {
    const double first = head.number(7, 0), second = head.number(8, 0);
    if (head.integer(6, 1) == 1) return {first, second};
    const double voltage = nominal > 0 && base_kv > 0 ? base_kv / nominal : 1;
    const double g = first * 1e-6 / grid_.base_mva * voltage * voltage,
                 y = second * base / grid_.base_mva * voltage * voltage;
    return {g, -std::sqrt(std::max(0.0, y * y - g * g))};
  }

  static std::array<double, 3> rates(const Record& winding) {
    return {winding.number(3, 0), winding.number(4, 0), winding.number(5, 0)};
  }

  void two_windings(const Record& head, const Record& record, const std::vector<Record>& windings) {
    const std::size_t i = at(head, 0), j = at(head, 1);
    const double kv = grid_.bus.base_kv[i], nominal = windings[0].number(1, 0);
    const double first = ratio(head, windings[0], kv), second = ratio(head, windings[1], grid_.bus.base_kv[j]);
    if (!(first > 0) || !(second > 0))
      throw bad_input("line {}: turns ratios must be positive, found {} and {}", head.line(), first, second);
    // Ideal first:1, z, ideal 1:second; seen from the second bus the impedance is second^2 z.
    const Complex z = impedance(head, record, 0, nominal, kv) * (second * second);
    const double tap = first / second;
    const Complex shunt = magnetising(head, record.number(2, grid_.base_mva), nominal, kv) * (tap * tap);
    build_.add(BranchRow{.from = grid_.bus.id[i],
                         .to = grid_.bus.id[j],
                         .z = z,
                         .tap = tap,
                         .shift = windings[0].number(2, 0),
                         .on = head.integer(11, 1) > 0,
                         .end_from = shunt,
                         .rates = rates(windings[0])});
  }

  void three_windings(const Record& head, const Record& record, const std::vector<Record>& windings) {
    const std::size_t bus[3] = {at(head, 0), at(head, 1), at(head, 2)};
    const auto kv = [&](int k) { return grid_.bus.base_kv[bus[k]]; };
    Complex pair[3];  // 12, 23, 31
    for (int k = 0; k < 3; ++k)
      pair[k] = impedance(head, record, 3 * static_cast<std::size_t>(k), windings[k].number(1, 0), kv(k));
    const Complex star[3] = {(pair[0] + pair[2] - pair[1]) / 2.0, (pair[0] + pair[1] - pair[2]) / 2.0,
                             (pair[1] + pair[2] - pair[0]) / 2.0};
    const std::int64_t status = head.integer(11, 1);
    const std::int64_t id = star_bus(bus[0], record);
    for (int k = 0; k < 3; ++k) {
      const double tap = ratio(head, windings[k], kv(k));
      if (!(tap > 0)) throw bad_input("line {}: turns ratios must be positive, found {}", head.line(), tap);
      const bool on = status == 1 || (status == 2 && k != 1) || (status == 3 && k != 2) || (status == 4 && k != 0);
      const Complex shunt =
          k == 0 ? magnetising(head, record.number(2, grid_.base_mva), windings[0].number(1, 0), kv(0)) * (tap * tap)
                 : Complex(0);
      build_.add(BranchRow{.from = grid_.bus.id[bus[k]],
                           .to = id,
                           .z = star[k],
                           .tap = tap,
                           .shift = windings[k].number(2, 0),
                           .on = on,
                           .end_from = shunt,
                           .rates = rates(windings[k])});
    }
  }

  std::int64_t star_bus(std::size_t like, const Record& record) {
    const std::int64_t id = build_.extra_bus(fmt::format("star {}", grid_.bus.id[like]), like);
    grid_.bus.vm.back() = record.number(9, 1);
    grid_.bus.va.back() = record.number(10, 0);
    return id;
  }

  Grid& grid_;
  GridBuilder build_;
  int revision_;
  int remote_ = 0;
};

}  // namespace

bool is_raw(std::string_view text) {
  const std::string_view first = trimmed(text.substr(0, text.find('\n')));
  const auto fields = cut(first);
  if (fields.size() < 2 || (fields[0] != "0" && fields[0] != "1")) return false;
  double base = 0;
  const auto result = std::from_chars(fields[1].data(), fields[1].data() + fields[1].size(), base);
  return result.ec == std::errc() && base > 0 && std::ranges::count(text, '\n') > 3;
}

Grid grid_of_raw(std::string_view text, std::string_view name, std::vector<std::string>& warnings) {
  Reader reader(text, name);
  std::string_view first = reader.line();
  while (first.starts_with("@!"))
    first = reader.line();
  const Record head = reader.from(first);
  Grid grid;
  grid.base_mva = head.number(1, 100);
  const auto revision = static_cast<int>(head.integer(2, 33));
  grid.frequency = head.number(5, 0);
  if (revision < 29 || revision > 35) throw bad_input("{}:1: expected revision 29 to 35, found {}", name, revision);
  grid.name = std::string(reader.line());
  reader.line();
  Builder builder(grid, revision);
  std::map<std::string, int> unused;
  bool over = false;  // a line with Q ends the data wherever it is; so does the end of the file between sections
  for (const std::string& section : sections_of(revision)) {
    if (over || reader.at_end()) break;
    for (std::string_view line = reader.line();; line = reader.line()) {
      over = line == "Q";
      if (ends_section(line)) break;
      if (line.starts_with("@!") || line.empty()) continue;
      const Record record = reader.from(line);
      if (section == "BUS") {
        builder.bus(record);
      } else if (section == "LOAD") {
        builder.load(record);
      } else if (section == "FIXED SHUNT") {
        builder.fixed_shunt(record);
      } else if (section == "GENERATOR") {
        builder.generator(record);
      } else if (section == "BRANCH") {
        builder.branch(record);
      } else if (section == "TRANSFORMER") {
        builder.transformer(reader, record);
      } else if (section == "SWITCHED SHUNT") {
        builder.switched_shunt(record);
      } else if (section.find("DC") != std::string::npos || section.starts_with("FACTS") || section == "GNE" ||
                 section.starts_with("INDUCTION") || section.starts_with("SYSTEM SWITCHING")) {
        ++unused[section];
      }
    }
  }
  if (grid.bus.size() == 0) throw bad_input("{}: there is no bus in this file", name);
  builder.finish(warnings, name);
  for (const auto& [section, lines] : unused)
    warnings.push_back(fmt::format("{}: section {} has {} lines: not used", name, section, lines));
  return grid;
}

}  // namespace fachwerk::dpf
