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
  const double* slack_weight;                  ///< share in the distributed slack by node, or null
  const int* island;                           ///< of each node, with slack_weight
  const std::uint8_t* holds_slack;  ///< by node: x has the power of the island's slack where its angle would be
  const double* floor;              ///< rounding floor by node
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

/// Unknowns that lanes have besides those of the factor M, or lack: magnitudes where a generator changed between
/// voltage control and a fixed reactive power (spec 2.8), the power of a distributed slack. M stays; a lane corrects
/// y = M^-1 b to y - sum u_k t_k with a small dense system S t = -rows y (bordering). See borders.hpp.
struct ChordBorders {
  int count;              ///< of all lanes together
  const int* slot;        ///< position of the unknown in x, 0 .. 2 nodes - 1
  const float* const* u;  ///< 2 nodes numbers each
  const int* row_start;   ///< sparse rows of the equations, count + 1
  const int* row_slot;
  const float* row_value;
  const std::uint8_t* added;  ///< 1: an unknown that M has not, 0: one that the lane has not
  const int* lane_start;      ///< borders of each lane, lanes + 1
  const int* lane_border;
  const float* const* inverse;  ///< S^-1 of each lane, row-major
  const int* mask_of;           ///< by node: row of `mask`, or -1: has_p and has_q are the same for all lanes
  const double* mask;           ///< [row][lane]: 1 where the lane has the equation of Q at that node
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
  const ChordBorders* borders;      ///< or null
  double* lambda;                   ///< power of the distributed slack, [island][lane], or null: start in, solution out
  double *injected_p, *injected_q;  ///< result: S at the solution, or null; e and f are the voltages there
  const std::uint8_t* wanted;       ///< lanes to be solved
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
