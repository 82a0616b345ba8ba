#include "compute/reduce.hpp"

#include <limits>

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

/// value and index of item i, its sign turned for a minimum.
template <class T>
struct Signed {
  const T* x;
  double sign;
  FACHWERK_HD Extreme operator()(std::size_t i) const { return {sign * double(x[i]), i}; }
};

struct Larger {
  FACHWERK_HD static bool before(const Extreme& a, const Extreme& b) {
    const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
    if (a_nan || b_nan) return a_nan && (!b_nan || a.index < b.index);
    return a.value > b.value || (a.value == b.value && a.index < b.index);
  }
  FACHWERK_HD Extreme operator()(const Extreme& a, const Extreme& b) const { return before(b, a) ? b : a; }
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

template <class T>
Extreme extreme_of(View<const T> x, double sign) {
  if (x.size() == 0) throw std::invalid_argument("compute: extreme value of an empty array");
  const Extreme none{-std::numeric_limits<double>::infinity(), std::numeric_limits<std::size_t>::max()};
  Extreme found = reduce(x.device(), x.size(), none, Signed<T>{x.data(), sign}, Larger{});
  found.value *= sign;
  return found;
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
