#pragma once

#include <span>
#include <string>
#include <vector>

#include "cluster/communicator.hpp"
#include "newton.hpp"

/// Power flow of one large grid, area by area and rank by rank (spec 2.6): the same equations and the same tolerance as
/// Newton's, factors of areas instead of one of the grid.
namespace fachwerk::dpf {

/// anderson: x <- x - M^-1 F, M the areas' factors at the start, accelerated: for weak ties. schur: Newton, every step
/// exact by the Schur complement of the nodes between areas: for strong ties that are few. krylov: Newton, every step
/// by GMRES(30) with M: for strong ties that are many. automatic: by ties and sizes.
enum class AreaMethod { automatic, anderson, schur, krylov };
AreaMethod area_method_of(const std::string& word);
std::string name(AreaMethod method);

struct AreaOptions {
  AreaMethod method = AreaMethod::automatic;
  double tolerance = 1e-8;   ///< of max|F|, pu, above the rounding floor
  double stop_mismatch = 0;  ///< also enough: sum|F| at most this times sum|specified|; 0: no
  int max_iterations = 0;    ///< 0: anderson 200, Newton's steps 20
  int memory = 6;            ///< columns of Anderson acceleration, at most 8
  bool trace = false;
  enum class Factors { automatic, alone, tied } factors = Factors::automatic;  ///< of anderson, see BlockJacobi
};

struct AreaSolution {
  Solution solution;                          ///< on every rank, nodes as in the given problem
  AreaMethod method = AreaMethod::automatic;  ///< what automatic chose
  int areas = 0, boundary = 0;                ///< boundary: nodes of the Schur complement
  std::size_t factors = 0;                    ///< factors of areas over all ranks, with shared ones counted once a rank
  int inner_iterations = 0;                   ///< of GMRES
};

/// `area` by node, 0, 1, ... without gaps. Results depend on the number of ranks and threads in nothing. Throws
/// method_failed where the Jacobian of an area is singular. Collective.
AreaSolution solve_areas(const Problem& problem, const State& start, std::span<const int> area,
                         const AreaOptions& options, const cluster::Communicator& world);

}  // namespace fachwerk::dpf
