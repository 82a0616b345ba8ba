#pragma once

#include <cstddef>
#include <span>

namespace fachwerk::hyde {

/// Collaborative filtering of one grey image with values about [0, 1] (block matching and 3-D filtering, Dabov et al.
/// 2007), written from the published algorithm: blocks 8 x 8, step 3, search 39 x 39. Stage one thresholds the DCT and
/// Haar coefficients of up to 16 similar blocks at 2.7 sigma; stage two finds up to 32 blocks on that pilot and applies
/// the Wiener filter that it gives. In place. The result does not depend on the number of threads.
void bm3d(std::span<float> image, std::size_t rows, std::size_t cols, double sigma);

}  // namespace fachwerk::hyde
