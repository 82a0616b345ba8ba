#include "cdf.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "cli/error.hpp"
#include "grid_builder.hpp"
#include "words.hpp"

namespace fachwerk::dpf {
namespace {

// One card; columns are numbered from 1 as in the format's description.
class Card {
 public:
  Card(std::string_view name, int line, std::string_view text) : name_(name), line_(line), text_(text) {}
  std::string_view field(std::size_t first, std::size_t last) const {
    return first > text_.size() ? std::string_view() : trimmed(text_.substr(first - 1, last - first + 1));
  }
  double number(std::size_t first, std::size_t last, double otherwise = 0) const {
    std::string_view field = this->field(first, last);
    if (field.empty()) return otherwise;
    if (field.front() == '+') field.remove_prefix(1);
    double value = 0;
    const auto result = std::from_chars(field.data(), field.data() + field.size(), value);
    if (result.ec != std::errc() || result.ptr != field.data() + field.size())
      throw bad_input("{}:{}: columns {}-{}: expected a number, found \"{}\"", name_, line_, first, last, field);
    return value;
  }
  std::int64_t integer(std::size_t first, std::size_t last, std::int64_t otherwise = 0) const {
    const double value = number(first, last, static_cast<double>(otherwise));
    if (value != std::floor(value) || std::abs(value) > 1e9)
      throw bad_input("{}:{}: columns {}-{}: expected an integer, found {}", name_, line_, first, last, value);
    return static_cast<std::int64_t>(value);
  }

 private:
  std::string_view name_;
  int line_;
  std::string_view text_;
};

class Reader {
 public:
  Reader(std::string_view text, std::string_view name, Grid& grid)
      : text_(text), name_(name), grid_(grid), build_(grid) {}

  void run(std::vector<std::string>& warnings) {
    const Card title = card();
    grid_.base_mva = title.number(32, 37, 100);
    grid_.name = std::string(title.field(46, 73));
    section("BUS DATA", [&](const Card& c) { bus(c); });
    section("BRANCH DATA", [&](const Card& c) { branch(c); });
    build_.finish();
    if (remote_ > 0)
      warnings.push_back(
          fmt::format("{}: {} buses control the voltage of another bus: taken as their own", name_, remote_));
    if (limited_ > 0)
      warnings.push_back(
          fmt::format("{}: {} buses hold their reactive power within voltage limits: taken as PQ", name_, limited_));
  }

 private:
  Card card() {
    if (at_ >= text_.size()) throw bad_input("{}:{}: the file ends inside a section", name_, number_ + 1);
    const std::size_t end = std::min(text_.find('\n', at_), text_.size());
    std::string_view line = text_.substr(at_, end - at_);
    while (!line.empty() && (line.back() == '\r' || line.back() == ' '))
      line.remove_suffix(1);
    at_ = end + 1;
    return {name_, ++number_, line};
  }

  template <class Use>
  void section(std::string_view title, const Use& use) {
    for (Card c = card(); !c.field(1, 40).starts_with(title); c = card()) {
    }
    for (Card c = card(); !c.field(1, 4).starts_with("-99"); c = card())
      if (!c.field(1, 132).empty()) use(c);
  }

  void bus(const Card& c) {
    const std::int64_t type = c.integer(25, 26), id = c.integer(1, 4);
    if (type < 0 || type > 3) throw bad_input("{}:{}: type must be 0 to 3, found {}", name_, number_, type);
    limited_ += type == 1;
    build_.add(BusRow{.id = id,
                      .name = std::string(c.field(6, 17)),
                      .base_kv = c.number(77, 83),
                      .type = static_cast<std::int8_t>(std::max<std::int64_t>(type, 1)),
                      .vm = c.number(28, 33, 1),
                      .va = c.number(34, 40),
                      .area = static_cast<std::int32_t>(c.integer(19, 20, 1)),
                      .zone = static_cast<std::int32_t>(c.integer(21, 23, 1))});
    const std::size_t row = grid_.bus.size() - 1;
    build_.add_load(row, {.p = {c.number(41, 49), 0, 0}, .q = {c.number(50, 59), 0, 0}});
    build_.add_shunt(row, Complex(c.number(107, 114), c.number(115, 122)) * grid_.base_mva);
    const double pg = c.number(60, 67), qg = c.number(68, 75);
    if (type < 2 && pg == 0 && qg == 0) return;
    const double high = c.number(91, 98), low = c.number(99, 106);
    const bool limits = type >= 2 && (high != 0 || low != 0);
    const double desired = c.number(85, 90);
    build_.add(GeneratorRow{.bus = id,
                            .pg = pg,
                            .qg = qg,
                            .vg = desired > 0 ? desired : grid_.bus.vm[row],
                            .qmax = limits ? high : INFINITY,
                            .qmin = limits ? low : -INFINITY,
                            .mbase = grid_.base_mva});
    const std::int64_t controlled = c.integer(124, 127);
    remote_ += type >= 2 && controlled != 0 && controlled != id;
  }

  void branch(const Card& c) {
    build_.add(BranchRow{.from = c.integer(1, 4),
                         .to = c.integer(6, 9),
                         .z = {c.number(20, 29), c.number(30, 40)},
                         .b = c.number(41, 50),
                         .tap = c.number(77, 82),
                         .shift = c.number(84, 90),
                         .rates = {c.number(51, 55), c.number(57, 61), c.number(63, 67)}});
  }

  std::string_view text_, name_;
  Grid& grid_;
  GridBuilder build_;
  std::size_t at_ = 0;
  int number_ = 0, remote_ = 0, limited_ = 0;
};

}  // namespace

bool is_cdf(std::string_view text) {
  const std::size_t second = text.find('\n');
  return second != std::string_view::npos && second < 200 &&
         trimmed(text.substr(second + 1, 40)).starts_with("BUS DATA FOLLOW");
}

Grid grid_of_cdf(std::string_view text, std::string_view name, std::vector<std::string>& warnings) {
  Grid grid;
  Reader(text, name, grid).run(warnings);
  return grid;
}

}  // namespace fachwerk::dpf
