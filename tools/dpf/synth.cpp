#include "synth.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <numeric>
#include <set>

#include "cli/error.hpp"
#include "compute/random.hpp"

namespace fachwerk::dpf {
namespace {

using compute::Stream;

// Streams of different uses must not share numbers.
enum Channel : std::uint32_t { load_noise = 1, level, layout, lines, voltages, tie_ends };

constexpr std::array hour_shape = {1.00, .93,  .91,  .86,  .84,  .85,  .90,  .97,  1.03, 1.06, 1.08, 1.09,
                                   1.09, 1.09, 1.06, 1.03, 1.00, 1.00, 1.04, 1.09, 1.05, 1.01, .99,  1.03};
constexpr std::array month_shape = {1.21, 1.40, 1.05, 1.01, .86, .84, .84, .79, .85, .94, 1.01, 1.20};
constexpr std::array weekday_shape = {1.01, 1.05, 1.05, 1.05, 1.03, .93, .88};

// Catmull-Rom cubic through points at 0, 1, ..., size - 1 that repeat.
template <std::size_t size>
double periodic_cubic(const std::array<double, size>& y, double at) {
  at = std::fmod(std::fmod(at, static_cast<double>(size)) + static_cast<double>(size), static_cast<double>(size));
  const auto i = static_cast<std::size_t>(at);
  const double t = at - static_cast<double>(i);
  const double a = y[(i + size - 1) % size], b = y[i % size], c = y[(i + 1) % size], d = y[(i + 2) % size];
  return b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)));
}

std::uint64_t item(std::size_t scenario, std::size_t element) {
  return (static_cast<std::uint64_t>(scenario) << 32) ^ element;
}

void append_line(Grid& grid, std::int64_t from, std::int64_t to, double r, double x, double b, double tap = 0) {
  auto& branch = grid.branch;
  branch.from.push_back(from);
  branch.to.push_back(to);
  branch.r.push_back(r);
  branch.x.push_back(x);
  branch.b.push_back(b);
  for (auto* column : {&branch.rate_a, &branch.rate_b, &branch.rate_c, &branch.shift})
    column->push_back(0);
  branch.tap.push_back(tap);
  branch.status.push_back(1);
  if (!branch.end_y.empty()) branch.end_y.push_back({});
}

}  // namespace

double load_shape(double seconds, double start_day) {
  const double day = start_day + seconds / 86400;
  // 1 January 2012 was a Sunday; the weekday table starts on Monday. Monthly values stand for the middle of the month.
  const double month = std::fmod(day, 366.0) / 30.5 - 0.5;
  return periodic_cubic(hour_shape, day * 24) * periodic_cubic(weekday_shape, day + 6 - 0.5) *
         periodic_cubic(month_shape, month);
}

namespace {

void balance(const Grid& grid, bool merit, OperatingPoint& point) {
  if (!merit) return scale_generation(grid, point);
  // Losses as large as the file's generation is above its load.
  double load = 0, generation = 0;
  for (const double p : grid.bus.pd)
    load += p;
  for (std::size_t g = 0; g < grid.gen.size(); ++g)
    generation += grid.gen.status[g] > 0 ? grid.gen.pg[g] : 0;
  merit_order(grid, load > 0 ? std::clamp(generation / load - 1, 0.0, 0.2) : 0, point);
}

// Standard normal noise of every bus.
template <class Draw>
std::vector<double> noise_of(const Grid& grid, const CorrelatedNoise* together, const Draw& draw) {
  if (together != nullptr) return together->sample(draw);
  std::vector<double> out(grid.bus.size());
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = draw(i);
  return out;
}

}  // namespace

void profile_point(const Grid& grid, const ProfileOptions& options, std::size_t s, OperatingPoint& point,
                   const CorrelatedNoise* together) {
  const double seconds = static_cast<double>(s) * options.step;
  const double shape = load_shape(seconds, options.start_day);
  // AR(1) from its moving-average form, so that a step needs no earlier one: terms beyond 1e-4 are left out.
  const double rho = options.correlation;
  const std::size_t terms =
      rho > 0 ? std::min<std::size_t>(s, static_cast<std::size_t>(std::log(1e-4) / std::log(rho))) : 0;
  const auto noise = noise_of(grid, together, [&](std::size_t i) {
    double sum = 0, weight = std::sqrt(1 - rho * rho);
    for (std::size_t k = 0; k <= terms; ++k, weight *= rho)
      sum += weight * Stream(options.seed, item(s - k, i), load_noise).normal();
    return sum;
  });
  for (std::size_t i = 0; i < grid.bus.size(); ++i) {
    const double factor = shape * std::exp(options.sigma * noise[i]);
    point.pd[i] = grid.bus.pd[i] * factor;
    point.qd[i] = grid.bus.qd[i] * factor;
  }
  add_renewables(grid, options.renewables, options.seed, s, seconds, options.start_day, point);
  balance(grid, options.merit, point);
}

void monte_carlo_point(const Grid& grid, const MonteCarloOptions& options, std::size_t s, OperatingPoint& point,
                       const CorrelatedNoise* together) {
  const double shared = options.low + (options.high - options.low) * Stream(options.seed, s, level).uniform();
  const auto noise =
      noise_of(grid, together, [&](std::size_t i) { return Stream(options.seed, item(s, i), load_noise).normal(); });
  for (std::size_t i = 0; i < grid.bus.size(); ++i) {
    const double factor = shared * std::exp(options.sigma * noise[i]);
    point.pd[i] = grid.bus.pd[i] * factor;
    point.qd[i] = grid.bus.qd[i] * factor;
  }
  balance(grid, options.merit, point);
}

Grid ring_grid(int buses, std::uint64_t seed) {
  if (buses < 4) throw usage_error("a synthetic grid needs at least 4 buses, {} asked for", buses);
  Grid grid;
  grid.name = fmt::format("ring{}", buses);
  const auto n = static_cast<std::size_t>(buses);
  // Points in the unit square along a curve that visits its cells row by row: consecutive buses are neighbours, which
  // makes the ring; shortcuts to buses one row away make it a mesh.
  const auto row = static_cast<std::size_t>(std::ceil(std::sqrt(static_cast<double>(buses))));
  std::vector<std::array<double, 2>> place(n);
  for (std::size_t i = 0; i < n; ++i) {
    Stream random(seed, i, layout);
    const std::size_t y = i / row, x = y % 2 == 0 ? i % row : row - 1 - i % row;
    place[i] = {(static_cast<double>(x) + 0.8 * random.uniform()) / static_cast<double>(row),
                (static_cast<double>(y) + 0.8 * random.uniform()) / static_cast<double>(row)};
  }
  auto& bus = grid.bus;
  for (std::size_t i = 0; i < n; ++i) {
    bus.id.push_back(static_cast<std::int64_t>(i) + 1);
    Stream random(seed, i, voltages);
    // A slowly varying angle keeps differences along every line small wherever it leads: |gradient| times length.
    const double angle = 8 * std::sin(2 * std::numbers::pi * place[i][0]) *
                         std::cos(2 * std::numbers::pi * place[i][1]) *
                         std::min(1.0, 6 / std::sqrt(static_cast<double>(row)) + 0.2);
    bus.vm.push_back(1.01 + 0.02 * std::cos(3 * place[i][0] + 5 * place[i][1]) + 0.01 * (random.uniform() - 0.5));
    bus.va.push_back(angle + 0.2 * (random.uniform() - 0.5));
  }
  bus.type.assign(n, 1);
  for (auto* column : {&bus.pd, &bus.qd, &bus.gs, &bus.bs})
    column->assign(n, 0.0);
  bus.base_kv.assign(n, 220);
  bus.vmax.assign(n, 1.1);
  bus.vmin.assign(n, 0.9);
  bus.area.assign(n, 1);
  bus.zone.assign(n, 1);
  const auto connect = [&](std::size_t i, std::size_t j, std::uint64_t number, bool transformer) {
    Stream random(seed, number, lines);
    const double dx = place[i][0] - place[j][0], dy = place[i][1] - place[j][1];
    const double length = std::max(0.2, std::sqrt(dx * dx + dy * dy) * static_cast<double>(row));
    const double x = 0.02 * length * std::exp(0.3 * random.normal());
    const double ratio = 0.15 * std::exp(0.4 * random.normal());
    append_line(grid, bus.id[i], bus.id[j], transformer ? 0.02 * x : ratio * x, x, transformer ? 0 : 0.02 * length,
                transformer ? 0.97 + 0.06 * random.uniform() : 0);
  };
  for (std::size_t i = 0; i < n; ++i)
    connect(i, (i + 1) % n, i, false);
  // About a third of the buses has a second way, mostly to the row above.
  for (std::size_t i = 0; i < n; ++i) {
    Stream random(seed, i, tie_ends);
    if (random.uniform() > 0.35) continue;
    const std::size_t y = i / row, above = (y + 1) * row + (row - 1 - i % row);
    const std::size_t j = above < n ? above : (i + 2) % n;
    if (j != i && j != (i + 1) % n && i != (j + 1) % n) connect(i, j, n + i, random.uniform() < 0.1);
  }
  // Generators at every fifth bus; bus 1 is the reference.
  const auto is_generator = [](std::size_t i) { return i % 5 == 0; };
  for (std::size_t i = 0; i < n; ++i)
    if (is_generator(i)) bus.type[i] = i == 0 ? 3 : 2;
  for (std::size_t i = 0; i < n; ++i)
    if (is_generator(i)) {
      auto& gen = grid.gen;
      gen.bus.push_back(bus.id[i]);
      gen.pg.push_back(0);
      gen.qg.push_back(0);
      gen.vg.push_back(bus.vm[i]);
      gen.mbase.push_back(100);
      gen.status.push_back(1);
      gen.apf.push_back(0);
      for (auto* column : {&gen.qmax, &gen.pmax})
        column->push_back(0);
      for (auto* column : {&gen.qmin, &gen.pmin})
        column->push_back(0);
    }
  // The injections that these voltages need.
  const Network network = build_network(grid);
  const Problem problem = problem_of(network);
  std::vector<Complex> s(n);
  injections(problem, file_start(problem), s);
  std::size_t g = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const Complex power = s[network.node_of_bus[i]] * grid.base_mva;
    if (is_generator(i)) {
      // A load beside the generator, so that the grid has loads to vary.
      bus.pd[i] = 20;
      bus.qd[i] = 5;
      grid.gen.pg[g] = power.real() + bus.pd[i];
      grid.gen.qg[g] = power.imag() + bus.qd[i];
      grid.gen.pmax[g] = std::abs(grid.gen.pg[g]) * 1.5 + 50;
      grid.gen.pmin[g] = std::min(0.0, grid.gen.pg[g] * 1.5);
      grid.gen.qmax[g] = std::abs(grid.gen.qg[g]) * 1.5 + 50;
      grid.gen.qmin[g] = -grid.gen.qmax[g];
      ++g;
    } else {
      bus.pd[i] = -power.real();
      bus.qd[i] = -power.imag();
    }
  }
  return grid;
}

Grid super_grid(const Grid& grid, int copies, int ties, Ties kind, double r, double x, std::uint64_t seed,
                bool own_references) {
  if (copies < 1) throw usage_error("a super-grid needs at least one copy, {} asked for", copies);
  const std::int64_t stride = *std::ranges::max_element(grid.bus.id) + 1;
  if (stride > std::numeric_limits<std::int64_t>::max() / copies)
    throw usage_error("bus numbers of {} copies are too large", copies);
  Grid out = grid;
  const auto repeat = [copies](auto& column, const auto& source, auto&& shifted) {
    for (int c = 1; c < copies; ++c)
      for (const auto& value : source)
        column.push_back(shifted(value, c));
  };
  const auto same = [](const auto& value, int) { return value; };
  const auto renumbered = [stride](std::int64_t id, int c) { return id + c * stride; };
  repeat(out.bus.id, grid.bus.id, renumbered);
  repeat(out.bus.type, grid.bus.type,
         [&](std::int8_t type, int) { return type == 3 && !own_references ? std::int8_t{2} : type; });
  for (const auto member : {&Buses::pd, &Buses::qd, &Buses::gs, &Buses::bs, &Buses::vm, &Buses::va, &Buses::base_kv,
                            &Buses::vmax, &Buses::vmin})
    repeat(out.bus.*member, grid.bus.*member, same);
  repeat(out.bus.zone, grid.bus.zone, same);
  repeat(out.bus.zip, grid.bus.zip, same);
  repeat(out.bus.name, grid.bus.name, same);
  out.bus.area.clear();
  for (int c = 0; c < copies; ++c)
    out.bus.area.insert(out.bus.area.end(), grid.bus.size(), c + 1);
  repeat(out.gen.bus, grid.gen.bus, renumbered);
  for (const auto member : {&Generators::pg, &Generators::qg, &Generators::qmax, &Generators::qmin, &Generators::vg,
                            &Generators::mbase, &Generators::pmax, &Generators::pmin, &Generators::apf})
    repeat(out.gen.*member, grid.gen.*member, same);
  repeat(out.gen.status, grid.gen.status, same);
  repeat(out.branch.from, grid.branch.from, renumbered);
  repeat(out.branch.to, grid.branch.to, renumbered);
  for (const auto member : {&Branches::r, &Branches::x, &Branches::b, &Branches::rate_a, &Branches::rate_b,
                            &Branches::rate_c, &Branches::tap, &Branches::shift})
    repeat(out.branch.*member, grid.branch.*member, same);
  repeat(out.branch.status, grid.branch.status, same);
  repeat(out.branch.end_y, grid.branch.end_y, same);
  out.tables.clear();
  const int side = std::max(1, static_cast<int>(std::sqrt(static_cast<double>(copies))));
  for (int c = 0; c < copies; ++c)
    for (int k = 0; k < ties; ++k) {
      Stream random(seed, item(static_cast<std::size_t>(c), static_cast<std::size_t>(k)), tie_ends);
      int other = c;
      switch (kind) {
        case Ties::random:
          other = static_cast<int>(random.uniform() * copies);
          break;
        case Ties::ring:
          other = (c + 1) % copies;
          break;
        case Ties::grid2d:
          other = k % 2 == 0 ? ((c + 1) % side == 0 ? c : c + 1) : c + side;
          break;
        case Ties::tree:
          other = (c - 1) / 2;
          break;
      }
      if (other == c || other < 0 || other >= copies) continue;
      const auto pick = [&](int copy) {
        const auto row = static_cast<std::size_t>(random.uniform() * static_cast<double>(grid.bus.size()));
        return grid.bus.id[std::min(row, grid.bus.size() - 1)] + copy * stride;
      };
      // Between the same bus of both copies no power flows in the base state, so the super-grid keeps the grid's
      // solution for neighbours; random ties join different buses.
      const std::int64_t from = pick(c);
      const std::int64_t to = kind == Ties::random ? pick(other) : from + (other - c) * stride;
      append_line(out, from, to, r, x, 0);
    }
  return out;
}

}  // namespace fachwerk::dpf
