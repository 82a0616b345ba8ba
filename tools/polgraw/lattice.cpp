#include "lattice.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <vector>

#include "cli/error.hpp"

namespace fachwerk::polgraw {

namespace {

template <std::size_t n>
using Vector = std::array<double, n>;
template <std::size_t n>
using Integers = std::array<int, n>;

constexpr std::size_t power(std::size_t base, std::size_t exponent) {
  std::size_t p = 1;
  while (exponent-- > 0)
    p *= base;
  return p;
}
/// The code-th of (2 reach + 1)^n tuples of integers from -reach to reach.
template <std::size_t n>
Integers<n> tuple_of(std::size_t code, int reach) {
  const auto side = static_cast<std::size_t>(2 * reach + 1);
  Integers<n> c;
  for (int& x : c) {
    x = static_cast<int>(code % side) - reach;
    code /= side;
  }
  return c;
}

template <std::size_t n>
double dot(const Vector<n>& a, const Vector<n>& b) {
  double sum = 0;
  for (std::size_t k = 0; k < n; ++k)
    sum += a[k] * b[k];
  return sum;
}
template <std::size_t n>
Vector<n> row(const Square<n>& m, std::size_t i) {
  Vector<n> v;
  std::copy_n(m.begin() + static_cast<std::ptrdiff_t>(n * i), n, v.begin());
  return v;
}
template <std::size_t n>
void set_row(Square<n>& m, std::size_t i, const Vector<n>& v) {
  std::ranges::copy(v, m.begin() + static_cast<std::ptrdiff_t>(n * i));
}
template <std::size_t n>
Vector<n> combine(const Integers<n>& c, const Square<n>& m) {
  Vector<n> v{};
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t k = 0; k < n; ++k)
      v[k] += c[i] * m[n * i + k];
  return v;
}

/// A basis of the same lattice with short vectors: each against sums of the others with small coefficients, until
/// nothing gets shorter: a Minkowski-like reduction, exact enough in up to five dimensions.
template <std::size_t n>
Square<n> reduce_basis(Square<n> b) {
  for (bool shorter = true; shorter;) {
    shorter = false;
    for (std::size_t i = 0; i < n; ++i) {
      const auto v = row<n>(b, i);
      auto best = v;
      double length = dot<n>(v, v) * (1 - 1e-12);
      for (std::size_t code = 0; code < power(5, n - 1); ++code) {
        const auto c = tuple_of<n>(code, 2);  // the last coefficient is -2 and not used
        auto w = v;
        for (std::size_t k = 0, used = 0; k < n; ++k) {
          if (k == i) continue;
          for (std::size_t x = 0; x < n; ++x)
            w[x] += c[used] * b[n * k + x];
          ++used;
        }
        if (dot<n>(w, w) < length) length = dot<n>(w, w) * (1 - 1e-12), best = w, shorter = true;
      }
      set_row<n>(b, i, best);
    }
  }
  return b;
}

/// One of each pair +-v of vectors that bound the Voronoi cell: those that are, up to sign, the only shortest ones of a
/// coset of 2L other than 2L itself (Voronoi's theorem).
template <std::size_t n>
std::vector<Vector<n>> facet_vectors(const Square<n>& reduced) {
  struct Shortest {
    Vector<n> v{};
    double norm = 1e300;
    bool alone = false;
  };
  std::array<Shortest, power(2, n)> cosets;
  for (std::size_t code = 0; code < power(5, n); ++code) {
    const auto c = tuple_of<n>(code, 2);
    const auto leading = std::ranges::find_if(c, [](int x) { return x != 0; });
    if (leading == c.end() || *leading < 0) continue;
    std::size_t coset = 0;
    for (std::size_t k = 0; k < n; ++k)
      coset |= static_cast<std::size_t>(c[k] & 1) << k;
    if (coset == 0) continue;
    auto& known = cosets[coset];
    const auto v = combine<n>(c, reduced);
    const double norm = dot<n>(v, v);
    if (norm < known.norm * (1 - 1e-11))
      known = {v, norm, true};
    else if (norm < known.norm * (1 + 1e-11))
      known.alone = false;
  }
  std::vector<Vector<n>> facets;
  for (const auto& coset : cosets)
    if (coset.alone) facets.push_back(coset.v);
  return facets;
}

/// Vertices of a Voronoi cell: the points x with v_i . x = +-|v_i|^2 / 2 for n of the facets that no other facet cuts
/// off. Facets are chosen one after the other; `dual` holds, for those chosen, the vectors w_i with w_i . v_k =
/// delta_ik in the space that they span.
template <std::size_t n>
class VertexSearch {
 public:
  explicit VertexSearch(std::vector<Vector<n>> facets) : facets_(std::move(facets)) {
    for (const auto& v : facets_)
      half_.push_back(dot<n>(v, v) / 2);
  }
  /// Distance of the farthest one; no farther is looked for once one lies beyond `enough`.
  double farthest(double enough) {
    enough2_ = enough * enough;
    choose(0, 0, {});
    return std::sqrt(radius2_);
  }

 private:
  void choose(std::size_t chosen, std::size_t from, const std::array<Vector<n>, n>& dual) {
    if (radius2_ > enough2_) return;
    if (chosen == n) return visit(dual);
    for (std::size_t i = from; i + (n - chosen) <= facets_.size(); ++i) {
      // The part of the facet's vector across those chosen so far: zero if it depends on them.
      const auto& v = facets_[i];
      auto across = v;
      for (std::size_t k = 0; k < chosen; ++k) {
        const double part = dot<n>(v, orthonormal_[k]);
        for (std::size_t x = 0; x < n; ++x)
          across[x] -= part * orthonormal_[k][x];
      }
      const double norm2 = dot<n>(across, across);
      if (norm2 < 1e-18 * half_[i]) continue;
      for (std::size_t x = 0; x < n; ++x)
        orthonormal_[chosen][x] = across[x] / std::sqrt(norm2);
      auto next = dual;
      for (std::size_t x = 0; x < n; ++x)
        next[chosen][x] = across[x] / norm2;
      for (std::size_t k = 0; k < chosen; ++k) {
        const double part = dot<n>(dual[k], v);
        for (std::size_t x = 0; x < n; ++x)
          next[k][x] -= part * next[chosen][x];
      }
      indices_[chosen] = i;
      choose(chosen + 1, i + 1, next);
    }
  }
  /// The points of one choice of facets; the cell is its own mirror image, so that one sign can stay.
  void visit(const std::array<Vector<n>, n>& dual) {
    for (std::size_t signs = 0; signs < power(2, n - 1); ++signs) {
      Vector<n> x{};
      for (std::size_t k = 0; k < n; ++k) {
        const double h = (k > 0 && (signs >> (k - 1) & 1) != 0 ? -1 : 1) * half_[indices_[k]];
        for (std::size_t c = 0; c < n; ++c)
          x[c] += h * dual[k][c];
      }
      const double norm = dot<n>(x, x);
      if (norm <= radius2_) continue;
      bool inside = true;
      for (std::size_t i = 0; i < facets_.size() && inside; ++i)
        inside = std::abs(dot<n>(x, facets_[i])) <= half_[i] * (1 + 1e-9);
      if (inside) radius2_ = norm;
    }
  }

  std::vector<Vector<n>> facets_;
  std::vector<double> half_;
  std::array<Vector<n>, n> orthonormal_{};
  std::array<std::size_t, n> indices_{};
  double radius2_ = 0, enough2_ = 0;
};

template <std::size_t n>
double radius_up_to(const Square<n>& basis, double enough) {
  return VertexSearch<n>(facet_vectors<n>(reduce_basis<n>(basis))).farthest(enough);
}

/// An* with covering radius 1: the Gram matrix (n + 1) I - 1 1^T has the covering radius n (n + 2) / 12.
template <std::size_t n>
Square<n> an_star() {
  constexpr double radius2 = n * (n + 2) / 12.0;
  Square<n> gram{};
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t k = 0; k < n; ++k)
      gram[n * i + k] = ((i == k ? n + 1.0 : 0.0) - 1) / radius2;
  return cholesky(gram);
}
template <std::size_t n>
double shortest_of_an_star() {
  return std::sqrt(12.0 / (n + 2));
}

/// The lattice stretched by `along` in the direction of row 0 and by `across` perpendicular to it, as lower triangular
/// rows.
template <std::size_t n>
Square<n> stretched(const Square<n>& basis, double along, double across) {
  const auto axis = row<n>(basis, 0);
  const double norm = dot<n>(axis, axis);
  Square<n> out{};
  for (std::size_t i = 0; i < n; ++i) {
    auto v = row<n>(basis, i);
    const double part = dot<n>(v, axis) / norm;
    for (std::size_t k = 0; k < n; ++k)
      v[k] = across * (v[k] - part * axis[k]) + along * part * axis[k];
    set_row<n>(out, i, v);
  }
  return cholesky(multiply(out, transpose(out)));
}

/// Vectors of An* up to `longest`, one of each class under its symmetries (permutations of the n + 1 coordinates and
/// sign), each as row 0 of a basis; those whose length is next to the wanted one first.
template <std::size_t n>
std::vector<Square<n>> directions(double longest, double wanted) {
  const auto basis = an_star<n>();
  std::map<std::array<int, n + 1>, Square<n>> classes;
  constexpr int reach = 4;
  for (std::size_t code = 0; code < power(2 * reach + 1, n); ++code) {
    const auto c = tuple_of<n>(code, reach);
    const auto one = std::ranges::find_if(c, [](int x) { return std::abs(x) == 1; });
    if (one == c.end()) continue;  // row 0 replaces the row with coefficient +-1
    const auto v = combine<n>(c, basis);
    if (std::sqrt(dot<n>(v, v)) > longest) continue;
    // In coordinates of Z^(n+1) modulo (1, ..., 1): the differences from the smallest, sorted; or of -v.
    const auto canonical = [&](int sign) {
      std::array<int, n + 1> x{};
      for (std::size_t k = 0; k < n; ++k)
        x[k] = sign * c[k];
      std::ranges::sort(x);
      const int lowest = x[0];
      for (int& y : x)
        y -= lowest;
      return x;
    };
    auto chosen = basis;
    set_row<n>(chosen, static_cast<std::size_t>(one - c.begin()), row<n>(basis, 0));
    set_row<n>(chosen, 0, v);
    classes.emplace(std::min(canonical(1), canonical(-1)), chosen);
  }
  std::vector<Square<n>> found;
  for (const auto& [key, value] : classes)
    found.push_back(value);
  std::ranges::stable_sort(found, {}, [&](const Square<n>& b) {  // the most promising first
    return std::abs(std::log(dot<n>(row<n>(b, 0), row<n>(b, 0)) / (wanted * wanted)));
  });
  return found;
}

/// The largest `across` for which the stretched lattice still has covering radius 1; 0 if it is not above `least`. The
/// radius rises with `across`: by false position, halved where that is slow.
template <std::size_t n>
double widest(const Square<n>& basis, double along, double least) {
  const auto radius = [&](double across) { return covering_radius(stretched<n>(basis, along, across)); };
  double lo = std::max(least, 0.05), hi = 1.6;
  if (!(radius_up_to<n>(stretched<n>(basis, along, lo), 1) < 1)) return 0;
  double below = radius(lo) - 1, above = radius(hi) - 1;
  int stuck = 0;
  for (int step = 0; step < 100 && hi - lo > 1e-13 * hi && above > 0; ++step) {
    double middle = lo - below * (hi - lo) / (above - below);
    if (std::abs(stuck) >= 2 || !(middle > lo && middle < hi)) middle = (lo + hi) / 2;
    const double value = radius(middle) - 1;
    if (std::abs(value) < 1e-14) return middle * (1 - 1e-13);
    if (value <= 0) {
      lo = middle, below = value;
      stuck = std::max(stuck, 0) + 1;
    } else {
      hi = middle, above = value;
      stuck = std::min(stuck, 0) - 1;
    }
  }
  return lo;
}

template <std::size_t n>
Square<n> shrunk_an(double length) {
  double best = 1e300;
  Square<n> chosen{};
  for (const auto& basis : directions<n>(length + 1.5, length)) {
    const double norm = std::sqrt(dot<n>(row<n>(basis, 0), row<n>(basis, 0)));
    if (norm >= length * (1 - 1e-12) && norm < best) best = norm, chosen = basis;
  }
  return stretched<n>(chosen, length / best, length / best);
}

/// |det| of the stretched lattice is that of An* times along across^(n-1): a direction is looked at only where it can
/// still win.
template <std::size_t n>
std::optional<Square<n>> stretched_an(double length, double longest) {
  std::optional<Square<n>> best;
  double volume = 0;
  const double unit = std::abs(determinant(an_star<n>()));
  for (const auto& basis : directions<n>(longest, length)) {
    const double along = length / std::sqrt(dot<n>(row<n>(basis, 0), row<n>(basis, 0)));
    if (along > 2) continue;
    const double least = std::pow(volume / (unit * along), 1.0 / (n - 1));
    const double across = widest<n>(basis, along, least);
    if (across <= least) continue;
    best = stretched<n>(basis, along, across);
    volume = std::abs(determinant(*best));
  }
  return best;
}

/// Columns are divided by N, N^2 (, N^3) for frequency and spindowns, by N for the sky.
template <std::size_t n>
Square<n> normalised(const Square<n>& M, std::size_t N) {
  constexpr std::size_t spindowns = n == 2 || n == 4 ? 1 : 2;
  const auto samples = static_cast<double>(N);
  auto out = M;
  for (std::size_t i = 0; i < n; ++i) {
    double scale = samples;
    for (std::size_t k = 0; k < n; ++k) {
      out[n * i + k] /= k <= spindowns ? scale : samples;
      scale *= samples;
    }
  }
  return out;
}

/// Of short observations the Fisher matrix is so close to singular that rounding of L in double shows in the covering
/// radius.
template <std::size_t n>
using Extended = std::array<long double, n * n>;

/// Lower triangular M with M Gamma M^T = radius^2 Q Q^T, that is M L = radius Q. The entries along the sky are some 1e7
/// times those of the frequency, which Gamma takes back: each row is solved from its last column with the entries as
/// they are stored, so that an entry makes up for the rounding of those behind it.
template <std::size_t n>
Square<n> rows_in_metric(const Extended<n>& L, const Square<n>& Q, double radius) {
  Square<n> M{};
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t k = i + 1; k-- > 0;) {
      long double rest = static_cast<long double>(radius) * Q[n * i + k];
      for (std::size_t j = k + 1; j <= i; ++j)
        rest -= M[n * i + j] * L[n * j + k];
      M[n * i + k] = static_cast<double>(rest / L[n * k + k]);
    }
  return M;
}

/// M L, the lattice in the metric.
template <std::size_t n>
Square<n> in_metric(const Square<n>& M, const Extended<n>& L) {
  Square<n> out{};
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t k = 0; k < n; ++k) {
      long double sum = 0;
      for (std::size_t j = 0; j < n; ++j)
        sum += M[n * i + j] * L[n * j + k];
      out[n * i + k] = static_cast<double>(sum);
    }
  return out;
}

}  // namespace

template <std::size_t L>
double covering_radius(const std::array<double, L>& basis) {
  constexpr std::size_t n = order_of<L>();
  return radius_up_to<n>(basis, 1e300);
}

template <std::size_t n>
LatticeBasis<n> constrained_lattice(double length, Lattice algorithm) {
  if (!(length > 0 && length < 6))
    throw method_failed("no lattice: the frequency step is {:.4g} covering radii (expected 0..6)", length);
  std::vector<LatticeBasis<n>> found;
  if (algorithm == Lattice::s1 || algorithm == Lattice::best) found.push_back({shrunk_an<n>(length), Lattice::s1});
  if (algorithm == Lattice::s2 || (algorithm == Lattice::best && length <= 2)) {
    const auto Q = length <= 2 ? stretched_an<n>(length, shortest_of_an_star<n>() * 1.001) : std::nullopt;
    if (Q)
      found.push_back({*Q, Lattice::s2});
    else if (algorithm == Lattice::s2)
      throw method_failed("no lattice S2: the frequency step is {:.6f} covering radii, expected at most 2", length);
  }
  if (algorithm == Lattice::s3 || algorithm == Lattice::best)
    if (const auto Q = stretched_an<n>(length, length + 1)) found.push_back({*Q, Lattice::s3});
  if (found.empty()) throw method_failed("no lattice with a first vector of {:.6f} covering radii", length);
  return *std::ranges::max_element(found, {}, [](const LatticeBasis<n>& b) {
    return std::abs(determinant(b.Q)) * (b.algorithm == Lattice::s3 ? 1 : 1 + 1e-9);
  });
}

template <std::size_t L>
MadeGrid<order_of<L>()> make_grid(const std::array<double, L>& fisher, std::size_t N, std::size_t nfft,
                                  const GridSettings& settings) {
  constexpr std::size_t n = order_of<L>();
  const double radius = std::sqrt(1 - settings.c0);
  const double step =
      2 * pi * static_cast<double>(N) / static_cast<double>(nfft * static_cast<std::size_t>(settings.fftpad));
  const auto lower = cholesky<long double>(fisher);
  const auto lattice = constrained_lattice<n>(step * static_cast<double>(lower[0]) / radius, settings.algorithm);
  MadeGrid<n> made;
  made.algorithm = lattice.algorithm;
  made.thickness = thickness(lattice.Q);
  auto& grid = made.grid;
  grid.fftpad = settings.fftpad;
  grid.fisher = fisher;
  grid.unnormalised = rows_in_metric<n>(lower, lattice.Q, radius);
  grid.unnormalised[0] = step;
  grid.M = normalised<n>(grid.unnormalised, N);
  // What is written is looked at, not what it was made from: the lattice M L in the metric of the Fisher matrix.
  made.covering_radius = covering_radius(in_metric<n>(grid.unnormalised, lower)) / radius;
  if (!(made.covering_radius <= 1 + 1e-9))
    throw method_failed("the grid's covering radius is {:.12g} of the allowed one", made.covering_radius);
  return made;
}

MadeGrid<4> make_grid(const Observation& o, const GridSettings& settings) {
  return make_grid(reduced_fisher(o), o.band.N, settings.nfft != 0 ? settings.nfft : o.band.nfft, settings);
}

Grid make_grid_of_two_spindowns(const Observation& o, const GridSettings& settings) {
  const std::size_t nfft = settings.nfft != 0 ? settings.nfft : o.band.nfft;
  const auto five = make_grid(linear_fisher<5>(o), o.band.N, nfft, settings).grid;
  return grid_of_five(five.M, five.unnormalised, five.fisher, five.fftpad);
}

template double covering_radius(const Square<2>&);
template double covering_radius(const Square<3>&);
template double covering_radius(const Square<4>&);
template double covering_radius(const Square<5>&);
template LatticeBasis<2> constrained_lattice<2>(double, Lattice);
template LatticeBasis<3> constrained_lattice<3>(double, Lattice);
template LatticeBasis<4> constrained_lattice<4>(double, Lattice);
template LatticeBasis<5> constrained_lattice<5>(double, Lattice);
template MadeGrid<2> make_grid(const Square<2>&, std::size_t, std::size_t, const GridSettings&);
template MadeGrid<3> make_grid(const Square<3>&, std::size_t, std::size_t, const GridSettings&);
template MadeGrid<4> make_grid(const Square<4>&, std::size_t, std::size_t, const GridSettings&);
template MadeGrid<5> make_grid(const Square<5>&, std::size_t, std::size_t, const GridSettings&);

}  // namespace fachwerk::polgraw
