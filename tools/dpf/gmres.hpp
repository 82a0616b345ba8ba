#pragma once

#include <functional>
#include <span>
#include <vector>

/// Restarted GMRES with a preconditioner on the right (Saad: Iterative Methods for Sparse Linear Systems,
/// algorithm 9.5), for vectors that are spread over ranks: inner products come from outside.
namespace fachwerk::dpf {

struct LinearOperator {
  std::function<void(std::span<const double>, std::span<double>)> product;       ///< y = A x
  std::function<void(std::span<const double>, std::span<double>)> precondition;  ///< z = M^-1 r
  /// Inner products of every vector with `w`, over all ranks.
  std::function<std::vector<double>(const std::vector<std::span<const double>>&, std::span<const double>)> dots;
};

struct GmresOptions {
  int restart = 30;
  int max_iterations = 300;
  double reduction = 1e-4;  ///< of the residual's 2-norm
};

struct GmresResult {
  std::vector<double> x;
  int iterations = 0;
  double reduction = 0;  ///< reached
};

/// A x = b from x = 0.
GmresResult gmres(const LinearOperator& a, std::span<const double> b, const GmresOptions& options = {});

}  // namespace fachwerk::dpf
