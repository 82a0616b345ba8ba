#include "profile.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

#include "cli/error.hpp"
#include "io/delimited.hpp"

namespace fachwerk::dpf {
namespace {

std::vector<double> numbers(const formats::Variable& column, const std::string& name) {
  return formats::as_reals(column.values, fmt::format("{}: column \"{}\"", name, column.name));
}

double seconds_of(const std::string& unit, const std::string& name) {
  if (unit.empty() || unit == "s") return 1;
  if (unit == "min") return 60;
  if (unit == "h") return 3600;
  if (unit == "d") return 86400;
  throw bad_input("{}: column \"time\": expected the unit s, min, h or d, found {}", name, unit);
}

std::vector<int> rows_of(std::string_view title, const std::string& name, const Grid& grid) {
  std::vector<int> rows;
  if (title == "load") {
    rows.resize(grid.bus.size());
    std::iota(rows.begin(), rows.end(), 0);
    return rows;
  }
  const std::size_t blank = title.find(' ');
  std::int64_t number = 0;
  if (blank != std::string_view::npos) {
    const char* end = title.data() + title.size();
    const auto found = std::from_chars(title.data() + blank + 1, end, number);
    const std::string_view kind = title.substr(0, blank);
    if (found.ec == std::errc() && found.ptr == end && (kind == "area" || kind == "zone" || kind == "bus")) {
      for (std::size_t i = 0; i < grid.bus.size(); ++i)
        if ((kind == "area"   ? std::int64_t{grid.bus.area[i]}
             : kind == "zone" ? std::int64_t{grid.bus.zone[i]}
                              : grid.bus.id[i]) == number)
          rows.push_back(static_cast<int>(i));
      if (rows.empty()) throw bad_input("{}: column \"{}\": no bus of the grid is in {} {}", name, title, kind, number);
      return rows;
    }
  }
  throw bad_input("{}: column \"{}\": expected time, load, area N, zone N or bus N", name, title);
}

}  // namespace

void Profile::apply(std::size_t step, OperatingPoint& point) const {
  for (const Column& column : columns)
    for (const int i : column.rows) {
      point.pd[i] *= column.factor[step];
      point.qd[i] *= column.factor[step];
    }
}

Profile read_profile(std::string_view text, const std::string& name, const Grid& grid) {
  const formats::DelimitedTable table = formats::read_delimited(text, name, {.header = true});
  Profile out;
  bool timed = false;
  for (const formats::Variable& column : table.columns) {
    if (column.name == "time") {
      const double unit = seconds_of(column.units, name);
      out.time = numbers(column, name);
      for (std::size_t i = 0; i < out.time.size(); ++i) {
        if (!std::isfinite(out.time[i])) throw bad_input("{}: row {}: the time is missing", name, i + 2);
        out.time[i] *= unit;
      }
      timed = true;
    } else {
      out.columns.push_back({rows_of(column.name, name, grid), numbers(column, name)});
    }
  }
  if (!timed) throw bad_input("{}: expected a column named time", name);
  if (out.columns.empty()) throw bad_input("{}: expected a column of factors besides time", name);
  if (out.time.empty()) throw bad_input("{}: expected rows below the header", name);
  return out;
}

}  // namespace fachwerk::dpf
