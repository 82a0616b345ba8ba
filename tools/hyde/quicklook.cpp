#include "quicklook.hpp"

#include <algorithm>
#include <cmath>

#include "io/plot.hpp"

namespace fachwerk::hyde {
namespace {

// The band nearest to each of 640, 550 and 460 nm, or bands spread over the range where there is no visible light.
std::vector<std::size_t> colour_bands(const Prepared& p) {
  const std::size_t n = p.bands.size();
  std::vector<std::size_t> spread{3 * n / 4, n / 2, n / 4};
  if (p.input.info.wavelength.empty()) return spread;
  std::vector<std::size_t> bands;
  for (double target : {640.0, 550.0, 460.0}) {
    std::size_t best = 0;
    const auto distance = [&](std::size_t k) { return std::abs(p.input.info.wavelength[p.bands[k]] - target); };
    for (std::size_t k = 1; k < n; ++k)
      if (distance(k) < distance(best)) best = k;
    if (distance(best) > 60) return spread;
    bands.push_back(best);
  }
  return bands;
}

}  // namespace

Quicklook::Quicklook(const Prepared& prepared)
    : prepared_(prepared),
      bands_(colour_bands(prepared)),
      before_(3 * prepared.source.extent.pixels()),
      after_(before_.size()) {}

Sink Quicklook::watch(const Sink& next) {
  return [this, &next](std::size_t row, std::size_t rows, std::span<const float> spectra) {
    std::vector<float> scratch;
    const std::span<const float> noisy = prepared_.source.read(row, rows, scratch);
    const Extent extent = prepared_.source.extent;
    for (std::size_t p = 0; p < rows * extent.cols; ++p)
      for (std::size_t c = 0; c < 3; ++c) {
        before_[3 * (row * extent.cols + p) + c] = noisy[p * extent.bands + bands_[c]];
        after_[3 * (row * extent.cols + p) + c] = spectra[p * extent.bands + bands_[c]];
      }
    next(row, rows, spectra);
  };
}

void Quicklook::save_composite(const std::string& path, bool force) const {
  const std::size_t rows = prepared_.source.extent.rows, cols = prepared_.source.extent.cols,
                    gap = std::max<std::size_t>(2, cols / 40);
  plot::Figure figure;
  figure.title = "before, after, and what was removed (grey: nothing; contrast x 4)";
  figure.width = 1200;
  figure.height = 460;
  plot::Image image{.rows = rows, .columns = 3 * cols + 2 * gap};
  image.rgb.assign(image.rows * image.columns * 3, 255);
  for (std::size_t c = 0; c < 3; ++c) {
    std::vector<double> values;
    for (std::size_t p = 0; p < rows * cols; ++p)
      values.push_back(after_[3 * p + c]);
    const auto [low, high] = plot::quantile_range(values, 0.01);
    const double range = high > low ? high - low : 1;
    const auto byte = [](double v) {
      return static_cast<std::uint8_t>(std::lround(255 * std::clamp(std::isfinite(v) ? v : 0.0, 0.0, 1.0)));
    };
    for (std::size_t r = 0; r < rows; ++r)
      for (std::size_t col = 0; col < cols; ++col) {
        const std::size_t p = 3 * (r * cols + col) + c;
        const auto at = [&, low = low](std::size_t panel) -> std::uint8_t& {
          return image.rgb[3 * (r * image.columns + panel * (cols + gap) + col) + c];
        };
        at(0) = byte((before_[p] - low) / range);
        at(1) = byte((after_[p] - low) / range);
        at(2) = byte(0.5 + 4 * (static_cast<double>(before_[p]) - after_[p]) / range);
      }
  }
  figure.image = std::move(image);
  plot::save(figure, path, force);
}

void Quicklook::save_noise(const Noise& noise, const std::string& path, bool force) const {
  plot::Figure figure;
  figure.title = "noise by band";
  const CubeInfo& info = prepared_.input.info;
  figure.x_label = info.wavelength.empty() ? "band" : plot::label("wavelength", "nm");
  figure.y_label = plot::label("standard deviation", info.units);
  plot::Series series{.name = "noise"};
  for (std::size_t k = 0; k < noise.sigma.size(); ++k) {
    series.x.push_back(info.wavelength.empty() ? static_cast<double>(prepared_.bands[k])
                                               : info.wavelength[prepared_.bands[k]]);
    series.y.push_back(noise.sigma[k]);
  }
  figure.series.push_back(std::move(series));
  plot::save(figure, path, force);
}

}  // namespace fachwerk::hyde
