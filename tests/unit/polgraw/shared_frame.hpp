#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>

#include "legacy.hpp"

/// The shared sample frame, where it is there.
inline std::string shared_polgraw() {
  return FACHWERK_SHARED "/data/polgraw/";
}

inline std::string file_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::optional<fachwerk::polgraw::Observation> shared_frame(bool original_variance) {
  using namespace fachwerk::polgraw;
  const std::string root = shared_polgraw() + "001/";
  if (!std::filesystem::exists(root + "grid.bin")) return std::nullopt;
  Observation o;
  o.band = make_band(20.171875, 2, 86164);
  for (const std::string name : {"H1", "L1"}) {
    Series series;
    series.site = *find_site(name);
    series.x = legacy::parse_doubles(file_bytes(root + name + "/xdatc_001_0042.bin"));
    series.ephemeris = legacy::parse_ephemeris(file_bytes(root + name + "/DetSSB.bin"),
                                               file_bytes(root + name + "/rDet.bin"), o.band.N, name);
    series.sigma2 = original_variance ? noise_variance_original(series.x) : noise_variance(series.x);
    o.detectors.push_back(std::move(series));
  }
  o.grid = legacy::parse_grid(file_bytes(root + "grid.bin"), "grid.bin");
  o.obliquity = o.detectors[0].ephemeris.obliquity;
  return o;
}
