#include "hyres.hpp"

#include <algorithm>
#include <cmath>

#include "cli/error.hpp"
#include "sure.hpp"
#include "transform.hpp"

namespace fachwerk::hyde {
namespace {

constexpr std::size_t kPatience = 5;  // ranks without improvement before the scan stops

std::vector<double> reciprocal(const std::vector<double>& v) {
  std::vector<double> r(v.size());
  std::transform(v.begin(), v.end(), r.begin(), [](double x) { return 1 / x; });
  return r;
}

// Principal components in the wavelet domain: every process has some of them whole, and all know what the risk says.
class Scan {
 public:
  Scan(const Source& source, const Dwt2& dwt, const HyresOptions& options)
      : source_(source), dwt_(dwt), options_(options), valid_(source.whole_valid()) {}

  std::size_t size() const { return gains_.size(); }
  double gain(std::size_t k) const { return gains_[k]; }
  const std::vector<double>& thresholds(std::size_t k) const { return thresholds_[k]; }

  /// The next components: projections on these directions.
  void add(const Matrix& directions);
  /// Soft-thresholded planes of the first `rank` components, of this process's pixels.
  std::vector<float> restored(std::size_t rank);

 private:
  struct Batch {
    std::vector<std::size_t> owned;   // numbers of components
    std::vector<float> coefficients;  // a slot of dwt.size() for each
  };
  std::span<float> slot(Batch& batch, std::size_t i) const {
    return std::span(batch.coefficients).subspan(i * dwt_.size(), dwt_.size());
  }
  std::vector<float> whole_planes(const Matrix& directions) const;
  std::vector<double> choose(std::span<float> slot) const;

  const Source& source_;
  const Dwt2& dwt_;
  const HyresOptions& options_;
  std::vector<std::uint8_t> valid_;
  std::vector<Batch> batches_;
  std::vector<double> gains_;
  std::vector<std::vector<double>> thresholds_;
};

// Planes of the components that this process has, a slot apart.
std::vector<float> Scan::whole_planes(const Matrix& directions) const {
  const Team& team = source_.members();
  if (team.size == 1) return project(source_, directions, dwt_.size());
  const std::size_t pixels = source_.whole().pixels();
  const std::vector<float> planes =
      columns_to_rows(team, source_.pixels_held(), size(), directions.cols, project(source_, directions));
  std::vector<float> slots(planes.size() / pixels * dwt_.size());
  for (std::size_t i = 0; i < planes.size() / pixels; ++i)
    std::copy_n(planes.data() + i * pixels, pixels, slots.data() + i * dwt_.size());
  return slots;
}

// Gain, then thresholds: one, or one a subband.
std::vector<double> Scan::choose(std::span<float> coefficients) const {
  std::vector<double> row(1);
  const auto add = [&](std::span<const float> x) {
    const Threshold bounded = sure_grid(x, options_.largest_threshold, options_.grid);
    row[0] += bounded.gain;
    row.push_back(options_.exact_thresholds ? sure_exact(x).value : bounded.value);
  };
  if (options_.scope == ThresholdScope::component)
    add(coefficients);
  else
    for (const Subband& band : dwt_.subbands())
      add(coefficients_of(dwt_, band, coefficients));
  return row;
}

void Scan::add(const Matrix& directions) {
  const std::size_t first = size(), count = directions.cols;
  const std::size_t width = options_.scope == ThresholdScope::component ? std::size_t{2} : 1 + dwt_.subbands().size();
  const Extent whole = source_.whole();
  Batch batch{rows_of(source_.members(), source_.members().rank, first, count), whole_planes(directions)};
  std::vector<double> table(count * width);
#pragma omp parallel for schedule(dynamic)
  for (std::size_t i = 0; i < batch.owned.size(); ++i)
    fill_invalid(slot(batch, i).first(whole.pixels()), whole.rows, whole.cols, valid_);
  transform(source_, dwt_, batch.coefficients);
#pragma omp parallel for schedule(dynamic)
  for (std::size_t i = 0; i < batch.owned.size(); ++i) {
    const std::vector<double> row = choose(slot(batch, i));
    std::copy(row.begin(), row.end(), table.begin() + static_cast<std::ptrdiff_t>((batch.owned[i] - first) * width));
  }
  source_.sum_over_members(table);
  for (std::size_t k = 0; k < count; ++k) {
    const auto row = table.begin() + static_cast<std::ptrdiff_t>(k * width);
    gains_.push_back(*row);
    thresholds_.emplace_back(row + 1, row + static_cast<std::ptrdiff_t>(width));
  }
  batches_.push_back(std::move(batch));
}

// Batch by batch, so that components are in memory once: in their slots, or as planes.
std::vector<float> Scan::restored(std::size_t rank) {
  const std::size_t pixels = source_.whole().pixels();
  const Team& team = source_.members();
  const auto accepted = [&](const Batch& batch) {
    return static_cast<std::size_t>(
        std::count_if(batch.owned.begin(), batch.owned.end(), [&](std::size_t k) { return k < rank; }));
  };
  std::erase_if(batches_, [&](const Batch& batch) { return accepted(batch) == 0; });
  std::vector<float> planes;
  planes.reserve(rows_of(team, team.rank, 0, rank).size() * pixels);
  for (Batch& batch : batches_) {
    const std::size_t kept = accepted(batch);
    std::vector<float> limits;
    for (std::size_t i = 0; i < kept; ++i)
      limits.insert(limits.end(), thresholds_[batch.owned[i]].begin(), thresholds_[batch.owned[i]].end());
    shrink_and_inverse(source_, dwt_, limits, std::span(batch.coefficients).first(kept * dwt_.size()));
    for (std::size_t i = 0; i < kept; ++i) {
      dwt_.crop(slot(batch, i), slot(batch, i).first(pixels));
      const std::span<float> plane = slot(batch, i).first(pixels);
      planes.insert(planes.end(), plane.begin(), plane.end());
    }
    batch = {};
  }
  return rows_to_columns(team, source_.pixels_held(), 0, rank, std::move(planes));
}

}  // namespace

HyresResult hyres(const Source& source, const Matrix& gram, const Noise& noise, const HyresOptions& options) {
  const std::size_t bands = source.extent.bands;
  if (options.rank && (*options.rank < 1 || *options.rank > bands))
    throw usage_error("--rank {} is not between 1 and the {} bands used", *options.rank, bands);
  const std::vector<double> inverse = reciprocal(noise.sigma);
  const Matrix white = scaled(gram, inverse, inverse);
  const Eigen eigen = eigen_symmetric(white);
  const Matrix directions = scaled(eigen.vectors, inverse, {});  // V with the whitening folded in
  const Extent whole = source.whole();
  const Dwt2 dwt(whole.rows, whole.cols, options.wavelet, options.levels);

  // Components whose energy exceeds the noise's by some standard deviations are those that can be accepted; they, and
  // as many more as the scan looks at without improvement, come from one pass.
  const double n = static_cast<double>(source.valid_pixels());
  std::size_t batch = kPatience + 1;
  for (double value : eigen.values)
    batch += value > n * (1 + 4 * std::sqrt(2 / n) + 2 * std::sqrt(static_cast<double>(bands) / n));
  if (options.rank) batch = *options.rank;
  // A streamed cube is larger than memory: better one more pass than many planes at once.
  const bool streamed = source.block_rows != 0 && source.block_rows < source.extent.rows;
  const std::size_t most = streamed ? 12 : bands;

  HyresResult result;
  Scan scan(source, dwt, options);
  double risk = 0, best = 0;
  std::size_t best_rank = 0;
  result.risk.push_back(0);
  bool done = false;
  while (!done && scan.size() < bands) {
    const std::size_t first = scan.size(), count = std::min({batch, most, bands - first});
    scan.add(columns(directions, first, count));
    for (std::size_t k = first; k < first + count && !done; ++k) {
      risk += scan.gain(k);
      result.risk.push_back(risk);
      if (risk < best) {
        best = risk;
        best_rank = k + 1;
      }
      done = options.rank ? k + 1 == *options.rank : k + 1 >= best_rank + kPatience;
    }
    batch = batch > count ? batch - count : kPatience + 3;
  }
  const std::size_t rank = options.rank.value_or(best_rank);
  result.model = {source.extent, scaled(columns(eigen.vectors, rank), noise.sigma, {}), scan.restored(rank)};
  for (std::size_t k = 0; k < rank; ++k)
    result.thresholds.insert(result.thresholds.end(), scan.thresholds(k).begin(), scan.thresholds(k).end());
  return result;
}

}  // namespace fachwerk::hyde
