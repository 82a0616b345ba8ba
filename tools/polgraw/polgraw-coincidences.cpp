#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "cli/command.hpp"
#include "coincidences.hpp"
#include "compute/parallel.hpp"
#include "dataset.hpp"
#include "io/bytes.hpp"
#include "legacy_tables.hpp"

using namespace fachwerk;
using namespace fachwerk::polgraw;

namespace {

struct Options {
  std::vector<std::string> inputs, shifts = {"all"};
  std::string output, grid, basis = "fisher", compat = "none", coi, lines;
  std::optional<std::int64_t> reference;
  std::vector<double> scale = {4, 4, 4, 4};
  int least = 3, hemisphere = 0, multiplicity = 0;
  double snr_cut = 6, narrowdown = 0.5, veto_fraction = 0, threshold = 0.1, fdot_min = 1e-9, fdot_max = 1e-8;
  bool fap = false;
};

std::vector<std::array<int, 4>> shifts_of(const std::vector<std::string>& names) {
  std::vector<std::array<int, 4>> shifts;
  if (names.size() == 1 && names[0] == "all") {
    for (int code = 0; code < 16; ++code)
      shifts.push_back({code >> 3 & 1, code >> 2 & 1, code >> 1 & 1, code & 1});
    return shifts;
  }
  for (const auto& name : names) {
    if (name.size() != 4 || name.find_first_not_of("01") != std::string::npos)
      throw usage_error("--shifts: expected all or words such as 0101, found \"{}\"", name);
    shifts.push_back({name[0] - '0', name[1] - '0', name[2] - '0', name[3] - '0'});
  }
  return shifts;
}

std::string name_of(const std::array<int, 4>& s) {
  return fmt::format("{}{}{}{}", s[0], s[1], s[2], s[3]);
}

void write_shift(h5::Output& file, const ShiftResult& r) {
  const std::string root = "/shift_" + name_of(r.shift);
  const std::size_t n = r.coincidences.size();
  std::vector<std::int32_t> cell;
  CoincidenceColumns columns;
  auto& [ncoin, frame, pointer, row, mean] = columns;
  for (const auto& c : r.coincidences) {
    cell.insert(cell.end(), c.cell.begin(), c.cell.end());
    ncoin.push_back(static_cast<std::int32_t>(c.members.size()));
    mean.insert(mean.end(), {c.omega, c.s, c.delta, c.alpha, c.rho_total});
    for (const auto& m : c.members) {
      frame.push_back(m.frame);
      row.push_back(static_cast<std::int64_t>(m.row));
    }
    pointer.push_back(static_cast<std::int32_t>(frame.size()));
  }
  file.write(root + "/cell", cell, {n, 4},
             {.units = "1", .long_name = "cell numbers", .dims = {"coincidence", "axis"}});
  write_columns(file, root, columns);
}

std::string legacy_records(const ShiftResult& r) {
  std::vector<legacy::CoincidenceRecord> records;
  for (const auto& c : r.coincidences) {
    legacy::CoincidenceRecord record{{static_cast<float>(c.omega), static_cast<float>(c.s), static_cast<float>(c.delta),
                                      static_cast<float>(c.alpha), static_cast<float>(c.rho_total)},
                                     {},
                                     {}};
    for (const auto& m : c.members) {
      record.frames.push_back(static_cast<std::uint16_t>(m.frame));
      record.rows.push_back(static_cast<std::int32_t>(m.row));
    }
    records.push_back(std::move(record));
  }
  return legacy::format_coincidences(records);
}

/// The community code's line of one shift: band_hemisphere shift fpo frames coincidence omega s delta alpha rho, then
/// frame, triggers in band and occupied cells of each frame, then the frames of the best coincidence.
std::string summary_line(const ShiftResult& r, const Band& band, std::int64_t number, int hemisphere) {
  const Coincidence none;
  const auto& best = r.coincidences.empty() ? none : r.coincidences.front();
  auto line = fmt::format("{:04d}_{} {} {:.6f} {} {} {:.8e} {:.8e} {:.8e} {:.8e} {:.6f}", number, hemisphere,
                          name_of(r.shift), band.fpo, r.frames.size(), best.members.size(), best.omega, best.s,
                          best.delta, best.alpha, best.rho_total);
  for (const auto& f : r.frames)
    line += fmt::format(" {} {} {}", f[0], f[1], f[2]);
  for (const auto& m : best.members)
    line += fmt::format(" {}", m.frame);
  return line + "\n";
}

void run(const Options& o, cli::Session& session) {
  if (o.scale.size() != 4 || std::ranges::any_of(o.scale, [](double s) { return !(s > 0); }))
    throw usage_error("--scale: expected four numbers above 0");
  if (o.grid.empty()) throw usage_error("--reference-grid is needed");
  const auto shifts = shifts_of(o.shifts);
  const Grid grid = o.grid.ends_with(".bin") ? legacy::parse_grid(formats::File::open(o.grid).text(), o.grid)
                                             : read_sky_grid(h5::Input::open(o.grid));
  // All frames, whatever the files they come in. Rows count the triggers of a frame in the order of the inputs.
  std::map<std::int64_t, std::vector<Trigger>> frames;
  std::map<std::int64_t, TriggerSource> sources;
  for (const auto& name : o.inputs) {
    const auto file = h5::Input::open(name);
    file.require_kind({"gw-triggers"});
    const auto set = read_triggers(file);
    for (std::size_t s = 0; s < set.sources.size(); ++s) {
      const auto& source = set.sources[s];
      const auto [place, fresh] = sources.emplace(source.info.frame, source);
      const auto& first = sources.begin()->second;
      if (source.band.fpo != first.band.fpo || source.band.dt != first.band.dt || source.band.N != first.band.N)
        throw bad_input("{}: frame {} is of another band (fpo {}, dt {}, N {}; the first has {}, {}, {})", name,
                        source.info.frame, source.band.fpo, source.band.dt, source.band.N, first.band.fpo,
                        first.band.dt, first.band.N);
      if (!fresh && place->second.info.gps_start != source.info.gps_start)
        throw bad_input("{}: frame {} starts at GPS {}, in another input at {}", name, source.info.frame,
                        source.info.gps_start, place->second.info.gps_start);
      frames[source.info.frame];
    }
    for (std::size_t i = 0; i < set.triggers.size(); ++i)
      frames[set.sources[static_cast<std::size_t>(set.source[i])].info.frame].push_back(set.triggers[i]);
  }
  std::vector<ShiftResult> results(shifts.size());
  Band band;
  std::int64_t reference_frame = o.reference.value_or(0);
  std::vector<Candidates> candidates;
  if (!sources.empty()) {
    band = sources.begin()->second.band;
    check_grid(grid, band, o.grid);
    reference_frame = o.reference.value_or(sources.begin()->first);
    const auto found = sources.find(reference_frame);
    const double t0 = found != sources.end() ? found->second.info.gps_start
                                             : sources.begin()->second.info.gps_start +
                                                   static_cast<double>(reference_frame - sources.begin()->first) *
                                                       static_cast<double>(band.N) * band.dt;
    CoincidenceSettings settings;
    std::ranges::copy(o.scale, settings.scale.begin());
    settings.snr_cut = o.snr_cut;
    settings.narrowdown = o.narrowdown;
    settings.hemisphere = o.hemisphere;
    settings.N = band.N;
    settings.oms = band.oms();
    settings.obliquity = sources.begin()->second.obliquity;
    const auto axes = cell_axes(grid, band.N, o.basis == "grid");
    // Without GPS times (legacy files) frames follow one another.
    const bool timed = std::ranges::all_of(sources, [](const auto& s) { return s.second.info.gps_start > 0; });
    for (const auto& [frame, triggers] : frames) {
      const auto& source = sources.at(frame);
      const double samples = timed ? (t0 - source.info.gps_start) / band.dt
                                   : static_cast<double>(reference_frame - frame) * static_cast<double>(band.N);
      std::vector<std::size_t> rows(triggers.size());
      for (std::size_t i = 0; i < rows.size(); ++i)
        rows[i] = i;
      const auto more = at_reference(triggers, rows, static_cast<int>(frame), samples, axes, settings);
      candidates.insert(candidates.end(), more.begin(), more.end());
    }
  }
  compute::parallel_tasks(shifts.size(),
                          [&](std::size_t k) { results[k] = find_coincidences(candidates, shifts[k], o.least); });

  auto file = h5::Output::create(o.output, session.force);
  cli::Table table{"shifts", {"shift", "groups", "most frames", "best rho", "unique triggers"}};
  const ShiftResult* best = nullptr;
  const auto better = [](const Coincidence& a, const Coincidence& b) {
    return a.members.size() != b.members.size() ? a.members.size() > b.members.size() : a.rho_total > b.rho_total;
  };
  for (const auto& r : results) {
    write_shift(file, r);
    std::int64_t unique = 0;
    for (const auto& f : r.frames)
      unique += f[2];
    const bool any = !r.coincidences.empty();
    table.rows.push_back({name_of(r.shift), static_cast<std::int64_t>(r.coincidences.size()),
                          any ? static_cast<std::int64_t>(r.coincidences[0].members.size()) : std::int64_t{0},
                          any ? r.coincidences[0].rho_total : 0.0, unique});
    if (any && (best == nullptr || better(r.coincidences[0], best->coincidences[0]))) best = &r;
  }
  auto& s = session.summary;
  s.add("frames", frames.size());
  s.add("candidates", candidates.size());
  std::vector<std::int64_t> frame_numbers, in_band, unique;
  const auto& counted = best != nullptr ? *best : results.front();
  for (const auto& f : counted.frames) {
    frame_numbers.push_back(f[0]);
    in_band.push_back(f[1]);
    unique.push_back(f[2]);
  }
  file.column("/summary/frame", frame_numbers, {.units = "1", .long_name = "frame", .dims = {"frame"}});
  file.column("/summary/candidates", in_band,
              {.units = "1", .long_name = "triggers in band above the cut", .dims = {"frame"}});
  file.column("/summary/unique", unique, {.units = "1", .long_name = "occupied cells, best shift", .dims = {"frame"}});
  file.attribute("/summary", "reference_frame", reference_frame);
  file.attribute("/summary", "fpo", band.fpo);
  file.attribute("/summary", "dt", band.dt);
  file.attribute("/summary", "N", static_cast<std::int64_t>(band.N));
  if (best != nullptr) {
    const auto& c = best->coincidences[0];
    file.attribute("/summary", "best_shift", name_of(best->shift));
    s.add("best shift", name_of(best->shift));
    s.add("best multiplicity", c.members.size());
    s.add("best omega", c.omega);
    s.add("best s", c.s);
    s.add("best delta", c.delta, "rad");
    s.add("best alpha", c.alpha, "rad");
    s.add("best rho", c.rho_total);
    s.add("best frequency", band.frequency(c.omega), "Hz");
    s.add("best fdot", band.spindown(c.s), "Hz/s");
  }
  if (o.fap && !unique.empty()) {
    const int n = o.multiplicity > 0
                      ? o.multiplicity
                      : (best != nullptr ? static_cast<int>(best->coincidences[0].members.size()) : o.least);
    std::array<double, 4> scale;
    std::ranges::copy(o.scale, scale.begin());
    const double cells = cell_count(grid.fisher, band, o.veto_fraction, o.fdot_min, o.fdot_max, scale);
    const bool original = o.compat == "original";
    if (!(cells >= 1)) throw bad_input("--fap: {} cells", cells);
    const auto alarm = false_alarm(cells, unique, std::min<int>(n, static_cast<int>(unique.size())),
                                   {.truncated = original, .exact_hits = !original, .shifts = shifts.size() > 1});
    s.add("cells", alarm.cells);
    s.add("false-alarm probability", alarm.probability);
    s.add("significant", alarm.probability < o.threshold);
    file.write("/fap/probability", std::vector<double>{alarm.probability}, {1},
               {.units = "1", .long_name = "false-alarm probability", .dims = {"coincidence"}});
    file.attribute("/fap", "cells", alarm.cells);
    file.attribute("/fap", "frames_in_coincidence", n);
    file.attribute("/fap", "veto_fraction", o.veto_fraction);
  }
  s.add(std::move(table));
  file.stamp(session, "table");
  file.commit();
  if (!o.lines.empty()) {
    const std::int64_t number = sources.empty() ? 0 : std::max<std::int64_t>(sources.begin()->second.info.band, 0);
    auto sink = formats::Sink::create(o.lines, session.force, false);
    for (const auto& r : results)
      sink.write(summary_line(r, band, number, o.hemisphere));
    sink.commit();
  }
  if (!o.coi.empty()) {
    auto sink = formats::Sink::create(o.coi, session.force);
    sink.write(legacy_records(best != nullptr ? *best : results.front()));
    sink.commit();
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  const cli::Command command{
      .name = "polgraw-coincidences",
      .purpose = "find triggers that agree between frames, and their false-alarm probability",
      .description =
          "Brings the triggers of all frames to the time of one, puts them into cells of the grid's metric, keeps the loudest "
          "of each frame in each cell and reports cells hit by --min-coinc frames or more, for cells shifted by half a cell "
          "along any of the four axes. Axes of the fisher basis are the eigenvectors of the Fisher matrix, eigenvalues "
          "ascending, first component positive. --fap takes n frames or more by default; --compat original exactly n.",
      .arguments = {cli::inputs("TRIGGERS", o.inputs, "gw-triggers of any frames of one band"),
                    cli::output("OUT", o.output, "coincidences")},
      .options =
          {{"--reference-grid", &o.grid, "HDF5 or grid.bin", {.value_name = "FILE"}},
           {"--ref-frame", &o.reference, "frame to whose start triggers are brought; default: the first"},
           {"--scale", &o.scale, "size of a cell along the four axes"},
           {"--shifts", &o.shifts, "all, or words such as 0000,0101"},
           {"--min-coinc", &o.least, "frames that make a coincidence", {.minimum = 1}},
           {"--snr-cut", &o.snr_cut, "take triggers above this", {.minimum = 0}},
           {"--basis", &o.basis, "axes of the cells", {.choices = {"fisher", "grid"}}},
           {"--hemisphere", &o.hemisphere, "1 or 2 alone; 0 both together", {.minimum = 0, .maximum = 2}},
           {"--narrowdown", &o.narrowdown, "as in polgraw-search", {.minimum = 0, .maximum = 0.5}},
           {"--fap", &o.fap, "false-alarm probability of the best coincidence"},
           {"--multiplicity", &o.multiplicity, "of that many frames instead", {.minimum = 0}},
           {"--veto-fraction",
            &o.veto_fraction,
            "part of the band that was vetoed",
            {.minimum = 0, .maximum = 0.999999}},
           {"--fdot-min", &o.fdot_min, "spin-up searched, as a positive number", {.unit = "Hz/s", .minimum = 0}},
           {"--fdot-max", &o.fdot_max, "spin-down searched, as a positive number", {.unit = "Hz/s", .minimum = 0}},
           {"--fap-threshold", &o.threshold, "significant below this", {.minimum = 0, .maximum = 1}},
           {"--coi", &o.coi, "write the best shift's records of the community code", {.value_name = "FILE"}},
           {"--summary-lines", &o.lines, "write the summary lines of the community code", {.value_name = "FILE"}},
           {"--compat", &o.compat, "the original's sum and hit chance", {.choices = {"none", "original"}}}},
      .examples = {{"polgraw-coincidences t1.h5 t2.h5 t4.h5 t5.h5 coin.h5 --reference-grid grid.h5 --snr-cut 5",
                    "All 16 shifts."},
                   {"polgraw-coincidences t*.h5 coin.h5 --reference-grid grid.h5 --fap --veto-fraction 0.12",
                    "With their probability."}},
      .reference =
          "Aasi et al., Class. Quantum Grav. 31 (2014) 165014; Poghosyan et al., Comput. Phys. Commun. 188 (2015) 167",
      .reads = "gw-triggers: see polgraw-search; /grid/fisher, /grid/M",
      .writes =
          "/shift_SSSS/cell (n,4), ncoin (n), mean (n,5), frame_ptr (n+1), frame, row\n/summary/frame, candidates, unique\n/fap/probability",
      .standard = {.threads = true}};
  return command.run(argc, argv, [&](cli::Session& session) { run(o, session); });
}
