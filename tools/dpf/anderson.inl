// Least squares of Anderson's combination, by the Gram matrix. Included inside a namespace: the vector kernels compile it
// once for each vector unit, and the linker must not merge them.

// gamma minimising |g - sum gamma_c dg_c| from gram[c][d] = dg_c dg_d and rhs[c] = dg_c g: Cholesky that drops columns
// which add less than 1e-6 of their length.
FACHWERK_HD inline void least_squares(const double (*gram)[most_columns], const double* rhs, const bool* usable,
                                      int count, double* gamma) {
  double l[most_columns][most_columns] = {}, y[most_columns] = {};
  bool kept[most_columns] = {};
  for (int c = 0; c < count; ++c) {
    gamma[c] = 0;
    if (!usable[c] || !(gram[c][c] > 0)) continue;
    double pivot = gram[c][c];
    for (int d = 0; d < c; ++d) {
      if (!kept[d]) continue;
      double sum = gram[c][d];
      for (int k = 0; k < d; ++k)
        if (kept[k]) sum -= l[c][k] * l[d][k];
      l[c][d] = sum / l[d][d];
      pivot -= l[c][d] * l[c][d];
    }
    if (!(pivot > 1e-12 * gram[c][c])) continue;
    l[c][c] = __builtin_sqrt(pivot);
    double sum = rhs[c];
    for (int k = 0; k < c; ++k)
      if (kept[k]) sum -= l[c][k] * y[k];
    y[c] = sum / l[c][c];
    kept[c] = true;
  }
  for (int c = count - 1; c >= 0; --c) {
    if (!kept[c]) continue;
    double sum = y[c];
    for (int d = c + 1; d < count; ++d)
      if (kept[d]) sum -= l[d][c] * gamma[d];
    gamma[c] = sum / l[c][c];
  }
}
