#include <algorithm>
#include <filesystem>
#include <sstream>

#include <fmt/format.h>

#include "cli/command.hpp"
#include "dataset.hpp"
#include "io/bytes.hpp"
#include "io/delimited.hpp"
#include "legacy.hpp"
#include "legacy_tables.hpp"

using namespace fachwerk;
using namespace fachwerk::polgraw;

namespace {

std::string slurp(const std::string& path) {
  return std::string(formats::File::open(path).text());
}

void save(const std::string& path, bool force, std::string_view bytes) {
  auto sink = formats::Sink::create(path, force);
  sink.write(bytes);
  sink.commit();
}

/// The number that a file name or a short text file holds.
double number_in(std::string_view text, const std::string& place) {
  const auto begin = std::min(text.find_first_not_of(" \t\r\n"), text.size());
  text = text.substr(begin, text.find_last_not_of(" \t\r\n") + 1 - begin);
  const auto value = formats::parse_real(text);
  if (!value || !(std::abs(*value) < 1e15)) throw bad_input("{}: expected a number, found \"{}\"", place, text);
  return *value;
}

/// One file of a folder by pattern; empty when there is none.
std::string find_file(const std::filesystem::path& folder, const std::string& prefix) {
  std::string found;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().filename().string().starts_with(prefix)) {
      if (!found.empty()) throw usage_error("{}: more than one {}*: choose with --band", folder.string(), prefix);
      found = entry.path().string();
    }
  return found;
}

/// FFF/DET/{xdatc_FFF_BBBB.bin, DetSSB.bin, rDet.bin, starting_date} and FFF/grid.bin.
Frame read_tree(const std::string& path, double dt, std::optional<double> fpo, int band, bool cleaned) {
  namespace fs = std::filesystem;
  const fs::path root(path);
  Frame frame;
  const std::string number = root.filename().empty() ? root.parent_path().filename() : root.filename();
  if (!number.empty() && number.find_first_not_of("0123456789") == std::string::npos)
    frame.info.frame = static_cast<std::int64_t>(number_in(number, path));
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(root))
    if (entry.is_directory() && fs::exists(entry.path() / "DetSSB.bin")) names.push_back(entry.path().filename());
  std::ranges::sort(names);
  if (names.empty()) throw bad_input("{}: expected detector folders with DetSSB.bin", path);
  auto& o = frame.observation;
  for (const auto& name : names) {
    const fs::path folder = root / name;
    const std::string prefix = (cleaned ? "xdatsc_" : "xdatc_") + (number.empty() ? "" : number + "_") +
                               (band >= 0 ? fmt::format("{:04d}", band) : "");
    const std::string data = find_file(folder, prefix);
    if (data.empty()) throw bad_input("{}: expected a file {}*.bin", folder.string(), prefix);
    Series series;
    if (const Site* site = find_site(name))
      series.site = *site;
    else
      throw bad_input("{}: no site of the name {} is known", folder.string(), name);
    const std::string bytes = slurp(data);
    if (bytes.size() % 8 != 0) throw bad_input("{}: expected float64 values, found {} bytes", data, bytes.size());
    series.x = legacy::parse_doubles(bytes);
    if (o.band.N == 0) {
      const auto stem = fs::path(data).stem().string();
      const auto found = static_cast<int>(number_in(stem.substr(stem.find_last_of('_') + 1), data));
      frame.info.band = fpo ? -1 : found;
      o.band = make_band(fpo ? *fpo : band_edge(found, dt), dt, series.x.size());
    }
    if (series.x.size() != o.band.N)
      throw bad_input("{}: expected N = {} samples as in the first detector, found {}", data, o.band.N,
                      series.x.size());
    for (std::size_t i = 0; i < series.x.size(); ++i)
      if (!std::isfinite(series.x[i])) throw bad_input("{}: sample {} is not finite", data, i);
    const auto det = folder / "rDet.bin";
    series.ephemeris =
        legacy::parse_ephemeris(slurp(folder / "DetSSB.bin"), fs::exists(det) ? slurp(det) : std::string(), o.band.N,
                                (folder / "DetSSB.bin").string());
    if (series.ephemeris.detector.empty()) series.ephemeris.detector.assign(o.band.N, Vector3{});
    series.gps_start = number_in(slurp(folder / "starting_date"), folder / "starting_date");
    series.sigma2 = noise_variance(series.x);
    o.detectors.push_back(std::move(series));
  }
  frame.info.gps_start = o.detectors[0].gps_start;
  o.obliquity = o.detectors[0].ephemeris.obliquity;
  if (fs::exists(root / "grid.bin")) {
    o.grid = legacy::parse_grid(slurp(root / "grid.bin"), (root / "grid.bin").string());
    frame.has_grid = true;
  }
  return frame;
}

void write_tree(const Frame& frame, const std::string& path, bool force) {
  namespace fs = std::filesystem;
  const auto& o = frame.observation;
  const std::string number = fmt::format("{:03d}", frame.info.frame);
  for (const auto& d : o.detectors) {
    const fs::path folder = fs::path(path) / number / d.site.name;
    fs::create_directories(folder);
    const std::string data = fmt::format("xdatc_{}_{:04d}.bin", number, std::max<std::int64_t>(frame.info.band, 0));
    if (!d.x.empty()) save(folder / data, force, legacy::format_doubles(d.x));
    save(folder / "DetSSB.bin", force, legacy::format_det_ssb(d.ephemeris));
    save(folder / "rDet.bin", force, legacy::format_r_det(d.ephemeris));
    save(folder / "rSSB.bin", force, legacy::format_r_ssb(d.ephemeris));
    save(folder / "starting_date", force, fmt::format("{:.10e}\n", d.gps_start));
  }
  check_sky_grid(o, path);
  if (frame.has_grid) save(fs::path(path) / number / "grid.bin", force, legacy::format_grid(o.grid));
}

std::string trigger_csv(const TriggerSet& set) {
  std::string text = "f_Hz,fdot,alpha,delta,snr\n";
  for (std::size_t i = 0; i < set.triggers.size(); ++i) {
    const auto& t = set.triggers[i];
    const auto& band = set.sources[static_cast<std::size_t>(set.source[i])].band;
    text += fmt::format("{},{},{},{},{}\n", band.frequency(t.omega), band.spindown(t.s), t.alpha, t.delta, t.snr);
  }
  return text;
}

/// Columns as lalpulsar's segment lists have them; the last is 2F = snr^2 + 4.
std::string trigger_lal(const TriggerSet& set) {
  std::string text = "%% columns: freq alpha delta f1dot f2dot f3dot 2F\n";
  for (std::size_t i = 0; i < set.triggers.size(); ++i) {
    const auto& t = set.triggers[i];
    const auto& band = set.sources[static_cast<std::size_t>(set.source[i])].band;
    text += fmt::format("{:.16g} {:.16g} {:.16g} {:.16g} 0 0 {:.9g}\n", band.frequency(t.omega), t.alpha, t.delta,
                        band.spindown(t.s), t.snr * t.snr + 4);
  }
  return text;
}

/// Whatever an input holds.
struct Content {
  std::optional<h5::Input> input;
  std::optional<Frame> frame;
  std::optional<TriggerSet> triggers;
  std::optional<Grid> grid;
  std::optional<std::vector<legacy::CoincidenceRecord>> coincidences;
  std::optional<legacy::SignalFile> signal;
  std::optional<std::vector<legacy::VetoLine>> vetoes;
};

struct Options {
  std::string in, out, to = "hdf5", shift;
  double dt = 2;
  std::optional<double> fpo, gps;
  int band = -1, nod = 2, hemisphere = 0;
  std::int64_t frame = 1;
  bool cleaned = false;
};

TriggerSet read_legacy_triggers(const Options& o, const std::string& file_name) {
  if (!o.fpo && o.band < 0) throw usage_error("{}: expected --fpo or --band", o.in);
  TriggerSet set;
  set.triggers = legacy::parse_triggers(slurp(o.in), o.in);
  const auto mark = file_name.find_last_of('_');
  const int pm = o.hemisphere != 0 ? o.hemisphere : (file_name[mark + 1] == '2' ? 2 : 1);
  for (auto& t : set.triggers)
    t.hemisphere = pm;
  set.source.assign(set.triggers.size(), 0);
  set.sources.push_back({{o.frame, o.band, 0.03125, o.gps.value_or(0)},
                         make_band(o.fpo ? *o.fpo : band_edge(o.band, o.dt), o.dt, frame_length(o.nod, o.dt)),
                         mean_obliquity,
                         0});
  return set;
}

/// The numbers of each line that is neither a comment (%) nor a heading.
std::vector<std::vector<double>> rows_of(const std::string& path, std::size_t columns) {
  std::vector<std::vector<double>> rows;
  std::istringstream lines(slurp(path));
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    std::ranges::replace(line, ',', ' ');
    std::istringstream words(line);
    std::vector<double> row;
    for (std::string word; words >> word;) {
      const auto value = formats::parse_real(word);
      if (!value && row.empty() && (word[0] == '%' || number == 1)) break;
      if (!value || !std::isfinite(*value))
        throw bad_input("{}: line {}: expected a number, found \"{}\"", path, number, word);
      row.push_back(*value);
    }
    if (row.empty()) continue;
    if (row.size() != columns)
      throw bad_input("{}: line {}: expected {} numbers, found {}", path, number, columns, row.size());
    rows.push_back(std::move(row));
  }
  return rows;
}

/// The tables of --to csv and --to lal.
TriggerSet read_text_triggers(const Options& o, bool lal) {
  if (!o.fpo && o.band < 0) throw usage_error("{}: expected --fpo or --band", o.in);
  TriggerSet set;
  const auto band = make_band(o.fpo ? *o.fpo : band_edge(o.band, o.dt), o.dt, frame_length(o.nod, o.dt));
  for (const auto& r : rows_of(o.in, lal ? 7 : 5)) {
    const double alpha = lal ? r[1] : r[2], delta = lal ? r[2] : r[3], fdot = lal ? r[3] : r[1];
    if (!(std::abs(delta) <= pi / 2)) throw bad_input("{}: delta is {}, expected -pi/2 to pi/2", o.in, delta);
    const auto sky = to_ecliptic(make_sky(alpha, delta), mean_obliquity);
    set.triggers.push_back({.omega = band.omega(r[0]),
                            .s = band.s(fdot),
                            .delta = delta,
                            .alpha = alpha,
                            .snr = lal ? std::sqrt(std::max(0.0, r[6] - 4)) : r[4],
                            .hemisphere = static_cast<int>(sky.hemisphere)});
  }
  set.source.assign(set.triggers.size(), 0);
  set.sources.push_back({{o.frame, o.fpo ? -1 : o.band, 0.03125, o.gps.value_or(0)}, band, mean_obliquity, 0});
  return set;
}

Content read_hdf5(const Options& o) {
  Content c;
  c.input = h5::Input::open(o.in);
  const auto& input = *c.input;
  if (input.is_dataset("/signal/parameters"))
    c.signal = read_signal(input);
  else if (input.is_dataset("/vetoes/interval"))
    c.vetoes = read_veto_lines(input);
  else if (input.kind() == "table")
    c.coincidences = read_records(input, o.shift);
  else if (input.kind() == "gw-triggers")
    c.triggers = read_triggers(input);
  else {
    input.require_kind({"gw-data", "gw-triggers", "table"});
    if (input.is_dataset("/grid/M") && o.to == "grid")
      c.grid = read_sky_grid(input);
    else
      c.frame = read_frame(input, Needs::ephemeris);
  }
  return c;
}

Content read_any(const Options& o) {
  namespace fs = std::filesystem;
  const std::string name = fs::path(o.in).filename();
  Content c;
  if (fs::is_directory(o.in))
    c.frame = read_tree(o.in, o.dt, o.fpo, o.band, o.cleaned);
  else if (name.ends_with(".coi"))
    c.coincidences = legacy::parse_coincidences(slurp(o.in), o.in);
  else if (name.ends_with(".vlines"))
    c.vetoes = legacy::parse_veto_lines(slurp(o.in), o.in);
  else if (name.starts_with("sig") && !name.ends_with("5"))
    c.signal = legacy::parse_signal(slurp(o.in), o.in);
  else if (name.starts_with("triggers_") && name.ends_with(".bin"))
    c.triggers = read_legacy_triggers(o, name);
  else if (name.ends_with(".csv") || name.ends_with(".lal"))
    c.triggers = read_text_triggers(o, name.ends_with(".lal"));
  else if (name.ends_with(".bin"))
    c.grid = legacy::parse_grid(slurp(o.in), o.in);
  else
    c = read_hdf5(o);
  return c;
}

void write_hdf5(const Options& o, const Content& c, const cli::Session& session) {
  h5::Output output = h5::Output::create(o.out, session.force);
  if (c.frame) write_frame(output, *c.frame);
  if (c.frame && c.frame->has_grid && !(c.input && c.input->is_dataset("/grid/M")))
    write_grid(output, c.frame->observation.grid, 0, 0, 0, "");
  if (c.grid) write_grid(output, *c.grid, 0, 0, 0, "");
  if (c.triggers) write_triggers(output, *c.triggers);
  if (c.coincidences) write_records(output, o.shift.empty() ? "0000" : o.shift, *c.coincidences);
  if (c.signal) write_signal(output, *c.signal);
  if (c.vetoes) write_veto_lines(output, *c.vetoes);
  const bool table = c.coincidences || c.signal || c.vetoes;
  output.stamp(session, table ? "table" : c.triggers ? "gw-triggers" : "gw-data", c.input ? &*c.input : nullptr);
  if (c.input) output.carry(*c.input);
  output.commit();
}

/// The content as bytes in the format of --to.
std::string render(const Options& o, Content& c) {
  const auto need = [&](const auto& part) -> auto& {
    if (!part) throw usage_error("{}: cannot be written as --to {}", o.in, o.to);
    return *part;
  };
  if (o.to == "grid")
    return legacy::format_grid(c.frame && c.frame->has_grid ? c.frame->observation.grid : need(c.grid));
  if (o.to == "coi") return legacy::format_coincidences(need(c.coincidences));
  if (o.to == "vlines") return legacy::format_veto_lines(need(c.vetoes));
  if (o.to == "sig") return legacy::format_signal(need(c.signal));
  if (o.to == "csv") return trigger_csv(need(c.triggers));
  if (o.to == "lal") return trigger_lal(need(c.triggers));
  auto triggers = need(c.triggers).triggers;
  if (o.hemisphere != 0) std::erase_if(triggers, [&](const Trigger& t) { return t.hemisphere != o.hemisphere; });
  return legacy::format_triggers(triggers);
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  const cli::Command command{
      .name = "polgraw-convert",
      .purpose = "convert between HDF5 and the files of polgraw-allsky",
      .description =
          "Reads a frame's folder (FFF/DET/xdatc_FFF_BBBB.bin, DetSSB.bin, rDet.bin, starting_date, FFF/grid.bin), a "
          "triggers_*.bin, a grid.bin, a .coi, .vlines or sig* file, triggers as .csv or as .lal, or an HDF5 file of polgraw, and writes HDF5 or, with --to, the other "
          "formats.\n\n"
          "Triggers become CSV (f_Hz,fdot,alpha,delta,snr), the binary records of the original (five float64: omega, "
          "s, "
          "delta, alpha, snr) or a text list with the columns of lalpulsar.",
      .arguments = {cli::input(
                        "IN", o.in,
                        "folder of a frame, triggers_*.bin, grid.bin, *.coi, *.vlines, sig*, *.csv, *.lal, or HDF5"),
                    cli::output("OUT", o.out, "HDF5, or what --to says; for --to tree a folder")},
      .options = {{"--to",
                   &o.to,
                   "format of the output",
                   {.choices = {"hdf5", "csv", "bin", "lal", "tree", "grid", "coi", "vlines", "sig"}}},
                  {"--dt", &o.dt, "sampling interval of legacy files", {.unit = "s", .minimum = 1e-6}},
                  {"--fpo", &o.fpo, "lower edge of the band, where its number does not give it", {.unit = "Hz"}},
                  {"--band", &o.band, "number of the band, where a folder has several"},
                  {"--nod", &o.nod, "sidereal days in a frame, for triggers_*.bin", {.minimum = 1}},
                  {"--frame", &o.frame, "number of the frame, for triggers_*.bin"},
                  {"--gps", &o.gps, "start of the frame, for triggers_*.bin", {.unit = "s"}},
                  {"--hemisphere",
                   &o.hemisphere,
                   "1 or 2, for triggers_*.bin and --to bin; 0: the file name's, or both",
                   {.minimum = 0, .maximum = 2}},
                  {"--shift", &o.shift, "of the cells, for coincidences; default: the best"},
                  {"--cleaned", &o.cleaned, "take xdatsc_ (cleaned) files instead of xdatc_"}},
      .examples = {{"polgraw-convert 001 frame1.h5", "A frame of the community code as HDF5."},
                   {"polgraw-search frame1.h5 - --threshold 14.5 | polgraw-convert - - --to csv | head",
                    "The first triggers as a table."},
                   {"polgraw-convert triggers_001_0042_1.bin t.h5 --fpo 20.171875 --gps 1187008512",
                    "Triggers of the community code, for polgraw-coincidences."}},
      .reference = "Poghosyan, Matta, Streit, Bejger, Krolak, Comput. Phys. Commun. 188 (2015) 167",
      .reads = "gw-data or gw-triggers: see polgraw-search",
      .writes = "gw-data or gw-triggers: see polgraw-search",
      .standard = {}};
  return command.run(argc, argv, [&](cli::Session& session) {
    auto content = read_any(o);
    if (content.triggers) session.summary.add("triggers", content.triggers->triggers.size());
    if (content.coincidences) session.summary.add("coincidences", content.coincidences->size());
    if (o.to == "hdf5") return write_hdf5(o, content, session);
    if (o.to != "tree") {
      const auto bytes = render(o, content);
      const bool binary = o.to == "grid" || o.to == "coi" || o.to == "bin";
      auto sink = formats::Sink::create(o.out, session.force, binary);
      sink.write(bytes);
      return sink.commit();
    }
    if (!content.frame) throw usage_error("{}: cannot be written as --to tree", o.in);
    if (o.out == "-") throw usage_error("--to tree: expected a folder as output, found -");
    write_tree(*content.frame, o.out, session.force);
  });
}
