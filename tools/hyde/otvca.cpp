#include "otvca.hpp"

#include "cli/error.hpp"
#include "gram.hpp"

namespace fachwerk::hyde {

OtvcaResult otvca(const Source& source, const Matrix& gram, const Noise& noise, const OtvcaOptions& options) {
  const auto [rows, cols, bands] = source.extent;
  const std::size_t rank = options.rank;
  if (rank < 1 || rank > bands) throw usage_error("--rank {} is not between 1 and the {} bands used", rank, bands);
  std::vector<double> inverse(bands);
  for (std::size_t b = 0; b < bands; ++b)
    inverse[b] = 1 / noise.sigma[b];
  Matrix v = columns(eigen_symmetric(scaled(gram, inverse, inverse)).vectors, rank);
  TvOptions tv = options.tv;
  tv.weight = options.lambda;

  OtvcaResult result;
  result.model = {source.extent, {}, {}};
  std::vector<TvDual> duals(rank);
  std::vector<std::uint8_t> converged(rank);
  for (int iteration = 0; iteration < options.iterations; ++iteration) {
    result.model.planes = project(source, scaled(v, inverse, {}));
    fill_invalid(result.model.planes, rows, cols, source.valid);
#pragma omp parallel for schedule(dynamic)
    for (std::size_t i = 0; i < rank; ++i)
      converged[i] = tv_denoise(result.model.plane(i), source.extent.rows, source.extent.cols, tv, duals[i]).converged;
    v = procrustes(transposed(scaled(correlate(source, result.model.planes), {}, inverse)));
  }
  for (std::uint8_t ok : converged)
    result.converged = result.converged && ok != 0;
  result.model.basis = scaled(v, noise.sigma, {});
  return result;
}

}  // namespace fachwerk::hyde
