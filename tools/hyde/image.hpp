#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace fachwerk::hyde {

/// Filters for single images with white noise: what subspace methods apply to their eigen-images.
enum class Core { bm3d, nlm, tv, dwt_sure, wiener };
Core core_by_name(const std::string& name);  ///< "bm3d", "nlm", "tv", "dwt-sure", "wiener"; throws usage_error
const std::vector<std::string>& core_names();

/// Denoises `image` [rows][cols], noise of standard deviation sigma, in place.
void denoise_image(Core core, std::span<float> image, std::size_t rows, std::size_t cols, double sigma);

/// Every plane of [count][rows][cols], whose noise has the standard deviation sigmas[i]; each is scaled to [0, 1] for
/// it.
void denoise_planes(Core core, std::span<float> planes, std::size_t rows, std::size_t cols,
                    std::span<const double> sigmas);

/// Non-local means (Buades et al. 2005): patch 7, search 21, weights exp(-max(d² - 2 sigma², 0)/h²), h = 0.7 sigma.
void nonlocal_means(std::span<float> image, std::size_t rows, std::size_t cols, double sigma);

/// Soft thresholds from SURE in every subband of a db5 transform.
void wavelet_shrink(std::span<float> image, std::size_t rows, std::size_t cols, double sigma);

/// Adaptive Wiener filter on 5 x 5 means and variances (Lee 1980).
void local_wiener(std::span<float> image, std::size_t rows, std::size_t cols, double sigma);

/// Median of a (2 radius + 1)² window, mirrored at the border.
void median_filter(std::span<float> image, std::size_t rows, std::size_t cols, std::size_t radius);

/// Adaptive median (Hwang & Haddad 1995): windows from 3 to `largest`; at the first one where min < median < max a
/// pixel strictly between min and max stays and any other becomes the median; where none is such, the median of the
/// largest.
void adaptive_median(std::span<float> image, std::size_t rows, std::size_t cols, std::size_t largest = 21);

}  // namespace fachwerk::hyde
