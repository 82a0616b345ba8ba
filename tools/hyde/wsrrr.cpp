#include "wsrrr.hpp"

#include <algorithm>
#include <cmath>

#include "cli/error.hpp"
#include "gram.hpp"
#include "sure.hpp"

namespace fachwerk::hyde {
namespace {

template <class Fn>
void each_row(const Dwt2& dwt, const Subband& band, std::span<float> coefficients, const Fn& fn) {
  for (std::size_t r = 0; r < band.rows; ++r)
    fn(coefficients.subspan((band.row + r) * dwt.cols() + band.col, band.cols));
}

// T for every component and subband.
std::vector<std::vector<double>> thresholds_of(const Dwt2& dwt, std::span<float> coefficients, std::size_t rank,
                                               bool exact) {
  std::vector<std::vector<double>> thresholds(rank, std::vector<double>(dwt.subbands().size()));
#pragma omp parallel for schedule(dynamic)
  for (std::size_t i = 0; i < rank; ++i)
    for (std::size_t k = 0; k < dwt.subbands().size(); ++k) {
      std::vector<float> values;
      each_row(dwt, dwt.subbands()[k], coefficients.subspan(i * dwt.size(), dwt.size()),
               [&](std::span<float> row) { values.insert(values.end(), row.begin(), row.end()); });
      thresholds[i][k] = exact ? sure_exact(values).value : sure_grid(values, 1.645605, 15).value;
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
  std::vector<std::vector<double>> thresholds;
  WsrrrResult result;
  result.model = {source.extent, {}, {}};
  while (!result.converged && result.iterations < options.iterations) {
    std::vector<float> planes = columns_to_rows(team, held, 0, rank, project(source, scaled(v, inverse, {})));
    fill_invalid(planes, whole.rows, whole.cols, valid);
    std::vector<float> coefficients(mine * dwt.size());
    const auto part = [&](std::size_t i) { return std::span(coefficients).subspan(i * dwt.size(), dwt.size()); };
    const auto plane = [&](std::vector<float>& all, std::size_t i) {
      return std::span(all).subspan(i * pixels, pixels);
    };
#pragma omp parallel for schedule(dynamic)
    for (std::size_t i = 0; i < mine; ++i)
      dwt.forward(plane(planes, i), part(i));
    if (result.iterations == 0) thresholds = thresholds_of(dwt, coefficients, mine, options.exact_thresholds);
    std::vector<float> folded(mine * pixels);  // Wᵀ X with the padding folded back, so that Xᵀ W Y = foldedᵀ Y
#pragma omp parallel for schedule(dynamic)
    for (std::size_t i = 0; i < mine; ++i) {
      for (std::size_t k = 0; k < dwt.subbands().size(); ++k)
        each_row(dwt, dwt.subbands()[k], part(i),
                 [&](std::span<float> row) { soft_threshold(row, static_cast<float>(thresholds[i][k])); });
      dwt.inverse_and_adjoint(part(i), plane(planes, i), plane(folded, i));
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
