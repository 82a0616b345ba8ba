#pragma once

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <doctest.h>
#include <fmt/format.h>

#include "matpower.hpp"
#include "mismatch.hpp"
#include "network.hpp"

/// Cases for the tests: files of data/ (always there) and of ../shared/data/dpf (where present).
namespace cases {

inline std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

inline fachwerk::dpf::Grid from_text(const std::string& text, const std::string& name = "test.m") {
  std::vector<std::string> warnings;
  return fachwerk::dpf::grid_of(fachwerk::dpf::evaluate_matpower(text, name), name, warnings);
}

inline std::string shared_path(const std::string& file) {
  return std::string(FACHWERK_SHARED) + "/data/dpf/" + file;
}

/// False, with a message, where the shared data are not there.
inline bool has_shared(const std::string& file) {
  if (std::filesystem::exists(shared_path(file))) return true;
  MESSAGE("skipped: " << shared_path(file) << " is not here");
  return false;
}

inline fachwerk::dpf::Grid shared(const std::string& name) {
  return from_text(text_of(shared_path(name + ".m")), name + ".m");
}

/// IEEE 14-bus grid of data/.
inline fachwerk::dpf::Grid ieee14() {
  return from_text(text_of(std::string(FACHWERK_DATA) + "/ieee14.m"), "ieee14.m");
}

/// Largest difference of magnitudes (pu) and angles (radians).
inline double difference(const fachwerk::dpf::State& a, const fachwerk::dpf::State& b) {
  double worst = 0;
  for (std::size_t i = 0; i < a.vm.size(); ++i)
    worst = std::max({worst, std::abs(a.vm[i] - b.vm[i]), std::abs(a.va[i] - b.va[i])});
  return worst;
}

}  // namespace cases
