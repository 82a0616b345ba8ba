#include "coincidences.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <numeric>

#include "cell_sort.hpp"
#include "cli/error.hpp"
#include "lattice.hpp"

namespace fachwerk::polgraw {

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

namespace {

/// Where the cells' four numbers and the frames' places lie in a key.
struct KeyLayout {
  std::array<std::int32_t, 4> lowest{};
  std::array<int, 5> bits{};
  std::vector<int> frames;  ///< increasing

  int total() const { return std::accumulate(bits.begin(), bits.end(), 0); }
  std::size_t place(int frame) const {
    return static_cast<std::size_t>(std::ranges::lower_bound(frames, frame) - frames.begin());
  }
  std::size_t place_of(const PackedCell& c) const { return c.low & ((std::uint64_t{1} << bits[4]) - 1); }
};

Cell cell_of(const Candidates& c, const std::array<int, 4>& shift) {
  Cell cell;
  for (std::size_t j = 0; j < 4; ++j)
    cell[j] = static_cast<std::int32_t>(std::lround(c.z[j] + 0.5 * shift[j]));
  return cell;
}

KeyLayout layout_of(std::span<const Candidates> candidates, const std::array<int, 4>& shift) {
  KeyLayout layout;
  Cell highest;
  layout.lowest.fill(std::numeric_limits<std::int32_t>::max());
  highest.fill(std::numeric_limits<std::int32_t>::lowest());
  for (const auto& c : candidates) {
    const auto cell = cell_of(c, shift);
    for (std::size_t j = 0; j < 4; ++j) {
      layout.lowest[j] = std::min(layout.lowest[j], cell[j]);
      highest[j] = std::max(highest[j], cell[j]);
    }
    if (layout.frames.empty() || layout.frames.back() != c.frame) layout.frames.push_back(c.frame);
  }
  std::ranges::sort(layout.frames);
  layout.frames.erase(std::unique(layout.frames.begin(), layout.frames.end()), layout.frames.end());
  for (std::size_t j = 0; j < 4; ++j)
    layout.bits[j] = std::bit_width(static_cast<std::uint64_t>(std::int64_t{highest[j]} - layout.lowest[j]));
  layout.bits[4] = std::bit_width(layout.frames.size());
  if (layout.total() > 128) throw bad_input("cells and frames need more than 128 bits: the scale is too small");
  return layout;
}

PackedCell pack(const Candidates& c, const std::array<int, 4>& shift, const KeyLayout& layout) {
  PackedCell packed;
  const auto append = [&](std::uint64_t value, int bits) {
    if (bits == 0) return;
    packed.high = packed.high << bits | packed.low >> (64 - bits);
    packed.low = packed.low << bits | value;
  };
  const auto cell = cell_of(c, shift);
  for (std::size_t j = 0; j < 4; ++j)
    append(static_cast<std::uint64_t>(std::int64_t{cell[j]} - layout.lowest[j]), layout.bits[j]);
  append(layout.place(c.frame), layout.bits[4]);
  return packed;
}

/// The mean of the loudest triggers of each frame in a cell.
Coincidence mean_of(std::span<const Candidates> candidates, std::span<const std::uint32_t> loudest, const Cell& cell) {
  Coincidence group;
  group.cell = cell;
  double squares = 0, east = 0, north = 0;
  for (const auto index : loudest) {
    const auto& c = candidates[index];
    group.members.push_back({c.frame, c.row});
    group.omega += c.trigger.omega;
    group.s += c.trigger.s;
    group.delta += c.trigger.delta;
    north += std::cos(c.trigger.alpha);
    east += std::sin(c.trigger.alpha);
    squares += c.snr * c.snr;
  }
  const auto frames = static_cast<double>(loudest.size());
  group.omega /= frames;
  group.s /= frames;
  group.delta /= frames;
  group.alpha = std::atan2(east, north);
  if (group.alpha < 0) group.alpha += 2 * pi;
  group.rho_total = std::sqrt(squares);
  return group;
}

}  // namespace

ShiftResult find_coincidences(std::span<const Candidates> candidates, std::array<int, 4> shift, int least) {
  if (candidates.size() >= std::numeric_limits<std::uint32_t>::max())
    throw bad_input("{} candidates: expected fewer than 2^32", candidates.size());
  if (candidates.empty()) return {shift, {}, {}};
  const auto layout = layout_of(candidates, shift);
  std::vector<PackedCell> cells(candidates.size());
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    cells[i] = pack(candidates[i], shift, layout);
    cells[i].index = static_cast<std::uint32_t>(i);
  }
  radix_sort(cells, layout.total());
  ShiftResult result;
  result.shift = shift;
  for (const int frame : layout.frames)
    result.frames.push_back({frame, 0, 0});
  const auto frame_bits = layout.bits[4];
  const auto same_cell = [&](const PackedCell& a, const PackedCell& b) {
    return a.high == b.high && a.low >> frame_bits == b.low >> frame_bits;
  };
  // In a cell triggers come by frame, those of a frame in their own order. Only cells hit by enough frames are looked
  // at closer.
  std::vector<std::uint32_t> loudest;
  for (std::size_t begin = 0; begin < cells.size();) {
    std::size_t end = begin;
    int hit = 0;
    for (; end < cells.size() && same_cell(cells[begin], cells[end]); ++end) {
      auto& count = result.frames[layout.place_of(cells[end])];
      ++count[1];
      if (end > begin && cells[end].same_key(cells[end - 1])) continue;
      ++count[2];
      ++hit;
    }
    if (hit >= least) {
      loudest.clear();
      for (std::size_t i = begin; i < end; ++i) {
        const bool next = i == begin || !cells[i].same_key(cells[i - 1]);
        if (next)
          loudest.push_back(cells[i].index);
        else if (candidates[cells[i].index].snr > candidates[loudest.back()].snr)
          loudest.back() = cells[i].index;
      }
      result.coincidences.push_back(mean_of(candidates, loudest, cell_of(candidates[loudest[0]], shift)));
    }
    begin = end;
  }
  std::ranges::stable_sort(result.coincidences, [](const Coincidence& a, const Coincidence& b) {
    return a.members.size() != b.members.size() ? a.members.size() > b.members.size() : a.rho_total > b.rho_total;
  });
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
