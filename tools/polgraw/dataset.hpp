#pragma once

#include <optional>
#include <string>

#include "io/hdf5.hpp"
#include "search.hpp"

/// HDF5 layout of polgraw's files: kind gw-data (frames, ephemerides, grids) and gw-triggers.
namespace fachwerk::polgraw {

/// What names a frame.
struct FrameInfo {
  std::int64_t frame = 1;
  std::int64_t band = -1;  ///< number of the band, -1 when it has none
  double overlap = 0.03125;
  double gps_start = 0;
};

struct Frame {
  FrameInfo info;
  Observation observation;
  bool has_grid = false;
};

/// Whether a file must have the series x, or an ephemeris alone will do.
enum class Needs { data, ephemeris };

/// Reads a gw-data file and checks it: lengths, finiteness, equal start times and obliquity, fpo against band, the
/// grid's first vector. `detectors` selects and orders; empty takes all, in alphabetical order.
Frame read_frame(const h5::Node& file, Needs needs, const std::vector<std::string>& detectors = {});
/// Removes detectors without a single sample and returns their names. Throws bad input when none is left.
std::vector<std::string> drop_empty_detectors(Observation& observation, const std::string& file);
void write_frame(h5::Output& file, const Frame& frame);

/// /grid of a file into the observation's grid and `directed`: (D,D) for the axes omega, s, perhaps s2, and al1, al2
/// or the attributes alpha, delta of a single position. Its first vector must be 2 pi / (fftpad nfft) if `band` is
/// given.
void read_grid(const h5::Node& file, const Band* band, Observation& observation);
/// The same of the four axes omega, s, al1, al2; throws bad_input for others.
Grid read_sky_grid(const h5::Node& file);
void check_sky_grid(const Observation& observation, const std::string& file);
/// /DET/ephem/sun_ssb of all detectors: from then on the Shapiro delay is part of the signal's.
void read_sun(const h5::Node& file, Observation& observation);
void write_grid(h5::Output& file, const Grid& grid, double c0, double thickness, double covering_radius,
                const std::string& algorithm);
/// A grid of other parameters (GridOf of lattice.hpp), as dense n x n matrices; `axes` names its columns: "omega,s",
/// "omega,s,s2" or "omega,s,s2,al1,al2".
struct GridMatrices {
  std::size_t n = 4;
  std::span<const double> M, unnormalised, fisher;
  int fftpad = 1;
  std::string axes;
  std::optional<SkyPosition> sky;  ///< of a directed search
};
struct GridQuality {
  double c0 = 0, thickness = 0, covering_radius = 0;
  std::string algorithm;
};
void write_grid(h5::Output& file, const GridMatrices& grid, const GridQuality& quality);
void check_grid(const Grid& grid, const Band& band, const std::string& file);

/// One searched frame and band.
struct TriggerSource {
  FrameInfo info;
  Band band;
  double obliquity = mean_obliquity;
  std::int64_t templates = 0;
};
/// Triggers of any number of frames; `source[i]` tells of which.
struct TriggerSet {
  std::vector<TriggerSource> sources;
  std::vector<Trigger> triggers;
  std::vector<int> source;
};
TriggerSet read_triggers(const h5::Node& file);
void write_triggers(h5::Output& file, const TriggerSet& set);

/// A rank's part of the triggers of all.
struct TriggerRows {
  std::span<const Trigger> triggers;
  std::span<const int> source;
  std::size_t first = 0, total = 0;  ///< where the part begins, and how many rows there are
};
/// The same file by all ranks at once, or by one that has all rows. Collective where `file` is.
void write_triggers(h5::Output& file, std::span<const TriggerSource> sources, const TriggerRows& rows);

}  // namespace fachwerk::polgraw
