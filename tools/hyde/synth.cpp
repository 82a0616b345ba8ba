#include "synth.hpp"

#include <algorithm>
#include <cmath>
#include <complex>

#include "compute/fft.hpp"
#include "compute/random.hpp"

namespace fachwerk::hyde {
namespace {

enum Channel : std::uint32_t { spectra_channel = 100, field_channel, rectangle_channel, light_channel, scale_channel };

Matrix random_spectra(std::size_t count, std::size_t bands, std::uint64_t seed) {
  Matrix spectra(count, bands);
  for (std::size_t e = 0; e < count; ++e) {
    compute::Stream stream(seed, e, spectra_channel);
    const double base = 0.1 + 0.4 * stream.uniform(), slope = 0.4 * (stream.uniform() - 0.5);
    struct Peak {
      double centre, width, height;
    };
    std::vector<Peak> peaks(4 + stream.below(4));
    for (Peak& p : peaks)
      p = {stream.uniform(), 0.02 + 0.15 * stream.uniform(), 0.6 * (stream.uniform() - 0.35)};
    for (std::size_t b = 0; b < bands; ++b) {
      const double x = bands > 1 ? static_cast<double>(b) / static_cast<double>(bands - 1) : 0;
      double value = base + slope * (x - 0.5);
      for (const Peak& p : peaks)
        value += p.height * std::exp(-std::pow((x - p.centre) / p.width, 2) / 2);
      spectra(e, b) = std::clamp(value, 0.02, 1.0);
    }
  }
  return spectra;
}

// A Gaussian random field of zero mean and unit variance with amplitude k^-beta.
std::vector<double> random_field(std::size_t rows, std::size_t cols, double beta, std::uint64_t seed, std::size_t index,
                                 std::uint32_t channel) {
  const std::size_t half = cols / 2 + 1;
  std::vector<double> field(rows * cols);
  for (std::size_t p = 0; p < field.size(); ++p)
    field[p] = compute::Stream(seed, index * std::uint64_t{rows * cols} + p, channel).normal();
  std::vector<std::complex<double>> spectrum(rows * half);
  const compute::fft::Real<double> fft(std::vector<std::size_t>{rows, cols});
  fft.forward(field, spectrum);
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t j = 0; j < half; ++j) {
      const double ky = static_cast<double>(std::min(i, rows - i)) / static_cast<double>(rows);
      const double kx = static_cast<double>(j) / static_cast<double>(cols);
      const double k = std::hypot(kx, ky);
      spectrum[i * half + j] *= k > 0 ? std::pow(k, -beta) : 0;
    }
  fft.inverse(spectrum, field);
  double square = 0;
  for (double v : field)
    square += v * v / static_cast<double>(field.size());
  for (double& v : field)
    v = square > 0 ? v / std::sqrt(square) : 0;
  return field;
}

void add_rectangles(std::vector<float>& abundances, Extent extent, const SynthOptions& options,
                    std::size_t endmembers) {
  for (std::size_t k = 0; k < options.rectangles; ++k) {
    compute::Stream stream(options.seed, k, rectangle_channel);
    const std::size_t e = stream.below(endmembers);
    const std::size_t height = std::max<std::size_t>(1, extent.rows / 12 + stream.below(extent.rows / 6 + 1));
    const std::size_t width = std::max<std::size_t>(1, extent.cols / 12 + stream.below(extent.cols / 6 + 1));
    const std::size_t top = stream.below(extent.rows - std::min(height, extent.rows) + 1),
                      left = stream.below(extent.cols - std::min(width, extent.cols) + 1);
    for (std::size_t r = top; r < std::min(top + height, extent.rows); ++r)
      for (std::size_t c = left; c < std::min(left + width, extent.cols); ++c)
        for (std::size_t m = 0; m < endmembers; ++m) {
          float& a = abundances[(r * extent.cols + c) * endmembers + m];
          a = 0.1F * a + (m == e ? 0.9F : 0.0F);
        }
  }
}

// Gaussian blur of planes interleaved by `count`, mirrored borders.
void blur(std::vector<float>& values, Extent extent, std::size_t count, double sigma) {
  const auto reach = static_cast<std::ptrdiff_t>(std::ceil(4 * sigma));
  std::vector<double> kernel;
  double sum = 0;
  for (std::ptrdiff_t i = -reach; i <= reach; ++i)
    sum += kernel.emplace_back(std::exp(-static_cast<double>(i * i) / (2 * sigma * sigma)));
  const auto mirror = [](std::ptrdiff_t i, std::size_t n) {
    const auto period = static_cast<std::ptrdiff_t>(2 * n);
    const auto u = static_cast<std::size_t>(((i % period) + period) % period);
    return u < n ? u : 2 * n - 1 - u;
  };
  for (int axis = 0; axis < 2; ++axis) {
    const std::vector<float> in = values;
#pragma omp parallel for schedule(static)
    for (std::size_t r = 0; r < extent.rows; ++r)
      for (std::size_t c = 0; c < extent.cols; ++c)
        for (std::size_t m = 0; m < count; ++m) {
          double total = 0;
          for (std::ptrdiff_t i = -reach; i <= reach; ++i) {
            const std::size_t rr = axis == 0 ? mirror(static_cast<std::ptrdiff_t>(r) + i, extent.rows) : r;
            const std::size_t cc = axis == 1 ? mirror(static_cast<std::ptrdiff_t>(c) + i, extent.cols) : c;
            total += kernel[static_cast<std::size_t>(i + reach)] * in[(rr * extent.cols + cc) * count + m];
          }
          values[(r * extent.cols + c) * count + m] = static_cast<float>(total / sum);
        }
  }
}

double at_shifted(const Matrix& spectra, std::size_t e, double band) {
  const double x = std::clamp(band, 0.0, static_cast<double>(spectra.cols - 1));
  const auto i = std::min(static_cast<std::size_t>(x), spectra.cols - 1);
  const std::size_t j = std::min(i + 1, spectra.cols - 1);
  return spectra(e, i) + (x - static_cast<double>(i)) * (spectra(e, j) - spectra(e, i));
}

}  // namespace

Scene synthesise(Extent extent, const SynthOptions& options) {
  Scene scene{extent, std::vector<float>(extent.size()), {}, options.spectra, std::vector<double>(extent.bands)};
  if (scene.spectra.rows == 0) scene.spectra = random_spectra(options.endmembers, extent.bands, options.seed);
  const std::size_t endmembers = scene.spectra.rows, pixels = extent.pixels();
  for (std::size_t b = 0; b < extent.bands; ++b)
    scene.wavelength[b] =
        extent.bands > 1 ? 400 + 2100 * static_cast<double>(b) / static_cast<double>(extent.bands - 1) : 400;

  std::vector<std::vector<double>> fields(endmembers);
  for (std::size_t e = 0; e < endmembers; ++e)
    fields[e] = random_field(extent.rows, extent.cols, options.beta, options.seed, e, field_channel);
  scene.abundances.resize(pixels * endmembers);
  for (std::size_t p = 0; p < pixels; ++p) {
    double sum = 0;
    for (std::size_t e = 0; e < endmembers; ++e)
      sum += std::exp(options.contrast * fields[e][p]);
    for (std::size_t e = 0; e < endmembers; ++e)
      scene.abundances[p * endmembers + e] = static_cast<float>(std::exp(options.contrast * fields[e][p]) / sum);
  }
  add_rectangles(scene.abundances, extent, options, endmembers);
  if (options.blur > 0) blur(scene.abundances, extent, endmembers, options.blur);

  std::vector<double> light(pixels, 1.0);
  if (options.illumination > 0) {
    const std::vector<double> field = random_field(extent.rows, extent.cols, 2.5, options.seed, 0, light_channel);
    for (std::size_t p = 0; p < pixels; ++p)
      light[p] = std::exp(options.illumination * field[p]);
  }
#pragma omp parallel for schedule(static)
  for (std::size_t p = 0; p < pixels; ++p) {
    const float* a = &scene.abundances[p * endmembers];
    double scale = light[p];
    if (options.variability > 0)
      scale *= 1 + options.variability * (2 * compute::Stream(options.seed, p, scale_channel).uniform() - 1);
    const double column =
        extent.cols > 1 ? 2.0 * static_cast<double>(p % extent.cols) / static_cast<double>(extent.cols - 1) - 1 : 0;
    const double shift = options.smile * column * column;
    for (std::size_t b = 0; b < extent.bands; ++b) {
      const double band = static_cast<double>(b) + shift;
      double value = 0;
      for (std::size_t e = 0; e < endmembers; ++e)
        value += a[e] * at_shifted(scene.spectra, e, band);
      if (options.bilinear > 0)
        for (std::size_t e = 0; e < endmembers; ++e)
          for (std::size_t f = e + 1; f < endmembers; ++f)
            value += options.bilinear * a[e] * a[f] * at_shifted(scene.spectra, e, band) *
                     at_shifted(scene.spectra, f, band);
      scene.cube[p * extent.bands + b] = static_cast<float>(scale * value);
    }
  }
  return scene;
}

}  // namespace fachwerk::hyde
