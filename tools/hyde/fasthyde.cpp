#include "fasthyde.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "cli/error.hpp"

namespace fachwerk::hyde {
namespace {

// Scale sigma of every band (whitening, or one for all), and the subspace in that scale.
struct Plan {
  std::vector<double> sigma, inverse;
  Matrix basis;
};

Plan plan_subspace(const Matrix& gram, std::size_t pixels, const Noise& noise, const FasthydeOptions& options) {
  const std::size_t bands = gram.rows;
  Plan plan{noise.sigma, std::vector<double>(bands), {}};
  if (options.noise_type == NoiseType::iid) {
    double mean = 0;
    for (double s : noise.sigma)
      mean += s * s / static_cast<double>(bands);
    std::fill(plan.sigma.begin(), plan.sigma.end(), std::sqrt(mean));
  }
  for (std::size_t b = 0; b < bands; ++b)
    plan.inverse[b] = 1 / plan.sigma[b];
  const Subspace subspace = hysime_whitened(gram, pixels, {plan.sigma, noise.signal});
  std::size_t rank = std::max<std::size_t>(subspace.rank, 1);
  if (options.subspace > 0) rank = options.exact_subspace ? options.subspace : std::min(rank, options.subspace);
  if (rank > bands) throw usage_error("--subspace {} is more than the {} bands used", rank, bands);
  plan.basis = columns(subspace.basis, rank);
  if (options.protect.cols > 0) plan.basis = with_protected(plan.basis, scaled(options.protect, plan.inverse, {}));
  return plan;
}

LowRank finish(const Extent& extent, const Plan& plan, std::vector<float> planes, const FasthydeOptions& options) {
  const std::vector<double> unit(plan.basis.cols, 1.0);
  denoise_planes(options.core, planes, extent.rows, extent.cols, unit);
  return {extent, scaled(plan.basis, plan.sigma, {}), std::move(planes)};
}

bool observed_at(std::span<const std::uint8_t> observed, std::size_t pixel, std::size_t band, std::size_t bands,
                 std::size_t pixels) {
  return observed[observed.size() == pixels ? pixel : pixel * bands + band] != 0;
}

}  // namespace

Matrix with_protected(const Matrix& basis, const Matrix& spectra) {
  Matrix all(basis.rows, basis.cols + spectra.cols);
  std::size_t kept = basis.cols;
  for (std::size_t i = 0; i < basis.rows; ++i)
    for (std::size_t k = 0; k < basis.cols; ++k)
      all(i, k) = basis(i, k);
  for (std::size_t j = 0; j < spectra.cols; ++j) {
    std::vector<double> rest(basis.rows);
    double before = 0, after = 0;
    for (std::size_t i = 0; i < basis.rows; ++i)
      before += (rest[i] = spectra(i, j)) * spectra(i, j);
    for (int pass = 0; pass < 2; ++pass)
      for (std::size_t k = 0; k < kept; ++k) {
        double dot = 0;
        for (std::size_t i = 0; i < basis.rows; ++i)
          dot += all(i, k) * rest[i];
        for (std::size_t i = 0; i < basis.rows; ++i)
          rest[i] -= dot * all(i, k);
      }
    for (double v : rest)
      after += v * v;
    if (!(after > 1e-12 * before)) continue;
    for (std::size_t i = 0; i < basis.rows; ++i)
      all(i, kept) = rest[i] / std::sqrt(after);
    ++kept;
  }
  return columns(all, kept);
}

LowRank fasthyde(const Source& source, const Matrix& gram, const Noise& noise, const FasthydeOptions& options) {
  const Plan plan = plan_subspace(gram, source.valid_pixels(), noise, options);
  std::vector<float> planes = project(source, scaled(plan.basis, plan.inverse, {}));
  fill_invalid(planes, source.extent.rows, source.extent.cols, source.valid);
  return finish(source.extent, plan, std::move(planes), options);
}

Source complete_only(const Source& source, std::span<const std::uint8_t> observed) {
  const std::size_t pixels = source.extent.pixels(), bands = source.extent.bands, cols = source.extent.cols;
  Source complete = source;
  complete.valid.assign(pixels, 1);
  for (std::size_t p = 0; p < pixels; ++p)
    for (std::size_t b = 0; b < bands && complete.valid[p] != 0; ++b)
      complete.valid[p] = observed_at(observed, p, b, bands, pixels) ? 1 : 0;
  complete.read = [source, valid = complete.valid, bands, cols](std::size_t row, std::size_t rows,
                                                                std::vector<float>& scratch) {
    std::vector<float> inner;
    const std::span<const float> spectra = source.read(row, rows, inner);
    scratch.assign(spectra.begin(), spectra.end());
    for (std::size_t p = 0; p < rows * cols; ++p)
      if (valid[row * cols + p] == 0)
        std::fill_n(scratch.begin() + static_cast<std::ptrdiff_t>(p * bands), bands, 0.0F);
    return std::span<const float>(scratch);
  };
  return complete;
}

FasthyinResult fasthyin(const Source& source, std::span<const std::uint8_t> observed, const Matrix& gram,
                        std::size_t complete_pixels, const Noise& noise, const FasthydeOptions& options) {
  const std::size_t pixels = source.extent.pixels(), bands = source.extent.bands, cols = source.extent.cols;
  if (observed.size() != pixels && observed.size() != pixels * bands)
    throw bad_input("the mask has {} values, expected {} (pixels) or {} (pixels x bands)", observed.size(), pixels,
                    pixels * bands);
  const Plan plan = plan_subspace(gram, complete_pixels, noise, options);
  const std::size_t rank = plan.basis.cols;
  const Source complete = complete_only(source, observed);
  std::vector<float> planes = project(complete, scaled(plan.basis, plan.inverse, {}));

  FasthyinResult result;
  std::vector<std::uint8_t> known(complete.valid);
  // One factorisation for all pixels that miss the same bands: stripes share their pattern.
  std::map<std::string, std::vector<std::size_t>> patterns;
  for (std::size_t p = 0; p < pixels; ++p) {
    if (complete.valid[p] != 0) continue;
    ++result.incomplete;
    std::string pattern(bands, '0');
    std::size_t count = 0;
    for (std::size_t b = 0; b < bands; ++b)
      if (observed_at(observed, p, b, bands, pixels)) {
        pattern[b] = '1';
        ++count;
      }
    if (count < rank) {
      ++result.filled;
    } else {
      patterns[std::move(pattern)].push_back(p);
    }
  }
  result.patterns = patterns.size();
  // pixel -> solution operator of its pattern
  std::map<std::size_t, std::size_t> operator_of;
  std::vector<Matrix> operators;
  for (const auto& [pattern, members] : patterns) {
    Matrix normal(rank, rank);
    for (std::size_t b = 0; b < bands; ++b)
      if (pattern[b] == '1')
        for (std::size_t i = 0; i < rank; ++i)
          for (std::size_t j = 0; j < rank; ++j)
            normal(i, j) += plan.basis(b, i) * plan.basis(b, j);
    const double ridge = 1e-6 * trace(normal) / static_cast<double>(rank);
    for (std::size_t i = 0; i < rank; ++i)
      normal(i, i) += ridge;
    operators.push_back(inverse_spd(std::move(normal)));
    for (std::size_t p : members) {
      operator_of[p] = operators.size() - 1;
      known[p] = 1;
    }
  }
  source.each_block([&](std::size_t row, std::size_t rows, std::span<const float> spectra) {
    std::vector<double> right(rank);
    for (auto it = operator_of.lower_bound(row * cols); it != operator_of.end() && it->first < (row + rows) * cols;
         ++it) {
      const std::size_t p = it->first;
      const float* y = spectra.data() + (p - row * cols) * bands;
      std::fill(right.begin(), right.end(), 0.0);
      for (std::size_t b = 0; b < bands; ++b)
        if (observed_at(observed, p, b, bands, pixels))
          for (std::size_t i = 0; i < rank; ++i)
            right[i] += plan.basis(b, i) * plan.inverse[b] * static_cast<double>(y[b]);
      const Matrix& solve = operators[it->second];
      for (std::size_t i = 0; i < rank; ++i) {
        double z = 0;
        for (std::size_t j = 0; j < rank; ++j)
          z += solve(i, j) * right[j];
        planes[i * pixels + p] = static_cast<float>(z);
      }
    }
  });
  if (result.filled > 0) fill_invalid(planes, source.extent.rows, cols, known);
  result.model = finish(source.extent, plan, std::move(planes), options);
  return result;
}

Source anscombe_source(const Source& source, double gain) {
  Source transformed = source;
  transformed.read = [source, gain](std::size_t row, std::size_t rows, std::vector<float>& scratch) {
    std::vector<float> inner;
    const std::span<const float> spectra = source.read(row, rows, inner);
    scratch.resize(spectra.size());
    const auto scale = static_cast<float>(1 / gain);
    const std::size_t cols = source.extent.cols, bands = source.extent.bands;
#pragma omp parallel for schedule(static)
    for (std::size_t p = 0; p < rows * cols; ++p) {
      const bool valid = source.is_valid(row * cols + p);  // invalid pixels stay zero spectra
      for (std::size_t b = 0; b < bands; ++b)
        scratch[p * bands + b] = valid ? 2 * std::sqrt(std::max(spectra[p * bands + b] * scale, 0.0F) + 0.375F) : 0;
    }
    return std::span<const float>(scratch);
  };
  return transformed;
}

double anscombe_inverse(double z) {
  if (z < 2 * std::sqrt(0.375)) return 0;
  const double r = 1 / z;
  return std::max(0.0,
                  z * z / 4 + std::sqrt(1.5) / 4 * r - 11.0 / 8 * r * r + 5.0 / 8 * std::sqrt(1.5) * r * r * r - 0.125);
}

void anscombe_inverse(std::span<float> values, double gain) {
#pragma omp parallel for schedule(static)
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(gain * anscombe_inverse(static_cast<double>(values[i])));
}

}  // namespace fachwerk::hyde
