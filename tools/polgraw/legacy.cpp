#include "legacy.hpp"

#include <bit>
#include <cstring>

#include "cli/error.hpp"

namespace fachwerk::polgraw::legacy {

static_assert(std::endian::native == std::endian::little);

std::vector<double> parse_doubles(std::string_view bytes) {
  std::vector<double> values(bytes.size() / sizeof(double));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(double));
  return values;
}

std::string format_doubles(std::span<const double> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

Grid parse_grid(std::string_view bytes, const std::string& name) {
  if (bytes.size() != 388) throw bad_input("{}: expected a grid.bin of 388 bytes, found {}", name, bytes.size());
  Grid grid;
  std::int32_t fftpad = 0;
  std::memcpy(&fftpad, bytes.data(), 4);
  grid.fftpad = fftpad;
  if (fftpad < 1 || fftpad > 64 || (fftpad & (fftpad - 1)) != 0)
    throw bad_input("{}: expected fftpad 1, 2, 4, ..., found {}", name, fftpad);
  std::memcpy(grid.M.data(), bytes.data() + 4, 128);
  std::memcpy(grid.fisher.data(), bytes.data() + 132, 128);
  std::memcpy(grid.unnormalised.data(), bytes.data() + 260, 128);
  return grid;
}

std::string format_grid(const Grid& grid) {
  std::string bytes(4, '\0');
  const std::int32_t fftpad = grid.fftpad;
  std::memcpy(bytes.data(), &fftpad, 4);
  return bytes + format_doubles(grid.M) + format_doubles(grid.fisher) + format_doubles(grid.unnormalised);
}

Ephemeris parse_ephemeris(std::string_view ssb, std::string_view det, std::size_t N, const std::string& name) {
  if (ssb.size() != (3 * N + 2) * sizeof(double))
    throw bad_input("{}: expected 3 N + 2 = {} float64 for N = {} samples, found {} bytes", name, 3 * N + 2, N,
                    ssb.size());
  if (!det.empty() && det.size() != 3 * N * sizeof(double))
    throw bad_input("{}: expected 3 N = {} float64 in rDet.bin, found {} bytes", name, 3 * N, det.size());
  Ephemeris ephemeris;
  const auto values = parse_doubles(ssb), geo = parse_doubles(det);
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i])) throw bad_input("{}: value {} is not finite", name, i);
  ephemeris.position.resize(N);
  for (std::size_t i = 0; i < N; ++i)
    ephemeris.position[i] = {values[3 * i], values[3 * i + 1], values[3 * i + 2]};
  if (!geo.empty()) {
    ephemeris.detector.resize(N);
    for (std::size_t i = 0; i < N; ++i)
      ephemeris.detector[i] = {geo[3 * i], geo[3 * i + 1], geo[3 * i + 2]};
  }
  ephemeris.phir = values[3 * N];
  ephemeris.obliquity = values[3 * N + 1];
  return ephemeris;
}

namespace {
std::string format_vectors(std::span<const Vector3> vectors) {
  return {reinterpret_cast<const char*>(vectors.data()), vectors.size_bytes()};
}
Vector3 on_every_axis(const Ephemeris& e, std::size_t i) {
  const double delay = e.einstein.empty() ? 0 : e.einstein[i];
  return {e.position[i][0] + delay, e.position[i][1] + delay, e.position[i][2] + delay};
}
}  // namespace

std::string format_det_ssb(const Ephemeris& ephemeris) {
  std::vector<Vector3> total(ephemeris.position.size());
  for (std::size_t i = 0; i < total.size(); ++i)
    total[i] = on_every_axis(ephemeris, i);
  const std::array<double, 2> tail = {ephemeris.phir, ephemeris.obliquity};
  return format_vectors(total) + format_doubles(tail);
}

std::string format_r_det(const Ephemeris& ephemeris) {
  return format_vectors(ephemeris.detector);
}

std::string format_r_ssb(const Ephemeris& ephemeris) {
  std::vector<Vector3> earth(ephemeris.detector.size());
  for (std::size_t i = 0; i < earth.size(); ++i) {
    const auto total = on_every_axis(ephemeris, i);
    for (std::size_t k = 0; k < 3; ++k)
      earth[i][k] = total[k] - ephemeris.detector[i][k];
  }
  return format_vectors(earth);
}

std::vector<Trigger> parse_triggers(std::string_view bytes, const std::string& name) {
  if (bytes.size() % 40 != 0)
    throw bad_input("{}: expected records of 5 float64, found {} bytes, not a multiple of 40", name, bytes.size());
  const auto values = parse_doubles(bytes);
  std::vector<Trigger> triggers(values.size() / 5);
  for (std::size_t i = 0; i < triggers.size(); ++i) {
    const double* v = values.data() + 5 * i;
    triggers[i] = {.omega = v[0], .s = v[1], .delta = v[2], .alpha = v[3], .snr = v[4]};
    for (int k = 0; k < 5; ++k)
      if (!std::isfinite(v[k])) throw bad_input("{}: record {}, column {}: not finite", name, i, k);
  }
  return triggers;
}

std::string format_triggers(std::span<const Trigger> triggers) {
  std::vector<double> values;
  values.reserve(5 * triggers.size());
  for (const auto& t : triggers)
    values.insert(values.end(), {t.omega, t.s, t.delta, t.alpha, t.snr});
  return format_doubles(values);
}

}  // namespace fachwerk::polgraw::legacy
