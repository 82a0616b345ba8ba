#include "search_input.hpp"

#include <charconv>

#include <fmt/format.h>

#include "io/bytes.hpp"
#include "io/delimited.hpp"
#include "lattice.hpp"
#include "legacy.hpp"
#include "veto.hpp"

namespace fachwerk::polgraw {

namespace {

SpindownPrior prior_of(const SearchOptions& o, const Band& band) {
  if (o.fdot_min || o.fdot_max) {
    const double lo = o.fdot_min.value_or(0), hi = o.fdot_max.value_or(0);
    if (lo > hi) throw usage_error("--fdot-min {} is above --fdot-max {}", lo, hi);
    return frequency_prior(band, lo, hi);
  }
  if (o.tau_min) return age_prior(band, *o.tau_min * year);
  if (o.compat == "original-omp") return narrow_prior(band);
  if (o.prior == "age") return age_prior(band, 1000 * year);
  return o.prior == "narrow" ? narrow_prior(band) : o1_prior(band);
}

std::vector<std::int64_t> read_integers(const std::string& path) {
  const auto file = formats::File::open(path);
  std::vector<std::int64_t> numbers;
  std::string_view text = file.text();
  const char* blanks = " \t\r\n,;";
  for (;;) {
    const auto begin = text.find_first_not_of(blanks);
    if (begin == std::string_view::npos) return numbers;
    text = text.substr(begin);
    const auto word = text.substr(0, text.find_first_of(blanks));
    std::int64_t value = 0;
    const auto [at, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc{} || at != word.data() + word.size() || std::abs(value) > 100000000)
      throw bad_input("{}: expected integers, found \"{}\"", path, word);
    numbers.push_back(value);
    text = text.substr(word.size());
  }
}

SearchRange read_range(const std::string& path) {
  const auto n = read_integers(path);
  if (n.size() != 8)
    throw bad_input("{}: expected 8 integers (spindown, nn, mm, hemisphere; lowest and highest), found {}", path,
                    n.size());
  const auto range = [&](std::size_t k) { return Range{static_cast<int>(n[k]), static_cast<int>(n[k + 1])}; };
  const SearchRange found{range(0), range(2), range(4), range(6)};
  for (const auto& r : {found.spindown, found.nn, found.mm, found.hemisphere})
    if (r.lo > r.hi) throw bad_input("{}: expected lowest before highest, found {} {}", path, r.lo, r.hi);
  if (found.nn.count() * found.mm.count() > 1e8) throw bad_input("{}: expected at most 1e8 sky points", path);
  if (found.hemisphere.lo < 1 || found.hemisphere.hi > 2) throw bad_input("{}: expected hemispheres 1 and 2", path);
  return found;
}

/// The columns pm, nn, mm, ss_lo, ss_hi of a table of text, or of /regions of an HDF5 file.
std::array<std::vector<std::int64_t>, 5> region_columns(const std::string& path) {
  std::array<std::vector<std::int64_t>, 5> columns;
  const auto file = formats::File::open(path);
  if (file.text().starts_with("\x89HDF\r\n")) {
    const auto table = h5::Input::open(path);
    const std::array names{"pm", "nn", "mm", "ss_lo", "ss_hi"};
    for (std::size_t k = 0; k < 5; ++k)
      columns[k] = table.column<std::int64_t>(std::string("/regions/") + names[k], columns[0].size());
    return columns;
  }
  const auto table = formats::read_delimited(file.text(), path);
  if (table.columns.size() != 5)
    throw bad_input("{}: expected the columns pm, nn, mm, ss_lo, ss_hi, found {}", path, table.columns.size());
  for (std::size_t k = 0; k < 5; ++k) {
    const auto* values = std::get_if<std::vector<std::int64_t>>(&table.columns[k].values);
    if (values == nullptr) throw bad_input("{}: column {}: expected integers", path, k + 1);
    columns[k] = *values;
  }
  return columns;
}

std::vector<Region> read_regions(const std::string& path) {
  const auto columns = region_columns(path);
  std::vector<Region> regions;
  for (std::size_t i = 0; i < columns[0].size(); ++i) {
    std::array<int, 5> n{};
    for (std::size_t k = 0; k < 5; ++k) {
      if (std::abs(columns[k][i]) > 100000000)
        throw bad_input("{}: row {}: expected numbers of at most 1e8, found {}", path, i + 1, columns[k][i]);
      n[k] = static_cast<int>(columns[k][i]);
    }
    if (n[0] < 1 || n[0] > 2 || n[3] > n[4])
      throw bad_input("{}: row {}: expected pm 1 or 2 and ss_lo <= ss_hi", path, i + 1);
    regions.push_back({n[0], n[1], n[2], {n[3], n[4]}});
  }
  return regions;
}

/// The grid of the file, of --grid, or one made for --min-match.
void take_grid(const SearchOptions& options, const std::string& path, const cli::Session& session, Frame& frame) {
  auto& o = frame.observation;
  if (options.grid.ends_with(".bin")) {
    o.grid = legacy::parse_grid(formats::File::open(options.grid).text(), options.grid);
    check_grid(o.grid, o.band, options.grid);
    o.directed.reset();
  } else if (!options.grid.empty()) {
    read_grid(h5::Input::open(options.grid), &o.band, o);
  } else if (!frame.has_grid) {
    session.note(fmt::format("{}: no grid in the file: one is made for minimal match {:.4f}", path, options.min_match));
    const GridSettings settings{.c0 = options.min_match * options.min_match};
    o.grid = options.f2.empty() ? make_grid(o, settings).grid : make_grid_of_two_spindowns(o, settings);
  }
}

std::vector<Cone> cones_of(const std::vector<double>& numbers) {
  std::vector<Cone> cones;
  for (std::size_t k = 0; k + 2 < numbers.size(); k += 3)
    cones.push_back({make_sky(numbers[k], numbers[k + 1]), numbers[k + 2]});
  return cones;
}

/// What of the grid to search.
Selection selection_of(const SearchOptions& options, const Observation& o) {
  Selection selection;
  selection.prior = prior_of(options, o.band);
  selection.no_spindown = options.no_spindown;
  selection.hemisphere = options.hemisphere;
  if (o.directed && !(options.cone.empty() && options.exclude_cone.empty() && options.regions.empty()))
    throw usage_error("--cone, --exclude-cone, --regions: the grid is of a single sky position");
  if (!options.f2.empty()) {
    if (!o.grid.second) throw usage_error("--f2: expected a grid with second spindown (axis s2)");
    selection.s2_min = o.band.s2(options.f2[0]);
    selection.s2_max = o.band.s2(options.f2[1]);
  }
  if (!options.range.empty()) {
    selection.range = read_range(options.range);
    selection.range_spindowns = true;
  } else if (!options.around.empty()) {
    const auto& a = options.around;
    if (o.directed || o.grid.second)
      throw usage_error("--around: expected a grid of the whole sky with one spindown")
          .with_hint("--cone, --fdot-min, --fdot-max and --f2 select of other grids");
    selection.range = range_around(o, {o.band.omega(a[0]), o.band.s(a[1]), a[3], a[2]}, options.gsize);
    selection.range_spindowns = true;
  } else if (options.compat != "none" && !o.directed) {
    selection.range = covering_range(o.grid, o.band, -selection.prior.s_max, 0);
  }
  selection.cones = cones_of(options.cone);
  selection.excluded = cones_of(options.exclude_cone);
  if (!options.regions.empty()) selection.regions = read_regions(options.regions);
  return selection;
}

/// Inputs, with lists (text files of one name a line) resolved.
std::vector<std::string> resolve_inputs(const std::vector<std::string>& inputs) {
  std::vector<std::string> files;
  for (const auto& name : inputs) {
    if (!name.ends_with(".txt")) {
      files.push_back(name);
      continue;
    }
    const auto list = formats::File::open(name);
    std::string_view text = list.text();
    while (!text.empty()) {
      const auto end = text.find('\n');
      std::string line(text.substr(0, end));
      text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
      if (!line.empty() && line.back() == '\r') line.pop_back();
      if (!line.empty() && line.front() != '#') files.push_back(line);
    }
  }
  if (files.empty()) throw bad_input("{}: no data files listed", inputs.front());
  return files;
}

/// A frame with the grid, detectors, vetoes and selection that the options ask for.
Loaded load(const SearchOptions& options, const std::string& path, const cli::Session& session) {
  const auto file = h5::Input::open(path);
  file.require_kind({"gw-data", "polgraw-data"});
  Frame frame = read_frame(file, Needs::data, options.detectors);
  auto& o = frame.observation;
  take_grid(options, path, session, frame);
  if (options.shapiro) read_sun(file, o);
  const bool compat = options.compat != "none";
  for (const auto& gone : drop_empty_detectors(o, path))
    session.warn(fmt::format("{}: {} has no data and is left out", path, gone));
  for (auto& d : o.detectors) {
    d.sigma2 = compat ? noise_variance_original(d.x) : noise_variance(d.x);
    if (!(d.sigma2 > 0)) throw bad_input("{}:/{}/x: the data does not vary", path, d.site.name);
  }
  Loaded loaded;
  loaded.path = path;
  loaded.info = frame.info;
  loaded.selection = selection_of(options, o);
  const auto& prior = loaded.selection.prior;
  Exclusions exclusions;
  exclusions.narrowdown = options.narrowdown;
  std::vector<Line> lines;
  for (const auto& name : options.vetoes) {
    const auto text = formats::File::open(name);
    const auto more = parse_lines(text.text(), name);
    lines.insert(lines.end(), more.begin(), more.end());
  }
  const double fdot = o.band.spindown(std::max(prior.s_max, prior.s_min));
  exclusions.omega = veto_bands(o, lines, fdot / 2);
  loaded.vetoed = veto_fraction(exclusions.omega);
  loaded.source = std::make_shared<FarmSource>(FarmSource{std::move(o), std::move(exclusions)});
  return loaded;
}

}  // namespace

SearchWork load_work(const SearchOptions& options, const SearchSettings& settings, const cli::Session& session) {
  SearchWork work;
  for (const auto& path : resolve_inputs(options.inputs)) {
    const auto& f = work.frames.emplace_back(load(options, path, session));
    const auto& o = f.source->observation;
    const auto bins = search_bins(o.band, o.grid.fftpad, settings);
    if (options.interbin && o.grid.fftpad != 1)
      throw usage_error("--interbin: expected a grid with fftpad 1, that of {} has {}", path, o.grid.fftpad);
    if (bins.lo >= bins.hi) throw usage_error("--guard leaves nothing of the band of {}", path);
    if (f.vetoed >= 1 - 1e-9) continue;  // nothing is left of the band: no triggers
    const auto more = make_tasks(o, f.selection, static_cast<int>(work.frames.size()) - 1);
    work.tasks.insert(work.tasks.end(), more.begin(), more.end());
  }
  return work;
}

}  // namespace fachwerk::polgraw
