#pragma once

#include <cstdint>

/// The inner loops of the batched chord method, over a tile of scenarios side by side: the scenario is the innermost
/// index
/// ("lane"), so that one factor, one Ybus and one set of indices serve all of them. Plain data: the code is compiled
/// once for each vector unit (see compute/isa.hpp).
namespace fachwerk::dpf {

/// What all scenarios share. Arrays by node or by position in the patterns of Network and BlockFactor.
struct ChordPlan {
  int nodes;
  const int *y_start, *y_column;  ///< Ybus
  const double *conductance, *susceptance;
  const int *f_start, *f_diagonal, *f_column;  ///< L + U
  const float* factor;                         ///< 2 x 2 blocks, four numbers a position
  const float* inverse;                        ///< inverse diagonal blocks, four numbers a node
  const std::uint8_t *has_p, *has_q;           ///< is there an equation: by node
  const double* zip;                           ///< p_current, p_impedance, q_current, q_impedance by node, or null
  const double* floor;                         ///< rounding floor by node
  double tolerance;
  double rate_limit;  ///< a lane that contracts slower is given up
  int max_iterations;
  int memory;  ///< Anderson columns, 0: plain chord
};

/// A branch out of service in one lane: its admittances leave the rows of its two ends, and a rank-4 correction leaves
/// the shared factor (spec 2.7).
struct LaneOutage {
  int lane, from, to;
  double ff[2], ft[2], tf[2], tt[2];  ///< admittances taken out, real and imaginary part
  float correction[16];               ///< (I + D E^T Z)^-1 D, row-major
};

/// One tile: [node][lane] arrays, the two unknowns of a node as [node][2][lane]. All aligned to 64 bytes.
struct ChordTile {
  double *vm, *va;           ///< start in, solution out
  double *p, *q;             ///< specified injections
  double *e, *f;             ///< work: rectangular voltages
  float *g, *last_g, *step;  ///< work: correction M^-1 F (negated), the one before, step taken
  float* history;            ///< work: per column the change of g and of g plus x, 2 memory vectors
  float* z;                  ///< M^-1 E of the outages, [node][2][4][lane], or null
  const LaneOutage* outage;  ///< by increasing lane, or null
  int outages;
  const std::uint8_t* wanted;  ///< lanes to be solved
  // results by lane
  double* max_mismatch;
  double* first_mismatch;
  int* iterations;
  std::uint8_t* state;  ///< 0 converged, 1 slow or out of iterations, 2 diverged
};

struct ChordKernel {
  int lanes;                                  ///< scenarios of a tile
  void (*solve)(const ChordPlan&, float* x);  ///< x = M^-1 x for all lanes
  void (*iterate)(const ChordPlan&, const ChordTile&);
};

namespace isa_baseline {
ChordKernel chord_kernel();
}
namespace isa_avx2 {
ChordKernel chord_kernel();
}
namespace isa_avx512 {
ChordKernel chord_kernel();
}

}  // namespace fachwerk::dpf
