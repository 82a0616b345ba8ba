#include "wsrrr.hpp"

#include <algorithm>
#include <cmath>

#include "cli/error.hpp"
#include "gram.hpp"
#include "sure.hpp"
#include "transform.hpp"

namespace fachwerk::hyde {
namespace {

// T for every component and subband, [planes][subbands].
std::vector<float> thresholds_of(const Dwt2& dwt, std::span<const float> slots, std::size_t planes, bool exact) {
  const std::size_t subbands = dwt.subbands().size();
  std::vector<float> thresholds(planes * subbands);
#pragma omp parallel for schedule(dynamic)
  for (std::size_t i = 0; i < planes * subbands; ++i) {
    const std::vector<float> values =
        coefficients_of(dwt, dwt.subbands()[i % subbands], slots.subspan(i / subbands * dwt.size(), dwt.size()));
    thresholds[i] = static_cast<float>(exact ? sure_exact(values).value : sure_grid(values, 1.645605, 15).value);
  }
  return thresholds;
}

}  // namespace

WsrrrResult wsrrr(const Source& source, const Matrix& gram, const Noise& noise, const WsrrrOptions& options) {
  const std::size_t bands = source.extent.bands, rank = options.rank;
  if (rank < 1 || rank > bands) throw usage_error("--rank {} is not between 1 and the {} bands used", rank, bands);
  std::vector<double> inverse(bands);
  for (std::size_t b = 0; b < bands; ++b)
    inverse[b] = 1 / noise.sigma[b];
  Matrix v = columns(eigen_symmetric(scaled(gram, inverse, inverse)).vectors, rank);
  const Extent whole = source.whole();
  const std::size_t pixels = whole.pixels();
  const Dwt2 dwt(whole.rows, whole.cols, options.wavelet, options.levels);

  // Whole planes, those of this process, become spectra's components of its pixels and back.
  const Team& team = source.members();
  const std::vector<std::size_t> held = source.pixels_held();
  const std::vector<std::uint8_t> valid = source.whole_valid();
  const std::size_t mine = rows_of(team, team.rank, 0, rank).size();
  std::vector<float> thresholds;
  WsrrrResult result;
  result.model = {source.extent, {}, {}};
  while (!result.converged && result.iterations < options.iterations) {
    std::vector<float> planes = columns_to_rows(team, held, 0, rank, project(source, scaled(v, inverse, {})));
    fill_invalid(planes, whole.rows, whole.cols, valid);
    std::vector<float> slots(mine * dwt.size());
    const auto slot = [&](std::size_t i) { return std::span(slots).subspan(i * dwt.size(), dwt.size()); };
    const auto plane = [&](std::vector<float>& all, std::size_t i) {
      return std::span(all).subspan(i * pixels, pixels);
    };
    for (std::size_t i = 0; i < mine; ++i)
      std::copy_n(plane(planes, i).begin(), pixels, slot(i).begin());
    transform(source, dwt, slots);
    if (result.iterations == 0) thresholds = thresholds_of(dwt, slots, mine, options.exact_thresholds);
    shrink_and_inverse(source, dwt, thresholds, slots);
    std::vector<float> folded(mine * pixels);  // Wᵀ X with the padding folded back, so that Xᵀ W Y = foldedᵀ Y
#pragma omp parallel for schedule(dynamic)
    for (std::size_t i = 0; i < mine; ++i) {
      dwt.fold(slot(i), plane(folded, i));
      dwt.crop(slot(i), plane(planes, i));
    }
    result.model.planes = rows_to_columns(team, held, 0, rank, std::move(planes));
    const Matrix m = scaled(correlate(source, rows_to_columns(team, held, 0, rank, std::move(folded))), {}, inverse);
    const Matrix next = procrustes(transposed(m));
    double difference = 0;
    for (std::size_t i = 0; i < v.values.size(); ++i)
      difference += std::pow(next.values[i] - v.values[i], 2);
    result.change = std::sqrt(difference / static_cast<double>(rank));
    result.converged = result.change < options.tolerance;
    v = next;
    ++result.iterations;
  }
  result.model.basis = scaled(v, noise.sigma, {});
  return result;
}

}  // namespace fachwerk::hyde
