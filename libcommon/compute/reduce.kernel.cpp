#include "compute/reduce.hpp"

#include <algorithm>
#include <cmath>

// Fixed order means fixed rounding: no fused multiply-add where the target has one (set for this file in
// compute.cmake).

namespace fachwerk::compute {
namespace {

template <class T>
struct Value {
  const T* x;
  FACHWERK_HD double operator()(std::size_t i) const { return double(x[i]); }
};

template <class T>
struct Product {
  const T *x, *y;
  FACHWERK_HD double operator()(std::size_t i) const { return double(x[i]) * double(y[i]); }
};

struct Plus {
  FACHWERK_HD double operator()(double a, double b) const { return a + b; }
};

/// Item i, its sign turned for a minimum. NaN becomes the largest value: plain comparisons can be vectorised then.
template <class T>
struct Signed {
  const T* x;
  double sign;
  FACHWERK_HD double operator()(std::size_t i) const {
    const double value = sign * double(x[i]);
    return value == value ? value : HUGE_VAL;
  }
};

template <class T>
struct IsNan {
  const T* x;
  FACHWERK_HD double operator()(std::size_t i) const { return x[i] == x[i] ? 0 : 1; }
};

struct Larger {
  FACHWERK_HD double operator()(double a, double b) const { return b > a ? b : a; }
};

template <class T>
struct NotFinite {
  const T* x;
  FACHWERK_HD int operator()(std::size_t i) const { return x[i] - x[i] == 0 ? 0 : 1; }
};

struct Either {
  FACHWERK_HD int operator()(int a, int b) const { return a | b; }
};

template <class T>
bool finite_of(View<const T> x) {
  return reduce(x.device(), x.size(), 0, NotFinite<T>{x.data()}, Either{}) == 0;
}

template <class T>
double sum_of(View<const T> x) {
  return reduce(x.device(), x.size(), 0.0, Value<T>{x.data()}, Plus{});
}

template <class T>
double dot_of(View<const T> x, View<const T> y) {
  if (x.size() != y.size()) throw std::invalid_argument("compute::dot: lengths differ");
  if (x.device() != y.device()) throw std::invalid_argument("compute::dot: on different devices");
  return reduce(x.device(), x.size(), 0.0, Product<T>{x.data(), y.data()}, Plus{});
}

/// The first item that `is_it`, in the first block that has `mark`.
template <class T, class IsIt>
Extreme first_in(View<const T> x, const std::vector<double>& blocks, double mark, const IsIt& is_it) {
  const auto block = static_cast<std::size_t>(std::find(blocks.begin(), blocks.end(), mark) - blocks.begin());
  const std::size_t begin = block * ReductionOrder::block;
  std::vector<T> items(std::min(ReductionOrder::block, x.size() - begin));
  copy<T>(x.part(begin, items.size()), View<T>(items));
  const auto place = std::find_if(items.begin(), items.end(), is_it);
  return {double(*place), begin + static_cast<std::size_t>(place - items.begin())};
}

template <class T>
Extreme extreme_of(View<const T> x, double sign) {
  if (x.size() == 0) throw std::invalid_argument("compute: extreme value of an empty array");
  const auto blocks = reduce_blocks(x.device(), x.size(), -HUGE_VAL, Signed<T>{x.data(), sign}, Larger{});
  const double extreme = *std::max_element(blocks.begin(), blocks.end());
  if (extreme == HUGE_VAL) {  // NaN among them?
    const auto marks = reduce_blocks(x.device(), x.size(), 0.0, IsNan<T>{x.data()}, Larger{});
    if (*std::max_element(marks.begin(), marks.end()) > 0)
      return first_in(x, marks, 1.0, [](T value) { return value != value; });
  }
  return first_in(x, blocks, extreme, [&](T value) { return sign * double(value) == extreme; });
}

}  // namespace

double sum(View<const double> x) {
  return sum_of(x);
}
double sum(View<const float> x) {
  return sum_of(x);
}
double dot(View<const double> x, View<const double> y) {
  return dot_of(x, y);
}
double dot(View<const float> x, View<const float> y) {
  return dot_of(x, y);
}
bool all_finite(View<const double> x) {
  return finite_of(x);
}
bool all_finite(View<const float> x) {
  return finite_of(x);
}
Extreme max(View<const double> x) {
  return extreme_of(x, 1);
}
Extreme max(View<const float> x) {
  return extreme_of(x, 1);
}
Extreme min(View<const double> x) {
  return extreme_of(x, -1);
}
Extreme min(View<const float> x) {
  return extreme_of(x, -1);
}

}  // namespace fachwerk::compute
