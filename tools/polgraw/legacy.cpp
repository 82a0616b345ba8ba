#include "legacy.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include "cli/error.hpp"

namespace fachwerk::polgraw::legacy {

static_assert(std::endian::native == std::endian::little);

std::vector<double> parse_doubles(std::string_view bytes) {
  std::vector<double> values(bytes.size() / sizeof(double));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(double));
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
  for (const auto* m : {&grid.M, &grid.fisher, &grid.unnormalised})
    if (!std::ranges::all_of(*m, [](double v) { return std::isfinite(v); }))
      throw bad_input("{}: expected finite matrices", name);
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
  for (const auto* numbers : {&values, &geo})
    for (std::size_t i = 0; i < numbers->size(); ++i)
      if (!std::isfinite((*numbers)[i]))
        throw bad_input("{}{}: value {} is not finite", name, numbers == &geo ? " with rDet.bin" : "", i);
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

namespace {

template <class T>
T take(std::string_view bytes, std::size_t& at, const std::string& name) {
  if (sizeof(T) > bytes.size() - at) throw bad_input("{}: truncated at byte {}", name, at);
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  at += sizeof(T);
  return value;
}

std::string_view next_word(std::string_view& text) {
  constexpr const char* blanks = " \t\r\n,;";
  const auto begin = std::min(text.find_first_not_of(blanks), text.size());
  text.remove_prefix(begin);
  const auto word = text.substr(0, text.find_first_of(blanks));
  text.remove_prefix(word.size());
  return word;
}

double number_of(std::string_view word, const std::string& name, const char* what) {
  double value = 0;
  const bool sign = word.starts_with('+');
  const auto [at, error] = std::from_chars(word.data() + (sign ? 1 : 0), word.data() + word.size(), value);
  if (word.empty() || error != std::errc{} || at != word.data() + word.size() || !std::isfinite(value))
    throw bad_input("{}: {}: expected a number, found \"{}\"", name, what, word);
  return value;
}

int integer_of(std::string_view word, const std::string& name, const char* what) {
  const double value = number_of(word, name, what);
  if (value != std::floor(value) || std::abs(value) > 1e9)
    throw bad_input("{}: {}: expected an integer, found \"{}\"", name, what, word);
  return static_cast<int>(value);
}

}  // namespace

std::vector<CoincidenceRecord> parse_coincidences(std::string_view bytes, const std::string& name) {
  std::vector<CoincidenceRecord> records;
  for (std::size_t at = 0; at < bytes.size();) {
    CoincidenceRecord record;
    const auto n = take<std::uint16_t>(bytes, at, name);
    for (float& value : record.mean) {
      value = take<float>(bytes, at, name);
      if (!std::isfinite(value)) throw bad_input("{}: record {}: not finite", name, records.size());
    }
    for (int k = 0; k < n; ++k)
      record.frames.push_back(take<std::uint16_t>(bytes, at, name));
    for (int k = 0; k < n; ++k)
      record.rows.push_back(take<std::int32_t>(bytes, at, name));
    records.push_back(std::move(record));
  }
  return records;
}

std::string format_coincidences(std::span<const CoincidenceRecord> records) {
  std::string bytes;
  const auto put = [&](auto value) { bytes.append(reinterpret_cast<const char*>(&value), sizeof value); };
  for (const auto& record : records) {
    put(static_cast<std::uint16_t>(record.frames.size()));
    for (const float value : record.mean)
      put(value);
    for (const auto frame : record.frames)
      put(frame);
    for (const auto row : record.rows)
      put(row);
  }
  return bytes;
}

SignalFile parse_signal(std::string_view text, const std::string& name) {
  SignalFile signal;
  const auto kind = next_word(text);
  if (kind != "amp" && kind != "snr") throw bad_input("{}: expected amp or snr, found \"{}\"", name, kind);
  signal.is_snr = kind == "snr";
  signal.value = number_of(next_word(text), name, "amplitude");
  signal.gsize = integer_of(next_word(text), name, "gsize");
  signal.reference_frame = integer_of(next_word(text), name, "reference frame");
  signal.omega = number_of(next_word(text), name, "omega");
  signal.s = number_of(next_word(text), name, "s");
  signal.delta = number_of(next_word(text), name, "delta");
  signal.alpha = number_of(next_word(text), name, "alpha");
  for (double& A : signal.amplitudes)
    A = number_of(next_word(text), name, "amplitudes A1 to A4");
  if (const auto more = next_word(text); !more.empty())
    throw bad_input("{}: expected 12 values, found \"{}\" after them", name, more);
  if (!(std::abs(signal.delta) <= pi / 2))
    throw bad_input("{}: delta is {}, expected -pi/2 to pi/2", name, signal.delta);
  return signal;
}

std::string format_signal(const SignalFile& s) {
  std::string text = fmt::format("{} {}\n{}\n{}\n{}\n{}\n{}\n{}\n", s.is_snr ? "snr" : "amp", s.value, s.gsize,
                                 s.reference_frame, s.omega, s.s, s.delta, s.alpha);
  for (const double A : s.amplitudes)
    text += fmt::format("{}\n", A);
  return text;
}

std::vector<VetoLine> parse_veto_lines(std::string_view text, const std::string& name) {
  std::vector<VetoLine> lines;
  for (int number = 1; !text.empty(); ++number) {
    auto row = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), row.size() + 1));
    row = row.substr(0, row.find('%'));
    if (row.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string place = fmt::format("{}: line {}", name, number);
    VetoLine line;
    for (double* value : {&line.f_lo, &line.f_hi, &line.omega_lo, &line.omega_hi})
      *value = number_of(next_word(row), place, "f_lo f_hi omega_lo omega_hi");
    if (line.f_lo > line.f_hi || line.omega_lo > line.omega_hi)
      throw bad_input("{}: expected the lower edge first", place);
    const auto begin = std::min(row.find_first_not_of(" \t"), row.size());
    line.note = row.substr(begin, row.find_last_not_of(" \t\r") + 1 - begin);
    lines.push_back(std::move(line));
  }
  return lines;
}

std::string format_veto_lines(std::span<const VetoLine> lines) {
  std::string text = "% f_lo f_hi omega_lo omega_hi note\n";
  for (const auto& line : lines)
    text += fmt::format("{:.9f} {:.9f} {:.12g} {:.12g} {}\n", line.f_lo, line.f_hi, line.omega_lo, line.omega_hi,
                        line.note);
  return text;
}

}  // namespace fachwerk::polgraw::legacy
