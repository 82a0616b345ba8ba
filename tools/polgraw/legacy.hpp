#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "search.hpp"

/// The community code's binary formats, as bytes. All little endian.
namespace fachwerk::polgraw::legacy {

std::vector<double> parse_doubles(std::string_view bytes);
std::string format_doubles(std::span<const double> values);

/// grid.bin: int32 fftpad, three 4x4 matrices. Throws bad input unless there are 388 bytes.
Grid parse_grid(std::string_view bytes, const std::string& name);
std::string format_grid(const Grid& grid);

/// DetSSB.bin: N (x, y, z) in units of dt with the Einstein delay on every axis, then phir and the obliquity.
/// `det` is rDet.bin: N (x, y, z), may be empty.
Ephemeris parse_ephemeris(std::string_view ssb, std::string_view det, std::size_t N, const std::string& name);
std::string format_det_ssb(const Ephemeris& ephemeris);
std::string format_r_det(const Ephemeris& ephemeris);
std::string format_r_ssb(const Ephemeris& ephemeris);

/// triggers_*.bin: five float64 each.
std::vector<Trigger> parse_triggers(std::string_view bytes, const std::string& name);
std::string format_triggers(std::span<const Trigger> triggers);

/// .coi: for each coincidence uint16 n, float32 means of omega, s, delta, alpha and rho, uint16 n frames, int32 n rows.
struct CoincidenceRecord {
  std::array<float, 5> mean{};
  std::vector<std::uint16_t> frames;
  std::vector<std::int32_t> rows;
};
std::vector<CoincidenceRecord> parse_coincidences(std::string_view bytes, const std::string& name);
std::string format_coincidences(std::span<const CoincidenceRecord> records);

/// A signal to be added: "amp H0" or "snr RHO", half size of the grid round it, reference frame, omega, s, delta,
/// alpha, and the four amplitudes that H0 multiplies. Text, one or several numbers a line.
struct SignalFile {
  bool is_snr = false;
  double value = 0;
  int gsize = 2, reference_frame = 1;
  double omega = 0, s = 0, delta = 0, alpha = 0;
  std::array<double, 4> amplitudes{};
};
SignalFile parse_signal(std::string_view text, const std::string& name);
std::string format_signal(const SignalFile& signal);

/// .vlines: f_lo f_hi omega_lo omega_hi note, % comments.
struct VetoLine {
  double f_lo = 0, f_hi = 0, omega_lo = 0, omega_hi = 0;
  std::string note;
};
std::vector<VetoLine> parse_veto_lines(std::string_view text, const std::string& name);
std::string format_veto_lines(std::span<const VetoLine> lines);

}  // namespace fachwerk::polgraw::legacy
