#include "transform.hpp"

#include "accelerator.hpp"
#include "sure.hpp"

namespace fachwerk::hyde {
namespace {

void shrink(const Dwt2& dwt, std::span<const float> thresholds, std::span<float> coefficients) {
  if (thresholds.size() == 1) return soft_threshold(coefficients, thresholds.front());
  for (std::size_t k = 0; k < thresholds.size(); ++k) {
    const Subband& band = dwt.subbands()[k];
    for (std::size_t r = 0; r < band.rows; ++r)
      soft_threshold(coefficients.subspan((band.row + r) * dwt.cols() + band.col, band.cols), thresholds[k]);
  }
}

}  // namespace

void transform(const Source& source, const Dwt2& dwt, std::span<float> slots) {
  if (source.accelerator) return source.accelerator->forward(dwt, slots);
#pragma omp parallel for schedule(dynamic)
  for (std::size_t i = 0; i < slots.size() / dwt.size(); ++i)
    dwt.forward(slots.subspan(i * dwt.size(), dwt.size()));
}

void shrink_and_inverse(const Source& source, const Dwt2& dwt, std::span<const float> thresholds,
                        std::span<float> slots) {
  if (slots.empty()) return;
  if (source.accelerator) return source.accelerator->shrink_and_inverse(dwt, thresholds, slots);
  const std::size_t planes = slots.size() / dwt.size(), each = thresholds.size() / planes;
#pragma omp parallel for schedule(dynamic)
  for (std::size_t i = 0; i < planes; ++i) {
    shrink(dwt, thresholds.subspan(i * each, each), slots.subspan(i * dwt.size(), dwt.size()));
    dwt.inverse_padded(slots.subspan(i * dwt.size(), dwt.size()));
  }
}

}  // namespace fachwerk::hyde
