#pragma once

#include <complex>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "compute/buffer.hpp"

/// Fourier and cosine transforms of float and double on the CPU (FFTW) or a CUDA device (cuFFT). Plan once, execute
/// often. Nothing is normalised: inverse(forward(x)) = length * x. Making and destroying plans is safe from any thread,
/// and so is executing one plan from several threads on different arrays. Arrays not aligned to 16 bytes are copied on
/// the way.
namespace fachwerk::compute::fft {

enum class Planner { estimate, measure, patient };
enum class Directions { both, forward, inverse };

struct Options {
  Planner planner = Planner::estimate;  ///< how long FFTW looks for a fast plan; wisdom makes the longer ones cheap
  int threads = 1;                      ///< FFTW threads of one transform; many small ones: one thread, one plan each
  Directions directions = Directions::both;  ///< what to plan
  bool in_place = false;                     ///< Complex and Cosine: `in` and `out` will be the same array
  Device device = {};                        ///< where it runs
};

/// Lengths of the transformed axes (1 to 3, row-major, last one contiguous) and how many such arrays follow one
/// another.
struct Layout {
  std::vector<std::size_t> shape;
  std::size_t batch = 1;

  Layout(std::size_t n, std::size_t arrays = 1) : shape{n}, batch(arrays) {}  // NOLINT: implicit, the common case
  Layout(std::vector<std::size_t> lengths, std::size_t arrays = 1)
      : shape(std::move(lengths)), batch(arrays) {}  // NOLINT
  std::size_t length() const;                        ///< product of the lengths
  std::size_t half_length() const;  ///< the same with n/2 + 1 for the last: complex values of a real transform
};

namespace detail {
template <class T>
class Transform;  // one planned direction
}

/// X_k = sum_j x_j exp(-2 pi i j k / n) of complex arrays; `inverse` has the other sign. `in` and `out` hold
/// length * batch values. Sizes that do not fit throw std::invalid_argument, a direction not planned std::logic_error.
template <class T>
class Complex {
 public:
  explicit Complex(Layout layout, Options options = {});
  void forward(View<const std::complex<T>> in, View<std::complex<T>> out) const;
  void inverse(View<const std::complex<T>> in, View<std::complex<T>> out) const;
  const Layout& layout() const { return layout_; }

 private:
  Layout layout_;
  std::shared_ptr<const detail::Transform<T>> forward_, inverse_;
};

/// The same of real arrays (length * batch values), which have half_length * batch complex values, and back.
/// `inverse` may destroy its input.
template <class T>
class Real {
 public:
  explicit Real(Layout layout, Options options = {});
  void forward(View<const T> in, View<std::complex<T>> out) const;
  void inverse(View<std::complex<T>> in, View<T> out) const;
  const Layout& layout() const { return layout_; }

 private:
  Layout layout_;
  std::shared_ptr<const detail::Transform<T>> forward_, inverse_;
};

/// DCT-II forward, X_k = 2 sum_j x_j cos(pi (j + 1/2) k / n) along each axis, and DCT-III inverse:
/// inverse(forward(x)) = (2 n_1)(2 n_2)... x. CPU alone: absent_error for a CUDA device.
template <class T>
class Cosine {
 public:
  explicit Cosine(Layout layout, Options options = {});
  void forward(View<const T> in, View<T> out) const;
  void inverse(View<const T> in, View<T> out) const;
  const Layout& layout() const { return layout_; }

 private:
  Layout layout_;
  std::shared_ptr<const detail::Transform<T>> forward_, inverse_;
};

/// FFTW's memory of plans it has measured, float and double in one file.
/// The path for this CPU model: $XDG_CACHE_HOME/fachwerk/wisdom-CPU, or under ~/.cache.
std::string wisdom_path();
/// Adds the file's wisdom. False if there is no such file; throws bad_input if it is something else.
bool load_wisdom(const std::string& path);
/// Writes all wisdom, with what the file held before, atomically: jobs may do so at the same time. Throws io_error.
void save_wisdom(const std::string& path);

}  // namespace fachwerk::compute::fft
