#include "lattice.hpp"

#include <algorithm>
#include <map>
#include <numeric>

#include "cli/error.hpp"

namespace fachwerk::polgraw {

namespace {

using Vector4 = std::array<double, 4>;
using Integers4 = std::array<int, 4>;

double dot(const Vector4& a, const Vector4& b) {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3];
}
Vector4 row(const Matrix4& m, std::size_t i) {
  return {m[4 * i], m[4 * i + 1], m[4 * i + 2], m[4 * i + 3]};
}
void set_row(Matrix4& m, std::size_t i, const Vector4& v) {
  std::ranges::copy(v, m.begin() + static_cast<std::ptrdiff_t>(4 * i));
}
Vector4 combine(const Integers4& c, const Matrix4& m) {
  Vector4 v{};
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t k = 0; k < 4; ++k)
      v[k] += c[i] * m[4 * i + k];
  return v;
}

/// A basis of the same lattice with short vectors: LLL, then pairwise reductions until nothing gets shorter.
Matrix4 reduce_basis(Matrix4 b) {
  for (bool shorter = true; shorter;) {
    shorter = false;
    for (std::size_t i = 0; i < 4; ++i) {
      // Against sums of the others with small coefficients: a Minkowski-like reduction, exact enough in four
      // dimensions.
      const Vector4 v = row(b, i);
      Vector4 best = v;
      double length = dot(v, v) * (1 - 1e-12);
      for (int code = 0; code < 125; ++code) {
        Vector4 w = v;
        int rest = code;
        for (std::size_t k = 0; k < 4; ++k) {
          if (k == i) continue;
          const int c = rest % 5 - 2;
          rest /= 5;
          for (std::size_t x = 0; x < 4; ++x)
            w[x] += c * b[4 * k + x];
        }
        if (dot(w, w) < length) length = dot(w, w) * (1 - 1e-12), best = w, shorter = true;
      }
      set_row(b, i, best);
    }
  }
  return b;
}

/// One of each pair +-v of vectors that may bound the Voronoi cell: the shortest of each coset of 2L but 2L itself.
std::vector<Vector4> facet_vectors(const Matrix4& reduced) {
  std::array<std::vector<Vector4>, 16> shortest;
  std::array<double, 16> length;
  length.fill(1e300);
  for (int code = 0; code < 625; ++code) {
    Integers4 c;
    for (int k = 0, rest = code; k < 4; ++k, rest /= 5)
      c[static_cast<std::size_t>(k)] = rest % 5 - 2;
    const auto leading = std::ranges::find_if(c, [](int x) { return x != 0; });
    if (leading == c.end() || *leading < 0) continue;
    const auto coset = static_cast<std::size_t>((c[0] & 1) | (c[1] & 1) << 1 | (c[2] & 1) << 2 | (c[3] & 1) << 3);
    if (coset == 0) continue;
    const auto v = combine(c, reduced);
    const double norm = dot(v, v);
    if (norm > length[coset] * (1 + 1e-9)) continue;
    if (norm < length[coset] * (1 - 1e-9)) shortest[coset].clear();
    length[coset] = std::min(length[coset], norm);
    shortest[coset].push_back(v);
  }
  std::vector<Vector4> facets;
  for (const auto& list : shortest)
    facets.insert(facets.end(), list.begin(), list.end());
  return facets;
}

/// The point x with v_i . x = h_i for four vectors; false if they are dependent.
bool intersect(const std::array<const Vector4*, 4>& v, const Vector4& h, Vector4& x) {
  double m[4][5];
  for (std::size_t i = 0; i < 4; ++i) {
    std::ranges::copy(*v[i], m[i]);
    m[i][4] = h[i];
  }
  for (int column = 0; column < 4; ++column) {
    int pivot = column;
    for (int r = column + 1; r < 4; ++r)
      if (std::abs(m[r][column]) > std::abs(m[pivot][column])) pivot = r;
    if (std::abs(m[pivot][column]) < 1e-9) return false;
    if (pivot != column) std::swap_ranges(m[pivot], m[pivot] + 5, m[column]);
    for (int r = 0; r < 4; ++r) {
      if (r == column) continue;
      const double f = m[r][column] / m[column][column];
      for (int k = column; k < 5; ++k)
        m[r][k] -= f * m[column][k];
    }
  }
  for (int k = 0; k < 4; ++k)
    x[static_cast<std::size_t>(k)] = m[k][4] / m[k][k];
  return true;
}

constexpr double sqrt2 = 1.4142135623730951;

/// A4* with covering radius 1: its Gram matrix is (5 I - 1 1^T) / 2.
Matrix4 a4_star() {
  Matrix4 gram{};
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t k = 0; k < 4; ++k)
      gram[4 * i + k] = (i == k ? 5.0 : 0.0) / 2 - 0.5;
  return cholesky(gram);
}

/// The lattice stretched by `along` in the direction of row 0 and by `across` perpendicular to it, as lower triangular
/// rows.
Matrix4 stretched(const Matrix4& basis, double along, double across) {
  const auto axis = row(basis, 0);
  const double norm = dot(axis, axis);
  Matrix4 out{};
  for (std::size_t i = 0; i < 4; ++i) {
    auto v = row(basis, i);
    const double part = dot(v, axis) / norm;
    for (std::size_t k = 0; k < 4; ++k)
      v[k] = across * (v[k] - part * axis[k]) + along * part * axis[k];
    set_row(out, i, v);
  }
  return cholesky(multiply(out, transpose(out)));
}

/// Vectors of A4* up to `longest`, one of each class under its symmetries (permutations of the five coordinates and
/// sign), each as row 0 of a basis.
std::vector<Matrix4> directions(double longest) {
  const Matrix4 basis = a4_star();
  std::map<std::array<int, 5>, Matrix4> classes;
  constexpr int reach = 4;
  for (int code = 0; code < 6561; ++code) {
    Integers4 c;
    for (int k = 0, rest = code; k < 4; ++k, rest /= 9)
      c[static_cast<std::size_t>(k)] = rest % 9 - reach;
    const auto one = std::ranges::find_if(c, [](int x) { return std::abs(x) == 1; });
    if (one == c.end()) continue;  // row 0 replaces the row with coefficient +-1
    const auto v = combine(c, basis);
    if (std::sqrt(dot(v, v)) > longest) continue;
    // In coordinates of Z^5 modulo (1,1,1,1,1): the differences from the smallest, sorted; or of -v.
    const auto canonical = [&](int sign) {
      std::array<int, 5> x{sign * c[0], sign * c[1], sign * c[2], sign * c[3], 0};
      std::ranges::sort(x);
      const int lowest = x[0];
      for (int& y : x)
        y -= lowest;
      return x;
    };
    Matrix4 chosen = basis;
    const auto replaced = static_cast<std::size_t>(one - c.begin());
    set_row(chosen, replaced, row(basis, 0));
    set_row(chosen, 0, v);
    classes.emplace(std::min(canonical(1), canonical(-1)), chosen);
  }
  std::vector<Matrix4> found;
  for (const auto& [key, value] : classes)
    found.push_back(value);
  return found;
}

/// The largest `across` for which the stretched lattice still has covering radius 1; 0 if there is none.
double widest(const Matrix4& basis, double along) {
  const auto radius = [&](double across) { return covering_radius(stretched(basis, along, across)); };
  double lo = 0.05, hi = 1.6;
  if (!(radius(lo) < 1)) return 0;
  for (int step = 0; step < 44 && hi - lo > 1e-12; ++step) {
    const double middle = (lo + hi) / 2;
    (radius(middle) <= 1 ? lo : hi) = middle;
  }
  return lo;
}

Matrix4 shrunk_a4(double length) {
  double best = 1e300;
  Matrix4 chosen{};
  for (const auto& basis : directions(length + 1.5)) {
    const double norm = std::sqrt(dot(row(basis, 0), row(basis, 0)));
    if (norm >= length * (1 - 1e-12) && norm < best) best = norm, chosen = basis;
  }
  return stretched(chosen, length / best, length / best);
}

std::optional<Matrix4> stretched_a4(double length, double longest) {
  std::optional<Matrix4> best;
  for (const auto& basis : directions(longest)) {
    const double along = length / std::sqrt(dot(row(basis, 0), row(basis, 0)));
    if (along > 2) continue;
    const double across = widest(basis, along);
    if (across == 0) continue;
    const auto Q = stretched(basis, along, across);
    if (!best || std::abs(determinant(Q)) > std::abs(determinant(*best))) best = Q;
  }
  return best;
}

}  // namespace

Matrix4 multiply(const Matrix4& a, const Matrix4& b) {
  Matrix4 c{};
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t k = 0; k < 4; ++k)
      for (std::size_t j = 0; j < 4; ++j)
        c[4 * i + j] += a[4 * i + k] * b[4 * k + j];
  return c;
}

Matrix4 transpose(const Matrix4& a) {
  Matrix4 t{};
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t j = 0; j < 4; ++j)
      t[4 * j + i] = a[4 * i + j];
  return t;
}

Matrix4 cholesky(const Matrix4& m) {
  Matrix4 L{};
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t j = 0; j <= i; ++j) {
      double sum = m[4 * i + j];
      for (std::size_t k = 0; k < j; ++k)
        sum -= L[4 * i + k] * L[4 * j + k];
      if (i == j && !(sum > 0)) throw bad_input("the Fisher matrix is not positive definite");
      L[4 * i + j] = i == j ? std::sqrt(sum) : sum / L[5 * j];
    }
  return L;
}

Eigen4 symmetric_eigen(Matrix4 a) {
  Eigen4 out;
  auto& [values, vectors] = out;
  for (std::size_t k = 0; k < 4; ++k)
    vectors[5 * k] = 1;
  for (int sweep = 0; sweep < 60; ++sweep) {
    double off = 0, scale = 0;
    for (std::size_t i = 0; i < 4; ++i)
      for (std::size_t j = 0; j < 4; ++j)
        (i == j ? scale : off) += a[4 * i + j] * a[4 * i + j];
    if (off <= 1e-40 * scale) break;
    for (std::size_t p = 0; p < 4; ++p)
      for (std::size_t q = p + 1; q < 4; ++q) {
        if (a[4 * p + q] == 0) continue;
        const double theta = (a[5 * q] - a[5 * p]) / (2 * a[4 * p + q]);
        const double t = (theta >= 0 ? 1 : -1) / (std::abs(theta) + std::sqrt(theta * theta + 1));
        const double c = 1 / std::sqrt(t * t + 1), s = t * c;
        for (std::size_t k = 0; k < 4; ++k) {
          const double x = a[4 * k + p], y = a[4 * k + q];
          a[4 * k + p] = c * x - s * y;
          a[4 * k + q] = s * x + c * y;
        }
        for (std::size_t k = 0; k < 4; ++k) {
          const double x = a[4 * p + k], y = a[4 * q + k];
          a[4 * p + k] = c * x - s * y;
          a[4 * q + k] = s * x + c * y;
          const double u = vectors[4 * k + p], v = vectors[4 * k + q];
          vectors[4 * k + p] = c * u - s * v;
          vectors[4 * k + q] = s * u + c * v;
        }
      }
  }
  std::array<std::size_t, 4> order{0, 1, 2, 3};
  std::ranges::sort(order, {}, [&](std::size_t k) { return a[5 * k]; });
  const Matrix4 found = vectors;
  for (std::size_t j = 0; j < 4; ++j) {
    values[j] = a[5 * order[j]];
    double sign = 0;
    for (std::size_t i = 0; i < 4 && sign == 0; ++i)
      sign = found[4 * i + order[j]];
    for (std::size_t i = 0; i < 4; ++i)
      vectors[4 * i + j] = found[4 * i + order[j]] * (sign < 0 ? -1 : 1);
  }
  return out;
}

Matrix4 inverse_lower(const Matrix4& L) {
  Matrix4 X{};
  for (std::size_t j = 0; j < 4; ++j)
    for (std::size_t i = j; i < 4; ++i) {
      double sum = i == j ? 1 : 0;
      for (std::size_t k = j; k < i; ++k)
        sum -= L[4 * i + k] * X[4 * k + j];
      X[4 * i + j] = sum / L[5 * i];
    }
  return X;
}

double determinant(const Matrix4& a) {
  Matrix4 m = a;
  double det = 1;
  for (std::size_t c = 0; c < 4; ++c) {
    std::size_t pivot = c;
    for (std::size_t r = c + 1; r < 4; ++r)
      if (std::abs(m[4 * r + c]) > std::abs(m[4 * pivot + c])) pivot = r;
    if (m[4 * pivot + c] == 0) return 0;
    if (pivot != c) {
      det = -det;
      for (std::size_t k = 0; k < 4; ++k)
        std::swap(m[4 * pivot + k], m[4 * c + k]);
    }
    det *= m[5 * c];
    for (std::size_t r = c + 1; r < 4; ++r) {
      const double f = m[4 * r + c] / m[5 * c];
      for (std::size_t k = c; k < 4; ++k)
        m[4 * r + k] -= f * m[4 * c + k];
    }
  }
  return det;
}

double thickness(const Matrix4& basis) {
  return pi * pi / 2 / std::abs(determinant(basis));
}

double covering_radius(const Matrix4& basis) {
  const auto facets = facet_vectors(reduce_basis(basis));
  // Facet i of the cell is v_i . x = |v_i|^2 / 2, and its mirror image.
  const std::size_t n = facets.size();
  std::vector<double> half(n);
  for (std::size_t i = 0; i < n; ++i)
    half[i] = dot(facets[i], facets[i]) / 2;
  double radius2 = 0;
  for (std::size_t a = 0; a < n; ++a)
    for (std::size_t b = a + 1; b < n; ++b)
      for (std::size_t c = b + 1; c < n; ++c)
        for (std::size_t d = c + 1; d < n; ++d)
          for (int signs = 0; signs < 8; ++signs) {  // the cell is its own mirror image: one sign can stay
            const auto sign = [&](int k) { return signs >> k & 1 ? -1.0 : 1.0; };
            Vector4 x;
            if (!intersect({&facets[a], &facets[b], &facets[c], &facets[d]},
                           {half[a], sign(0) * half[b], sign(1) * half[c], sign(2) * half[d]}, x))
              break;
            const double norm = dot(x, x);
            if (norm <= radius2) continue;
            bool inside = true;
            for (std::size_t i = 0; i < n && inside; ++i)
              inside = std::abs(dot(x, facets[i])) <= half[i] * (1 + 1e-9);
            if (inside) radius2 = norm;
          }
  return std::sqrt(radius2);
}

Matrix4 reduced_fisher(const Observation& o) {
  const std::size_t N = o.band.N;
  const auto n = static_cast<double>(N);
  const double cos_e = std::cos(o.obliquity), xi = 0.5;
  Matrix4 total{};
  double weights = 0;
  for (const auto& d : o.detectors) {
    const auto& e = d.ephemeris;
    // Means over the frame by Simpson's rule; with an even number of samples the last interval is a trapezium.
    double m1 = 0, m2 = 0, xm1 = 0, xm2 = 0, xxm1 = 0, xxm2 = 0, m11 = 0, m22 = 0, m12 = 0;
    const std::size_t odd = N % 2 == 1 ? N : N - 1;
    const double step = 1 / (n - 1);
    for (std::size_t i = 0; i < N; ++i) {
      double w = 0;
      if (i < odd) w = step / 3 * (i == 0 || i + 1 == odd ? 1 : (i % 2 == 1 ? 4 : 2));
      if (odd < N && i + 2 >= N) w += step / 2;
      const double x = static_cast<double>(i) * step - 0.5;
      const Vector3 det = e.detector.empty() ? Vector3{} : e.detector[i];
      const double einstein = e.einstein.empty() ? 0 : e.einstein[i];
      const auto& r = e.position[i];
      const double mu1 = ((r[1] - det[1] + einstein) / cos_e + det[1] * cos_e) / n, mu2 = (r[0] + einstein) / n;
      m1 += w * mu1;
      m2 += w * mu2;
      xm1 += w * x * mu1;
      xm2 += w * x * mu2;
      xxm1 += w * x * x * mu1;
      xxm2 += w * x * x * mu2;
      m11 += w * mu1 * mu1;
      m22 += w * mu2 * mu2;
      m12 += w * mu1 * mu2;
    }
    const double g12 = xxm1 + 2 * xi * xm1 - m1 / 12, g13 = xxm2 + 2 * xi * xm2 - m2 / 12, g23 = m12 - m1 * m2;
    const double g01 = xi / 6;
    const Matrix4 gamma = {1.0 / 12, g01, xm1, xm2,          g01,           1.0 / 180 + xi * xi / 3,
                           g12,      g13, xm1, g12,          m11 - m1 * m1, g23,
                           xm2,      g13, g23, m22 - m2 * m2};
    const double weight = d.sigma2 > 0 ? 1 / d.sigma2 : 1;
    for (std::size_t k = 0; k < 16; ++k)
      total[k] += weight * gamma[k];
    weights += weight;
  }
  for (double& g : total)
    g /= weights;
  return total;
}

LatticeBasis constrained_lattice(double length, Lattice algorithm) {
  if (!(length > 0 && length < 6))
    throw method_failed("no lattice: the frequency step is {:.4g} covering radii (expected 0..6)", length);
  std::vector<LatticeBasis> found;
  if (algorithm == Lattice::s1 || algorithm == Lattice::best) found.push_back({shrunk_a4(length), Lattice::s1});
  if (algorithm == Lattice::s2 || (algorithm == Lattice::best && length <= 2)) {
    const auto Q = length <= 2 ? stretched_a4(length, sqrt2 * 1.001) : std::nullopt;
    if (Q)
      found.push_back({*Q, Lattice::s2});
    else if (algorithm == Lattice::s2)
      throw method_failed("no lattice S2: the frequency step is {:.6f} covering radii, expected at most 2", length);
  }
  if (algorithm == Lattice::s3 || algorithm == Lattice::best)
    if (const auto Q = stretched_a4(length, length + 1)) found.push_back({*Q, Lattice::s3});
  if (found.empty()) throw method_failed("no lattice with a first vector of {:.6f} covering radii", length);
  return *std::ranges::max_element(found, {}, [](const LatticeBasis& b) {
    return std::abs(determinant(b.Q)) * (b.algorithm == Lattice::s3 ? 1 : 1 + 1e-9);
  });
}

MadeGrid make_grid(const Matrix4& fisher, std::size_t N, std::size_t nfft, const GridSettings& settings) {
  const double radius = std::sqrt(1 - settings.c0);
  const double step =
      2 * pi * static_cast<double>(N) / static_cast<double>(nfft * static_cast<std::size_t>(settings.fftpad));
  const Matrix4 L = cholesky(fisher);
  const auto lattice = constrained_lattice(step * L[0] / radius, settings.algorithm);
  MadeGrid made;
  made.algorithm = lattice.algorithm;
  made.thickness = thickness(lattice.Q);
  made.covering_radius = covering_radius(lattice.Q);
  if (made.covering_radius > 1 + 1e-9)
    throw method_failed("the grid's covering radius is {:.12g} of the allowed one", made.covering_radius);
  auto& grid = made.grid;
  grid.fftpad = settings.fftpad;
  grid.fisher = fisher;
  grid.unnormalised = multiply(lattice.Q, inverse_lower(L));
  for (double& m : grid.unnormalised)
    m *= radius;
  for (std::size_t i : {1, 2, 3, 6, 7, 11})
    grid.unnormalised[i] = 0;
  grid.unnormalised[0] = step;
  grid.M = normalise_grid(grid.unnormalised, N);
  return made;
}

MadeGrid make_grid(const Observation& o, const GridSettings& settings) {
  return make_grid(reduced_fisher(o), o.band.N, settings.nfft != 0 ? settings.nfft : o.band.nfft, settings);
}

}  // namespace fachwerk::polgraw
