#include "compute/matrix_kernels.hpp"
#include "compute/parallel.hpp"

namespace fachwerk::compute::detail {
namespace {

/// Element (i, j) of a view is data[i * down + j * right].
template <class T>
struct Walk {
  T* data;
  std::size_t down, right;
  explicit Walk(const Matrix<T>& a)
      : data(a.data), down(a.transposed ? 1 : a.stride), right(a.transposed ? a.stride : 1) {}
  FACHWERK_HD T& operator()(std::size_t i, std::size_t j) const { return data[i * down + j * right]; }
};

constexpr std::size_t tile = 32;  // of a copy that transposes: both sides stay in cache

/// Copies one tile.
template <class T>
struct CopyTile {
  Walk<const T> from;
  Walk<T> to;
  std::size_t rows, columns, tiles_across;
  FACHWERK_HD void operator()(std::size_t index) const {
    const std::size_t top = index / tiles_across * tile, left = index % tiles_across * tile;
    const std::size_t bottom = top + tile < rows ? top + tile : rows;
    const std::size_t right = left + tile < columns ? left + tile : columns;
    for (std::size_t i = top; i < bottom; ++i)
      for (std::size_t j = left; j < right; ++j)
        to(i, j) = from(i, j);
  }
};

/// Copies one element: what suits a GPU.
template <class T>
struct CopyElement {
  Walk<const T> from;
  Walk<T> to;
  FACHWERK_HD void operator()(std::size_t i, std::size_t j) const { to(i, j) = from(i, j); }
};

template <class T>
struct MirrorLower {
  Walk<T> c;
  FACHWERK_HD void operator()(std::size_t i, std::size_t j) const {
    if (j < i) c(j, i) = c(i, j);
  }
};

template <class T>
struct Clear {
  Walk<T> a;
  bool upper;
  FACHWERK_HD void operator()(std::size_t i, std::size_t j) const {
    if (upper ? j > i : j < i) a(i, j) = 0;
  }
};

/// Step i: row i of r and column i of q.
template <class T>
struct PositiveDiagonal {
  Walk<T> q, r;
  std::size_t q_rows, r_columns;
  FACHWERK_HD void operator()(std::size_t i) const {
    if (!(r(i, i) < 0)) return;
    for (std::size_t j = i; j < r_columns; ++j)
      r(i, j) = -r(i, j);
    for (std::size_t j = 0; j < q_rows; ++j)
      q(j, i) = -q(j, i);
  }
};

}  // namespace

template <class T>
void copy_matrix(Matrix<const T> from, Matrix<T> to) {
  const std::size_t across = (to.columns + tile - 1) / tile, down = (to.rows + tile - 1) / tile;
  if (to.device.is_cpu())
    parallel_for(to.device, across * down, CopyTile<T>{Walk<const T>(from), Walk<T>(to), to.rows, to.columns, across});
  else
    parallel_for_2d(to.device, to.rows, to.columns, CopyElement<T>{Walk<const T>(from), Walk<T>(to)});
}

template <class T>
Buffer<T> packed(Matrix<const T> a) {
  Buffer<T> copy(a.device, a.rows * a.columns);
  copy_matrix<T>(a, matrix(copy, a.rows, a.columns));
  return copy;
}

template <class T>
void mirror_lower(Matrix<T> c) {
  parallel_for_2d(c.device, c.rows, c.rows, MirrorLower<T>{Walk<T>(c)});
}

template <class T>
void clear_lower(Matrix<T> a) {
  parallel_for_2d(a.device, a.rows, a.columns, Clear<T>{Walk<T>(a), false});
}

template <class T>
void clear_upper(Matrix<T> a) {
  parallel_for_2d(a.device, a.rows, a.columns, Clear<T>{Walk<T>(a), true});
}

template <class T>
void make_diagonal_positive(Matrix<T> q, Matrix<T> r) {
  parallel_for(r.device, r.rows, PositiveDiagonal<T>{Walk<T>(q), Walk<T>(r), q.rows, r.columns});
}

template void copy_matrix(Matrix<const double>, Matrix<double>);
template void copy_matrix(Matrix<const float>, Matrix<float>);
template Buffer<double> packed(Matrix<const double>);
template Buffer<float> packed(Matrix<const float>);
template void mirror_lower(Matrix<double>);
template void mirror_lower(Matrix<float>);
template void clear_lower(Matrix<double>);
template void clear_lower(Matrix<float>);
template void clear_upper(Matrix<double>);
template void clear_upper(Matrix<float>);
template void make_diagonal_positive(Matrix<double>, Matrix<double>);
template void make_diagonal_positive(Matrix<float>, Matrix<float>);

}  // namespace fachwerk::compute::detail
