#include "coincidences.hpp"

#include <algorithm>

#include "cli/error.hpp"
#include "lattice.hpp"

namespace fachwerk::polgraw {

namespace {

/// Cells as one sortable key: the order of their four numbers.
struct Key {
  std::uint64_t high = 0, low = 0;
  auto operator<=>(const Key&) const = default;
};
Key key_of(const Cell& cell) {
  const auto biased = [&](std::size_t k) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(cell[k]) ^ 0x80000000U);
  };
  return {biased(0) << 32 | biased(1), biased(2) << 32 | biased(3)};
}

}  // namespace

Matrix4 cell_axes(const Grid& reference, std::size_t N, bool grid_basis) {
  if (grid_basis) {
    // z^T M^-1 in lattice coordinates; M un-normalised, lower triangular.
    Matrix4 M = reference.M;
    const auto n = static_cast<double>(N);
    const std::array<double, 4> scale{n, n * n, n, n};
    for (std::size_t i = 0; i < 4; ++i)
      for (std::size_t k = 0; k < 4; ++k)
        M[4 * i + k] *= scale[k];
    return inverse_lower(M);
  }
  auto [values, vectors] = symmetric_eigen(reference.fisher);
  if (!(values[0] > 0)) throw bad_input("the reference grid's Fisher matrix is not positive definite");
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t k = 0; k < 4; ++k)
      vectors[4 * i + k] *= std::sqrt(values[k]);
  return vectors;
}

std::vector<Candidates> at_reference(std::span<const Trigger> triggers, std::span<const std::size_t> rows, int frame,
                                     double samples, const Matrix4& axes, const CoincidenceSettings& settings) {
  std::vector<Candidates> kept;
  const auto n = static_cast<double>(settings.N);
  const Exclusions outside{{}, settings.narrowdown};
  for (std::size_t i = 0; i < triggers.size(); ++i) {
    Trigger t = triggers[i];
    if (!(t.snr > settings.snr_cut) || outside.rejects(t.omega)) continue;
    if (settings.hemisphere != 0 && t.hemisphere != settings.hemisphere) continue;
    t.omega += 2 * t.s * samples;
    if (!(t.omega > 0 && t.omega < pi)) continue;
    const auto ecliptic = to_ecliptic(make_sky(t.alpha, t.delta), settings.obliquity);
    const std::array<double, 4> point{t.omega * n, t.s * n * n, settings.oms * n * ecliptic.be1,
                                      settings.oms * n * ecliptic.be2};
    Candidates c{frame, t.snr, t, {}, rows[i]};
    for (std::size_t j = 0; j < 4; ++j) {
      for (std::size_t m = 0; m < 4; ++m)
        c.z[j] += point[m] * axes[4 * m + j];
      c.z[j] /= settings.scale[j];
      if (std::abs(c.z[j]) > 1e9)
        throw bad_input("trigger {}: its cell number is out of range: the scale is too small", rows[i]);
    }
    kept.push_back(c);
  }
  return kept;
}

ShiftResult find_coincidences(std::span<const Candidates> candidates, std::array<int, 4> shift, int least) {
  struct Entry {
    Key key;
    std::uint32_t index;
  };
  std::vector<Entry> entries(candidates.size());
  std::vector<Cell> cells(candidates.size());
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    for (std::size_t j = 0; j < 4; ++j)
      cells[i][j] = static_cast<std::int32_t>(std::lround(candidates[i].z[j] + 0.5 * shift[j]));
    entries[i] = {key_of(cells[i]), static_cast<std::uint32_t>(i)};
  }
  // In a cell: by frame, the loudest first (the earlier one among equals).
  std::ranges::sort(entries, [&](const Entry& a, const Entry& b) {
    if (a.key != b.key) return a.key < b.key;
    const auto &x = candidates[a.index], &y = candidates[b.index];
    if (x.frame != y.frame) return x.frame < y.frame;
    return x.snr != y.snr ? x.snr > y.snr : a.index < b.index;
  });
  ShiftResult result;
  result.shift = shift;
  const auto count = [&](int frame) -> std::array<std::int64_t, 3>& {
    auto found = std::ranges::find(result.frames, frame, [](const auto& f) { return f[0]; });
    if (found != result.frames.end()) return *found;
    result.frames.push_back({frame, 0, 0});
    return result.frames.back();
  };
  for (const auto& c : candidates)
    ++count(c.frame)[1];
  for (std::size_t begin = 0; begin < entries.size();) {
    std::size_t end = begin;
    Coincidence group;
    double squares = 0, east = 0, north = 0;
    while (end < entries.size() && entries[end].key == entries[begin].key) {
      const auto& c = candidates[entries[end].index];
      ++end;
      if (!group.members.empty() && group.members.back().frame == c.frame) continue;
      ++count(c.frame)[2];
      group.members.push_back({c.frame, c.row});
      group.omega += c.trigger.omega;
      group.s += c.trigger.s;
      group.delta += c.trigger.delta;
      north += std::cos(c.trigger.alpha);
      east += std::sin(c.trigger.alpha);
      squares += c.snr * c.snr;
    }
    const auto frames = static_cast<double>(group.members.size());
    if (static_cast<int>(group.members.size()) >= least) {
      group.cell = cells[entries[begin].index];
      group.omega /= frames;
      group.s /= frames;
      group.delta /= frames;
      group.alpha = std::atan2(east, north);
      if (group.alpha < 0) group.alpha += 2 * pi;
      group.rho_total = std::sqrt(squares);
      result.coincidences.push_back(std::move(group));
    }
    begin = end;
  }
  std::ranges::stable_sort(result.coincidences, [](const Coincidence& a, const Coincidence& b) {
    return a.members.size() != b.members.size() ? a.members.size() > b.members.size() : a.rho_total > b.rho_total;
  });
  std::ranges::sort(result.frames);
  return result;
}

std::vector<double> poisson_binomial(std::span<const double> eps) {
  std::vector<double> p(eps.size() + 1);
  p[0] = 1;
  for (std::size_t l = 0; l < eps.size(); ++l)
    for (std::size_t n = l + 2; n-- > 0;)
      p[n] = p[n] * (1 - eps[l]) + (n > 0 ? p[n - 1] * eps[l] : 0);
  return p;
}

double cell_count(const Matrix4& fisher, const Band& band, double veto_fraction, double fdot_min, double fdot_max,
                  const std::array<double, 4>& scale) {
  const double To = static_cast<double>(band.N) * band.dt, lo = band.fpo, hi = band.fpo + band.width();
  const double space =
      16.0 / 3 * std::pow(pi, 5) * std::pow(To, 5) * (fdot_max / 2 + fdot_min / 2) * (hi * hi * hi - lo * lo * lo);
  const double cell = pi * pi / 2 / std::sqrt(determinant(fisher));
  return std::round((1 - veto_fraction) * space / cell / (scale[0] * scale[1] * scale[2] * scale[3]));
}

FalseAlarm false_alarm(double cells, std::span<const std::int64_t> unique, int n, const FalseAlarmSettings& settings) {
  const auto chance = [&](double count) {
    std::vector<double> eps;
    for (const auto k : unique) {
      const auto hits = static_cast<double>(k);
      eps.push_back(std::min(1.0, settings.exact_hits ? -std::expm1(hits * std::log1p(-1 / count)) : hits / count));
    }
    const auto p = poisson_binomial(eps);
    double sum = 0;
    for (std::size_t k = p.size(); k-- > static_cast<std::size_t>(n);)
      sum += settings.truncated && k != static_cast<std::size_t>(n) ? 0 : p[k];
    return sum;
  };
  const auto in_any_cell = [&](double p) { return -std::expm1(cells * std::log1p(-std::clamp(p, 0.0, 1.0))); };
  if (!settings.shifts) return {cells, in_any_cell(chance(cells))};
  const double c1 = chance(cells), c2 = chance(2 * cells), c4 = chance(4 * cells), c8 = chance(8 * cells),
               c16 = chance(16 * cells);
  // Half-cell shifts along any of the four axes, without counting one coincidence twice.
  const double p = 16 * c1 - (4 * c2 + 6 * c4 + 4 * c8 + c16) - (6 * c4 + 4 * c8 + c16) - (4 * c8 + c16) - c16;
  return {cells, in_any_cell(p)};
}

}  // namespace fachwerk::polgraw
