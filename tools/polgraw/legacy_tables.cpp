#include "legacy_tables.hpp"

namespace fachwerk::polgraw {

void write_columns(h5::Output& file, const std::string& root, const CoincidenceColumns& columns) {
  file.column(root + "/ncoin", columns.ncoin,
              {.units = "1", .long_name = "frames in coincidence", .dims = {"coincidence"}});
  file.write(root + "/mean", columns.mean, {columns.ncoin.size(), 5},
             {.units = "",
              .long_name = "means of omega, s, delta, alpha at the reference time; total rho",
              .dims = {"coincidence", "parameter"}});
  file.column(root + "/frame_ptr", columns.pointer,
              {.units = "1", .long_name = "first member in frame and row", .dims = {"coincidence_bound"}});
  file.column(root + "/frame", columns.frame, {.units = "1", .long_name = "frames of the members", .dims = {"member"}});
  file.column(root + "/row", columns.row,
              {.units = "1", .long_name = "rows of the members among the frame's triggers", .dims = {"member"}});
}

void write_records(h5::Output& file, const std::string& shift, const std::vector<legacy::CoincidenceRecord>& records) {
  const std::string root = "/shift_" + shift;
  CoincidenceColumns columns;
  auto& [ncoin, frame, pointer, row, mean] = columns;
  for (const auto& r : records) {
    ncoin.push_back(static_cast<std::int32_t>(r.frames.size()));
    mean.insert(mean.end(), r.mean.begin(), r.mean.end());
    frame.insert(frame.end(), r.frames.begin(), r.frames.end());
    row.insert(row.end(), r.rows.begin(), r.rows.end());
    pointer.push_back(static_cast<std::int32_t>(frame.size()));
  }
  write_columns(file, root, columns);
  file.group("/summary");
  file.attribute("/summary", "best_shift", shift);
}

std::vector<legacy::CoincidenceRecord> read_records(const h5::Node& file, std::string shift) {
  if (shift.empty()) shift = file.text("/summary", "best_shift").value_or("0000");
  const std::string root = "/shift_" + shift;
  if (!file.is_dataset(root + "/mean")) throw bad_input("{}: expected coincidences of shift {}", file.name(), shift);
  const auto mean = file.read<double>(root + "/mean", {.shape = {0, 5}, .finite = true});
  const std::size_t n = mean.shape[0];
  const auto pointer = file.column<std::int32_t>(root + "/frame_ptr", n + 1);
  const auto frame = file.column<std::int32_t>(root + "/frame");
  const auto row = file.column<std::int64_t>(root + "/row", frame.size());
  std::vector<legacy::CoincidenceRecord> records(n);
  for (std::size_t i = 0; i < n; ++i) {
    if (pointer[i] < 0 || pointer[i] > pointer[i + 1] || static_cast<std::size_t>(pointer[i + 1]) > frame.size())
      throw bad_input("{}:{}/frame_ptr: row {}: expected rising numbers up to {}", file.name(), root, i, frame.size());
    for (std::size_t k = 0; k < 5; ++k)
      records[i].mean[k] = static_cast<float>(mean.values[5 * i + k]);
    for (auto k = static_cast<std::size_t>(pointer[i]); k < static_cast<std::size_t>(pointer[i + 1]); ++k) {
      records[i].frames.push_back(static_cast<std::uint16_t>(frame[k]));
      records[i].rows.push_back(static_cast<std::int32_t>(row[k]));
    }
  }
  return records;
}

void write_signal(h5::Output& file, const legacy::SignalFile& s) {
  file.column("/signal/parameters", std::vector<double>{s.omega, s.s, s.delta, s.alpha},
              {.units = "", .long_name = "omega, s, delta, alpha in the reference frame", .dims = {"parameter"}});
  file.column("/signal/amplitudes", std::vector<double>(s.amplitudes.begin(), s.amplitudes.end()),
              {.units = "1", .long_name = "A1..A4 for h0 = 1", .dims = {"amplitude"}});
  file.attribute("/signal", s.is_snr ? "snr" : "amp", s.value);
  file.attribute("/signal", "gsize", s.gsize);
  file.attribute("/signal", "reference_frame", s.reference_frame);
}

legacy::SignalFile read_signal(const h5::Node& file) {
  const auto p = file.column<double>("/signal/parameters", 4, true),
             A = file.column<double>("/signal/amplitudes", 4, true);
  legacy::SignalFile s;
  const auto snr = file.number("/signal", "snr"), amp = file.number("/signal", "amp");
  if (!snr && !amp) throw bad_input("{}:/signal: expected the attribute amp or snr", file.name());
  s.is_snr = snr.has_value();
  s.value = snr ? *snr : *amp;
  s.gsize = static_cast<int>(file.number("/signal", "gsize").value_or(2));
  s.reference_frame = static_cast<int>(file.number("/signal", "reference_frame").value_or(1));
  s.omega = p[0];
  s.s = p[1];
  s.delta = p[2];
  s.alpha = p[3];
  std::ranges::copy(A, s.amplitudes.begin());
  return s;
}

void write_veto_lines(h5::Output& file, const std::vector<legacy::VetoLine>& lines) {
  std::vector<double> values;
  std::vector<std::string> notes;
  for (const auto& line : lines) {
    values.insert(values.end(), {line.f_lo, line.f_hi, line.omega_lo, line.omega_hi});
    notes.push_back(line.note);
  }
  file.write("/vetoes/interval", values, {lines.size(), 4},
             {.units = "", .long_name = "f_lo, f_hi (Hz), omega_lo, omega_hi", .dims = {"interval", "edge"}});
  file.strings("/vetoes/note", notes, {.units = "", .long_name = "what it is", .dims = {"interval"}});
}

std::vector<legacy::VetoLine> read_veto_lines(const h5::Node& file) {
  const auto values = file.read<double>("/vetoes/interval", {.shape = {0, 4}, .finite = true});
  const auto notes = file.strings("/vetoes/note", values.shape[0]);
  std::vector<legacy::VetoLine> lines;
  for (std::size_t i = 0; i < values.shape[0]; ++i) {
    const double* v = values.values.data() + 4 * i;
    lines.push_back({v[0], v[1], v[2], v[3], notes[i]});
  }
  return lines;
}

}  // namespace fachwerk::polgraw
