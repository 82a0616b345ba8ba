#include <fmt/format.h>

#include "cli/command.hpp"
#include "dataset.hpp"
#include "ephemeris.hpp"
#include "io/bytes.hpp"
#include "site_option.hpp"

using namespace fachwerk;
using namespace fachwerk::polgraw;

namespace {

/// Largest distance in seconds between two ephemerides of the same detector, and its drift over the frame.
void compare(const Frame& a, const Frame& b, cli::Session& session) {
  cli::Table table{"difference", {"detector", "largest us", "mean us", "drift us", "sidereal time rad"}};
  for (const auto& mine : a.observation.detectors)
    for (const auto& other : b.observation.detectors) {
      if (mine.site.name != other.site.name) continue;
      const auto& p = mine.ephemeris;
      const auto& q = other.ephemeris;
      const std::size_t N = std::min(p.position.size(), q.position.size());
      const auto total = [](const Ephemeris& e, std::size_t i, std::size_t k, double dt) {
        return dt * (e.position[i][k] + (e.einstein.empty() ? 0 : e.einstein[i]));
      };
      double largest = 0, mean = 0;
      Vector3 first{}, last{};
      for (std::size_t i = 0; i < N; ++i)
        for (std::size_t k = 0; k < 3; ++k) {
          const double difference = total(p, i, k, a.observation.band.dt) - total(q, i, k, b.observation.band.dt);
          largest = std::max(largest, std::abs(difference));
          mean += difference / static_cast<double>(3 * N);
          if (i == 0) first[k] = difference;
          last[k] = difference;
        }
      const double drift =
          std::max({std::abs(last[0] - first[0]), std::abs(last[1] - first[1]), std::abs(last[2] - first[2])});
      table.rows.push_back(
          {mine.site.name, 1e6 * largest, 1e6 * mean, 1e6 * drift, std::remainder(p.phir - q.phir, 2 * pi)});
    }
  if (table.rows.empty()) throw bad_input("--check: the two files have no detector in common");
  session.summary.add(std::move(table));
}

}  // namespace

int main(int argc, char** argv) {
  std::string out, earth, sun, spk, leapseconds, ut1, check;
  std::vector<std::string> detectors = {"H1"}, sites;
  double gps = 0, dt = 2, days = 2;
  std::int64_t frame_number = 1;
  const cli::Command command{
      .name = "polgraw-ephem",
      .purpose = "positions of detectors relative to the solar-system barycentre",
      .description =
          "Writes, sample by sample, the position of Earth's centre, that of the detector relative to it, the Sun's (for the Shapiro delay), and the Einstein "
          "delay. Without --earth or --spk the Earth's position comes from the IAU SOFA series Epv00 (5 to 13 km, 15 to 45 "
          "us, mostly constant over days); rotation from the IAU 2006/2000A models, UTC with all leap seconds to 2017.",
      .arguments = {cli::output("OUT", out, "gw-data file with ephemerides")},
      .options = {{"--gps", &gps, "start of the frame", {.unit = "s", .minimum = 0, .maximum = 1e10, .required = true}},
                  {"--detectors", &detectors, "names: H1 L1 V1 K1 G1 H2 E1 E2 E3 CE, or of --site"},
                  {"--site",
                   &sites,
                   "NAME:lat:lon:height:gamma[:zeta] in degrees and m, gamma from local east",
                   {.value_name = "SITE"}},
                  {"--dt", &dt, "sampling interval", {.unit = "s", .minimum = 1e-4, .maximum = 1e5}},
                  {"--days", &days, "sidereal days in the frame", {.minimum = 0.001, .maximum = 1000}},
                  {"--frame", &frame_number, "number of the frame"},
                  {"--earth", &earth, "table of the LAL text format for Earth, may be gzipped", {.value_name = "FILE"}},
                  {"--sun", &sun, "table of the LAL text format for the Sun", {.value_name = "FILE"}},
                  {"--spk", &spk, "JPL ephemeris (.bsp)", {.value_name = "FILE"}},
                  {"--leapseconds", &leapseconds, "IETF leap-seconds.list", {.value_name = "FILE"}},
                  {"--ut1", &ut1, "two columns: MJD, UT1 - UTC in s", {.value_name = "FILE"}},
                  {"--check", &check, "compare with the ephemerides of this file", {.value_name = "FILE"}}},
      .examples = {{"polgraw-ephem --gps 1187008512 --detectors H1,L1 ephem.h5",
                    "Two sidereal days from GW170817's day on."},
                   {"polgraw-ephem --gps 1187008512 --detectors H1 e.h5 --check frame1.h5",
                    "Against another ephemeris."}},
      .reference = "Poghosyan et al., Comput. Phys. Commun. 188 (2015) 167; ERFA (IAU SOFA) for the models",
      .reads = "--check: gw-data, /DET/ephem",
      .writes =
          "/DET/ephem/earth_ssb, det_geo, sun_ssb (N,3) s; /DET/ephem/einstein (N) s; attributes phir, eps, lat, lon, gamma, gps_start",
      .standard = {}};
  return command.run(argc, argv, [&](cli::Session& session) {
    const std::size_t N = frame_length(days, dt);
    if (N < 64 || N > 100000000) throw usage_error("--days {} at --dt {}: {} samples, expected 64 to 1e8", days, dt, N);
    auto scales = TimeScales::built_in();
    if (!leapseconds.empty()) scales.leaps = parse_leap_seconds(formats::File::open(leapseconds).text(), leapseconds);
    if (!ut1.empty()) scales.ut1_utc = parse_ut1(formats::File::open(ut1).text(), ut1);
    if (!earth.empty() && !spk.empty()) throw usage_error("--earth and --spk exclude each other");
    EarthPosition position, sun_position;
    const auto from_table = [](const std::string& name) -> EarthPosition {
      auto table = std::make_shared<EphemerisTable>(formats::File::open(name).text(), name);
      return [table](double t) { return table->position(t); };
    };
    if (!sun.empty()) sun_position = from_table(sun);
    if (!earth.empty()) {
      position = from_table(earth);
    } else if (!spk.empty()) {
      const auto file = formats::File::open(spk);
      auto kernel = std::make_shared<SpkFile>(file.bytes(), spk);
      position = [kernel](double t) {
        const auto r = kernel->earth(tdb_seconds(t));
        return Vector3{r[0] / speed_of_light, r[1] / speed_of_light, r[2] / speed_of_light};
      };
      if (sun.empty() && kernel->has_sun())
        sun_position = [kernel](double t) {
          const auto r = kernel->sun(tdb_seconds(t));
          return Vector3{r[0] / speed_of_light, r[1] / speed_of_light, r[2] / speed_of_light};
        };
    }
    Frame frame;
    frame.info.frame = frame_number;
    frame.info.gps_start = gps;
    frame.observation.band = make_band(0, dt, N);
    for (const auto& site : resolve_sites(detectors, sites)) {
      Series series;
      series.site = site;
      series.gps_start = gps;
      series.ephemeris = make_ephemeris(site, gps, dt, N, scales, position);
      series.ephemeris.sun = sun_positions(gps, dt, N, sun_position);
      frame.observation.detectors.push_back(std::move(series));
    }
    if (!check.empty()) {
      const auto other = h5::Input::open(check);
      compare(frame, read_frame(other, Needs::ephemeris), session);
    }
    auto file = h5::Output::create(out, session.force);
    write_frame(file, frame);
    file.stamp(session, "gw-data");
    file.commit();
    session.summary.add("samples", N);
    session.summary.add("UTC", fmt::format("MJD {:.8f}", mjd_utc(gps, scales)));
  });
}
