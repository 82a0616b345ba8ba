#include "dataset.hpp"

#include <algorithm>

namespace fachwerk::polgraw {

namespace {

double need_number(const h5::Node& file, const std::string& path, const std::string& key) {
  const auto value = file.number(path, key);
  if (!value) throw bad_input("{}:{}: expected the attribute {}", file.name(), path, key);
  if (!std::isfinite(*value)) throw bad_input("{}:{}: attribute {} is not finite", file.name(), path, key);
  return *value;
}

std::vector<Vector3> read_vectors(const h5::Node& file, const std::string& path, std::size_t N, double dt) {
  const auto array = file.read<double>(path, {.axes = {"samples", "xyz"}, .shape = {N, 3}, .finite = true});
  std::vector<Vector3> vectors(N);
  for (std::size_t i = 0; i < N; ++i)
    vectors[i] = {array.values[3 * i] / dt, array.values[3 * i + 1] / dt, array.values[3 * i + 2] / dt};
  return vectors;
}

Series read_series(const h5::Node& file, const std::string& name, const Band& band, Needs needs) {
  const std::string root = "/" + name, ephem = root + "/ephem";
  Series series;
  if (const Site* known = find_site(name)) series.site = *known;
  series.site.name = name;
  const auto take = [&](const char* key, double& value) {
    if (file.number(root, key)) value = need_number(file, root, key);
  };
  if (find_site(name) == nullptr)
    for (const char* key : {"lat", "lon", "gamma"})
      need_number(file, root, key);
  take("lat", series.site.latitude);
  take("lon", series.site.longitude);
  take("gamma", series.site.orientation);
  take("height", series.site.height);
  take("zeta", series.site.opening);
  series.gps_start = need_number(file, "/", "gps_start");
  take("gps_start", series.gps_start);
  series.ephemeris.phir = need_number(file, root, "phir");
  series.ephemeris.obliquity = need_number(file, root, "eps");
  if (!(series.ephemeris.obliquity > 0 && series.ephemeris.obliquity < pi / 2))
    throw bad_input("{}:{}: expected the obliquity eps between 0 and pi/2, found {}", file.name(), root,
                    series.ephemeris.obliquity);

  auto position = read_vectors(file, ephem + "/earth_ssb", band.N, band.dt);
  series.ephemeris.detector = read_vectors(file, ephem + "/det_geo", band.N, band.dt);
  for (std::size_t i = 0; i < band.N; ++i)
    for (std::size_t k = 0; k < 3; ++k)
      position[i][k] += series.ephemeris.detector[i][k];
  // The community code's positions as they are, to the last bit.
  if (file.is_dataset(ephem + "/det_ssb")) position = read_vectors(file, ephem + "/det_ssb", band.N, band.dt);
  series.ephemeris.position = std::move(position);
  if (file.is_dataset(ephem + "/einstein")) {
    series.ephemeris.einstein = file.column<double>(ephem + "/einstein", band.N, true);
    for (double& e : series.ephemeris.einstein)
      e /= band.dt;
  }
  if (needs == Needs::ephemeris && !file.is_dataset(root + "/x")) return series;
  const auto x = file.read<double>(root + "/x", {.rank = 1, .finite = true});
  if (x.size() != band.N)
    throw bad_input("{}:{}/x: expected N = {} samples, found {}", file.name(), root, band.N, x.size());
  series.x = x.values;
  if (file.is_dataset(root + "/mask")) {
    const auto mask = file.column<std::uint8_t>(root + "/mask", band.N);
    for (std::size_t i = 0; i < band.N; ++i)
      if (mask[i] == 0) series.x[i] = 0;
  }
  series.sigma2 = noise_variance(series.x);
  return series;
}

}  // namespace

void check_grid(const Grid& grid, const Band& band, const std::string& file) {
  const double expected = 2 * pi / static_cast<double>(static_cast<std::size_t>(grid.fftpad) * band.nfft);
  if (!(std::abs(grid.M[0] - expected) < 1e-12))
    throw bad_input(
        "{}:/grid/M: expected M[0,0] = 2 pi/(fftpad nfft) = {:.15g}, found {:.15g}: the grid is not of this band", file,
        expected, grid.M[0]);
  for (std::size_t i : {5, 10, 15})
    if (grid.M[i] == 0) throw bad_input("{}:/grid/M: expected a diagonal without zeros", file);
  for (std::size_t i : {1, 2, 3, 6, 7, 11})
    if (grid.M[i] != 0) throw bad_input("{}:/grid/M: expected a lower triangular matrix", file);
}

namespace {
void check_fftpad(const h5::Node& file, int fftpad) {
  if (fftpad < 1 || fftpad > 64 || (fftpad & (fftpad - 1)) != 0)
    throw bad_input("{}:/grid: expected fftpad 1, 2, 4, ..., found {}", file.name(), fftpad);
}
}  // namespace

namespace {

/// M and Fisher matrix of `n` axes, and where omega, s, s2, al1, al2 stand among them.
struct Axes {
  std::size_t n;
  std::array<std::ptrdiff_t, 5> at;  ///< -1: not there
};
Axes axes_of(const h5::Node& file) {
  const auto axes = file.text("/grid", "axes").value_or("omega,s,al1,al2");
  if (axes == "omega,s") return {2, {0, 1, -1, -1, -1}};
  if (axes == "omega,s,s2") return {3, {0, 1, 2, -1, -1}};
  if (axes == "omega,s,al1,al2") return {4, {0, 1, -1, 2, 3}};
  if (axes == "omega,s,s2,al1,al2") return {5, {0, 1, 2, 3, 4}};
  throw bad_input(
      "{}:/grid: expected the axes \"omega,s\", \"omega,s,s2\", \"omega,s,al1,al2\" or \"omega,s,s2,al1,al2\", found "
      "\"{}\"",
      file.name(), axes);
}

/// A matrix of the file in the five parameters omega, s, s2, al1, al2: with a diagonal of `absent` for those that it
/// has not.
Matrix5 read_matrix(const h5::Node& file, const std::string& path, const Axes& axes, double absent) {
  const auto array = file.read<double>(path, {.shape = {axes.n, axes.n}, .finite = true});
  Matrix5 m{};
  for (std::size_t i = 0; i < 5; ++i)
    for (std::size_t k = 0; k < 5; ++k) {
      const auto row = static_cast<std::size_t>(axes.at[i]), column = static_cast<std::size_t>(axes.at[k]);
      if (axes.at[i] >= 0 && axes.at[k] >= 0)
        m[5 * i + k] = array.values[axes.n * row + column];
      else if (i == k)
        m[5 * i + k] = absent;
    }
  return m;
}

void check_triangle(const Matrix5& M, const std::string& file) {
  for (std::size_t i = 0; i < 5; ++i) {
    if (M[6 * i] == 0) throw bad_input("{}:/grid/M: expected a diagonal without zeros", file);
    for (std::size_t k = i + 1; k < 5; ++k)
      if (M[5 * i + k] != 0) throw bad_input("{}:/grid/M: expected a lower triangular matrix", file);
  }
}

}  // namespace

void read_grid(const h5::Node& file, const Band* band, Observation& o) {
  if (!file.is_dataset("/grid/M")) throw bad_input("{}: expected a grid (/grid/M)", file.name());
  const auto axes = axes_of(file);
  const int fftpad = static_cast<int>(file.number("/grid", "fftpad").value_or(1));
  check_fftpad(file, fftpad);
  const auto M = read_matrix(file, "/grid/M", axes, 1), fisher = read_matrix(file, "/grid/fisher", axes, 0);
  const auto unnormalised =
      file.is_dataset("/grid/M_unnormalised") ? read_matrix(file, "/grid/M_unnormalised", axes, 1) : Matrix5{};
  check_triangle(M, file.name());
  o.grid = grid_of_five(M, unnormalised, fisher, fftpad);
  if (axes.at[2] < 0) o.grid.second.reset();
  if (band != nullptr) check_grid(o.grid, *band, file.name());
  o.directed.reset();
  if (axes.at[3] >= 0) return;
  const double alpha = need_number(file, "/grid", "alpha"), delta = need_number(file, "/grid", "delta");
  if (!(std::abs(delta) <= pi / 2)) throw bad_input("{}:/grid: expected delta in +-pi/2, found {}", file.name(), delta);
  o.directed = make_sky(alpha, delta);
}

Grid read_sky_grid(const h5::Node& file) {
  Observation o;
  read_grid(file, nullptr, o);
  check_sky_grid(o, file.name());
  return o.grid;
}

void check_sky_grid(const Observation& o, const std::string& file) {
  if (o.directed) throw bad_input("{}: expected a grid of the whole sky, found one of a single position", file);
  if (o.grid.second) throw bad_input("{}: expected a grid of one spindown, found one with the second", file);
}

void read_sun(const h5::Node& file, Observation& observation) {
  for (auto& series : observation.detectors) {
    const std::string path = "/" + series.site.name + "/ephem/sun_ssb";
    if (!file.is_dataset(path))
      throw bad_input("{}:{}: expected the Sun's position for the Shapiro delay", file.name(), path);
    series.ephemeris.sun = read_vectors(file, path, observation.band.N, observation.band.dt);
  }
}

void write_grid(h5::Output& file, const GridMatrices& grid, const GridQuality& quality) {
  const auto write = [&](const char* path, std::span<const double> m, const char* what) {
    file.write("/grid/" + std::string(path), m, {grid.n, grid.n},
               {.units = "1", .long_name = what, .dims = {"vector", "parameter"}});
  };
  write("M", grid.M, "lattice vectors (rows) in the parameters");
  write("M_unnormalised", grid.unnormalised, "lattice vectors with columns times N, N^2 (, N^3), N, N");
  write("fisher", grid.fisher, "reduced Fisher matrix");
  file.attribute("/grid", "fftpad", grid.fftpad);
  file.attribute("/grid", "axes", grid.axes);
  if (grid.sky) {
    file.attribute("/grid", "alpha", grid.sky->alpha);
    file.attribute("/grid", "delta", grid.sky->delta);
  }
  if (quality.c0 > 0) file.attribute("/grid", "c0", quality.c0);
  if (quality.thickness > 0) file.attribute("/grid", "thickness", quality.thickness);
  if (quality.covering_radius > 0) file.attribute("/grid", "covering_radius", quality.covering_radius);
  if (!quality.algorithm.empty()) file.attribute("/grid", "algorithm", quality.algorithm);
}

void write_grid(h5::Output& file, const Grid& grid, double c0, double thickness, double covering_radius,
                const std::string& algorithm) {
  write_grid(file, {4, grid.M, grid.unnormalised, grid.fisher, grid.fftpad, "omega,s,al1,al2", std::nullopt},
             {c0, thickness, covering_radius, algorithm});
}

Frame read_frame(const h5::Node& file, Needs needs, const std::vector<std::string>& detectors) {
  Frame frame;
  auto& o = frame.observation;
  const double dt = need_number(file, "/", "dt");
  if (!(dt > 0 && dt < 1e6)) throw bad_input("{}: expected dt above 0 s, found {}", file.name(), dt);
  std::vector<std::string> names = detectors;
  if (names.empty())
    for (const auto& child : file.children("/"))
      if (file.is_dataset("/" + child + "/ephem/earth_ssb")) names.push_back(child);
  if (names.empty()) throw bad_input("{}: expected detectors (groups such as /H1 with ephem/earth_ssb)", file.name());
  for (const auto& name : names)
    if (std::ranges::count(names, name) > 1) throw usage_error("detector {} is named twice", name);
  for (const auto& name : names)
    if (!file.is_dataset("/" + name + "/ephem/earth_ssb"))
      throw bad_input("{}: expected detector {} (/{}/ephem/earth_ssb)", file.name(), name, name);
  // N from nod, or else from the first ephemeris.
  const auto nod = file.number("/", "nod");
  const std::size_t found = file.info("/" + names[0] + "/ephem/earth_ssb").shape.at(0);
  const std::size_t N = nod ? frame_length(*nod, dt) : found;
  if (N < 64 || N > (std::size_t{1} << 30))
    throw bad_input("{}: expected a frame of 64 to 2^30 samples, found {}", file.name(), N);
  const auto fpo = file.number("/", "fpo");
  if (needs == Needs::data && !fpo) throw bad_input("{}: expected the attribute fpo", file.name());
  if (fpo && !(*fpo > 0 && *fpo < 1e6)) throw bad_input("{}: expected fpo above 0 Hz, found {}", file.name(), *fpo);
  o.band = make_band(fpo.value_or(0), dt, N);
  frame.info.frame = static_cast<std::int64_t>(file.number("/", "frame").value_or(1));
  frame.info.band = static_cast<std::int64_t>(file.number("/", "band").value_or(-1));
  frame.info.overlap = file.number("/", "overlap").value_or(0.03125);
  frame.info.gps_start = need_number(file, "/", "gps_start");
  o.mixing_gps = file.number("/", "mixing_gps");
  if (o.mixing_gps && !std::isfinite(*o.mixing_gps))
    throw bad_input("{}: attribute mixing_gps is not finite", file.name());
  if (fpo && frame.info.band >= 0) {
    const double edge = band_edge(static_cast<int>(frame.info.band), dt, frame.info.overlap);
    if (std::abs(edge - *fpo) > 1e-6)
      throw bad_input("{}: band {} begins at {} Hz, but fpo is {} Hz", file.name(), frame.info.band, edge, *fpo);
  }
  for (const auto& name : names)
    o.detectors.push_back(read_series(file, name, o.band, needs));
  o.obliquity = o.detectors[0].ephemeris.obliquity;
  const auto& first = o.detectors[0];
  for (const auto& d : o.detectors) {
    if (d.ephemeris.obliquity != o.obliquity)
      throw bad_input("{}: obliquity of {} is {:.16g}, of {} {:.16g}: expected the same", file.name(), first.site.name,
                      o.obliquity, d.site.name, d.ephemeris.obliquity);
    if (std::abs(d.gps_start - first.gps_start) > 1e-6)
      throw bad_input("{}: {} starts at GPS {}, {} at {}: expected the same start", file.name(), first.site.name,
                      first.gps_start, d.site.name, d.gps_start);
    // Local sidereal times differ by the longitudes alone if both start at once.
    const double turn =
        std::remainder(d.ephemeris.phir - d.site.longitude - (first.ephemeris.phir - first.site.longitude), 2 * pi);
    if (std::abs(turn) > 1e-4)
      throw bad_input("{}: the sidereal times of {} and {} are {:.0f} s apart: expected the same start", file.name(),
                      first.site.name, d.site.name, turn / earth_rotation);
  }
  if (file.is_dataset("/grid/M")) {
    read_grid(file, needs == Needs::data ? &o.band : nullptr, o);
    frame.has_grid = true;
  }
  return frame;
}

std::vector<std::string> drop_empty_detectors(Observation& o, const std::string& file) {
  std::vector<std::string> dropped;
  std::erase_if(o.detectors, [&](const Series& d) {
    const bool empty = missing_samples(d.x) == d.x.size();
    if (empty) dropped.push_back(d.site.name);
    return empty;
  });
  if (o.detectors.empty()) throw bad_input("{}: no detector has data", file);
  return dropped;
}

void write_frame(h5::Output& file, const Frame& frame) {
  const auto& o = frame.observation;
  const double dt = o.band.dt;
  file.attribute("/", "frame", frame.info.frame);
  if (frame.info.band >= 0) {
    file.attribute("/", "band", frame.info.band);
    file.attribute("/", "overlap", frame.info.overlap);
  }
  if (o.band.fpo > 0) file.attribute("/", "fpo", o.band.fpo);
  file.attribute("/", "dt", dt);
  file.attribute("/", "gps_start", frame.info.gps_start);
  if (o.mixing_gps) file.attribute("/", "mixing_gps", *o.mixing_gps);
  const double nod = std::round(static_cast<double>(o.band.N) * dt / 86164.0989);
  if (nod >= 1 && frame_length(nod, dt) == o.band.N) file.attribute("/", "nod", nod);
  for (const auto& d : o.detectors) {
    const std::string root = "/" + d.site.name, ephem = root + "/ephem";
    const auto& e = d.ephemeris;
    if (!d.x.empty())
      file.column(root + "/x", d.x,
                  {.units = "1", .long_name = "narrow-band data, zero where missing", .dims = {"sample"}});
    std::vector<double> earth(3 * o.band.N), geo(3 * o.band.N), einstein(e.einstein);
    for (std::size_t i = 0; i < o.band.N; ++i)
      for (std::size_t k = 0; k < 3; ++k) {
        const double detector = e.detector.empty() ? 0 : e.detector[i][k];
        geo[3 * i + k] = detector * dt;
        earth[3 * i + k] = (e.position[i][k] - detector) * dt;
      }
    file.write(ephem + "/earth_ssb", earth, {o.band.N, 3},
               {.units = "s",
                .long_name = "Earth's centre relative to the solar-system barycentre",
                .dims = {"sample", "xyz"}});
    file.write(ephem + "/det_geo", geo, {o.band.N, 3},
               {.units = "s", .long_name = "detector relative to Earth's centre", .dims = {"sample", "xyz"}});
    if (!e.sun.empty()) {
      std::vector<double> sun;
      for (const auto& v : e.sun)
        sun.insert(sun.end(), {v[0] * dt, v[1] * dt, v[2] * dt});
      file.write(ephem + "/sun_ssb", sun, {o.band.N, 3},
                 {.units = "s",
                  .long_name = "Sun's centre relative to the solar-system barycentre",
                  .dims = {"sample", "xyz"}});
    }
    for (double& value : einstein)
      value *= dt;
    if (!einstein.empty())
      file.column(ephem + "/einstein", einstein,
                  {.units = "s", .long_name = "Einstein delay TDB - TT", .dims = {"sample"}});
    else {
      std::vector<double> total;
      for (const auto& v : e.position)
        total.insert(total.end(), {v[0] * dt, v[1] * dt, v[2] * dt});
      file.write(ephem + "/det_ssb", total, {o.band.N, 3},
                 {.units = "s", .long_name = "earth_ssb + det_geo, not rounded", .dims = {"sample", "xyz"}});
      file.attribute(ephem, "einstein", "on every axis of earth_ssb");
    }
    file.attribute(root, "phir", e.phir);
    file.attribute(root, "eps", e.obliquity);
    file.attribute(root, "lat", d.site.latitude);
    file.attribute(root, "lon", d.site.longitude);
    file.attribute(root, "height", d.site.height);
    file.attribute(root, "gamma", d.site.orientation);
    file.attribute(root, "zeta", d.site.opening);
    file.attribute(root, "gps_start", d.gps_start);
    if (d.sigma2 > 0) file.attribute(root, "sigma2", d.sigma2);
  }
}

namespace {

template <class T, class Get>
std::vector<T> gather(std::span<const Trigger> triggers, const Get& get) {
  std::vector<T> values;
  values.reserve(triggers.size());
  for (const auto& t : triggers)
    values.push_back(static_cast<T>(get(t)));
  return values;
}

template <class T, class Get>
std::vector<T> gather_sources(std::span<const TriggerSource> sources, const Get& get) {
  std::vector<T> values;
  for (const auto& s : sources)
    values.push_back(static_cast<T>(get(s)));
  return values;
}

}  // namespace

namespace {

/// This rank's part of a column.
template <class T>
void write_part(h5::Output& file, const std::string& name, const std::vector<T>& values, const TriggerRows& rows,
                const h5::Describe& describe) {
  const std::string path = "/triggers/" + name;
  file.create_dataset<T>(path, {rows.total}, describe);
  if (rows.total > 0) file.write_slab<T>(path, {rows.first}, {values.size()}, values);
}

}  // namespace

void write_triggers(h5::Output& file, const TriggerSet& set) {
  write_triggers(file, set.sources, {set.triggers, set.source, 0, set.triggers.size()});
}

void write_triggers(h5::Output& file, std::span<const TriggerSource> sources, const TriggerRows& rows) {
  const std::span<const Trigger> t = rows.triggers;
  const auto real = [&](const char* name, const char* units, const char* what, auto get) {
    write_part(file, name, gather<double>(t, get), rows, {.units = units, .long_name = what, .dims = {"trigger"}});
  };
  const auto integer = [&](const char* name, const char* what, auto get) {
    write_part(file, name, gather<std::int32_t>(t, get), rows, {.units = "1", .long_name = what, .dims = {"trigger"}});
  };
  real("omega", "rad/sample", "angular frequency", [](const Trigger& x) { return x.omega; });
  real("s", "rad/sample^2", "spindown, pi fdot dt^2", [](const Trigger& x) { return x.s; });
  real("delta", "rad", "declination", [](const Trigger& x) { return x.delta; });
  real("alpha", "rad", "right ascension", [](const Trigger& x) { return x.alpha; });
  real("snr", "1", "signal-to-noise ratio, sqrt(2 (F - 2))", [](const Trigger& x) { return x.snr; });
  std::vector<double> f(t.size()), fdot(t.size());
  for (std::size_t i = 0; i < t.size(); ++i) {
    const auto& band = sources[static_cast<std::size_t>(rows.source[i])].band;
    f[i] = band.frequency(t[i].omega);
    fdot[i] = band.spindown(t[i].s);
  }
  write_part(file, "f_hz", f, rows, {.units = "Hz", .long_name = "frequency", .dims = {"trigger"}});
  write_part(file, "fdot", fdot, rows, {.units = "Hz/s", .long_name = "spindown", .dims = {"trigger"}});
  integer("pm", "ecliptic hemisphere, 1 north, 2 south", [](const Trigger& x) { return x.hemisphere; });
  integer("mm", "second sky number of the grid", [](const Trigger& x) { return x.mm; });
  integer("nn", "first sky number of the grid", [](const Trigger& x) { return x.nn; });
  integer("ss", "spindown number of the grid", [](const Trigger& x) { return x.ss; });
  integer("k", "frequency bin", [](const Trigger& x) { return x.bin; });
  const std::vector<std::int32_t> source(rows.source.begin(), rows.source.end());
  write_part(file, "source", source, rows, {.units = "1", .long_name = "row of /sources", .dims = {"trigger"}});

  const std::span<const TriggerSource> s = sources;
  const auto of_source = [&](const char* name, const char* units, const char* what, auto get) {
    file.column("/sources/" + std::string(name), gather_sources<double>(s, get),
                {.units = units, .long_name = what, .dims = {"source"}});
  };
  of_source("frame", "1", "number of the frame", [](const auto& x) { return x.info.frame; });
  of_source("band", "1", "number of the band", [](const auto& x) { return x.info.band; });
  of_source("fpo", "Hz", "lower edge of the band", [](const auto& x) { return x.band.fpo; });
  of_source("dt", "s", "sampling interval", [](const auto& x) { return x.band.dt; });
  of_source("N", "1", "samples in a frame", [](const auto& x) { return x.band.N; });
  of_source("gps_start", "s", "start of the frame", [](const auto& x) { return x.info.gps_start; });
  of_source("obliquity", "rad", "obliquity of the ecliptic", [](const auto& x) { return x.obliquity; });
  of_source("templates", "1", "templates searched", [](const auto& x) { return x.templates; });
}

TriggerSet read_triggers(const h5::Node& file) {
  TriggerSet set;
  const auto omega = file.column<double>("/triggers/omega", 0, true);
  const std::size_t n = omega.size();
  const auto real = [&](const char* name) { return file.column<double>("/triggers/" + std::string(name), n, true); };
  const auto integer = [&](const char* name) {
    const std::string path = "/triggers/" + std::string(name);
    return file.is_dataset(path) ? file.column<std::int32_t>(path, n) : std::vector<std::int32_t>(n);
  };
  const auto s = real("s"), delta = real("delta"), alpha = real("alpha"), snr = real("snr");
  const auto pm = integer("pm"), mm = integer("mm"), nn = integer("nn"), ss = integer("ss"), k = integer("k"),
             tt = integer("tt"), source = integer("source");
  const auto s2 = file.is_dataset("/triggers/s2") ? real("s2") : std::vector<double>{};
  const auto frame = file.column<double>("/sources/frame");
  const auto of_source = [&](const char* name) {
    return file.column<double>("/sources/" + std::string(name), frame.size(), true);
  };
  const auto band = of_source("band"), fpo = of_source("fpo"), dt = of_source("dt"), N = of_source("N"),
             gps = of_source("gps_start"), obliquity = of_source("obliquity"), templates = of_source("templates");
  for (std::size_t i = 0; i < frame.size(); ++i) {
    if (!(dt[i] > 0) || !(N[i] >= 1 && N[i] < 1e10) || !(fpo[i] > 0))
      throw bad_input("{}:/sources: row {}: expected fpo, dt and N above 0", file.name(), i);
    set.sources.push_back({{static_cast<std::int64_t>(frame[i]), static_cast<std::int64_t>(band[i]), 0.03125, gps[i]},
                           make_band(fpo[i], dt[i], static_cast<std::size_t>(N[i])),
                           obliquity[i],
                           static_cast<std::int64_t>(templates[i])});
  }
  for (std::size_t i = 0; i < n; ++i) {
    if (source[i] < 0 || static_cast<std::size_t>(source[i]) >= set.sources.size())
      throw bad_input("{}:/triggers/source: row {}: expected 0..{}, found {}", file.name(), i,
                      set.sources.empty() ? 0 : set.sources.size() - 1, source[i]);
    set.triggers.push_back(
        {omega[i], s[i], delta[i], alpha[i], snr[i], pm[i], mm[i], nn[i], ss[i], k[i], tt[i], s2.empty() ? 0 : s2[i]});
  }
  set.source.assign(source.begin(), source.end());
  return set;
}

}  // namespace fachwerk::polgraw
