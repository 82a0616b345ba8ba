#pragma once

#include "direct.hpp"
#include "ephemeris.hpp"
#include "inject.hpp"

/// N samples of noise at 2 s with a gap, from two detectors.
inline fachwerk::polgraw::Observation short_frame(std::size_t N = 20000) {
  using namespace fachwerk::polgraw;
  Observation o;
  o.band = make_band(20.171875, 2, N);
  for (const char* name : {"H1", "L1"}) {
    Series s;
    s.site = *find_site(name);
    s.x.assign(N, 0);
    add_noise(s.x, 1, 5, 1, name[0] == 'H' ? 0U : 1U);
    const auto gap = s.x.begin() + static_cast<std::ptrdiff_t>(N * 3 / 20);
    std::fill(gap, gap + static_cast<std::ptrdiff_t>(N * 3 / 40), 0.0);
    s.sigma2 = noise_variance(s.x);
    s.ephemeris = make_ephemeris(s.site, 1187008512, 2, N, TimeScales::built_in());
    o.detectors.push_back(std::move(s));
  }
  return o;
}

inline fachwerk::polgraw::SearchSettings quick_settings(fachwerk::polgraw::Norm norm) {
  fachwerk::polgraw::SearchSettings settings;
  settings.norm = norm;
  settings.planner = fachwerk::compute::fft::Planner::estimate;
  return settings;
}
