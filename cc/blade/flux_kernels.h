#ifndef BLADE_FLUX_KERNELS_H_
#define BLADE_FLUX_KERNELS_H_

#include <cstdint>

#include "cc/blade/ring.h"
#include "cc/blade/simd.h"

namespace blade {

// Rows are those of a Ring; packed rows are as much longer.

constexpr int64_t kFluxBanks = 2;   // at most
constexpr int64_t kFluxTaps = 15;   // of a filter, on either side of its face
constexpr int64_t kFluxLanes = 16;  // with a zero

// Faces of a row and the filters that they select. The six rows from two above the pixels to three below are packed as
// in pair_kernels.h, from two columns before the first face's near pixel on: packed[b][6 x + ...] is for face x. The
// footprint of an x-face (axis 0) has five of these rows and six columns, that of a y-face six rows and five columns.
//
// `table` is [k, banks, sides, kFluxLanes], aligned to 64 bytes, in the order of FluxPlace. Of an antisymmetric filter
// it has one side, what multiplies the difference of the pixel that mirrors tap t through the face's centre and the
// pixel of tap t. `upper` and `weight` are null for a selection that is not soft.
template <typename F>
struct FluxFaces {
  const F* packed[kFluxBanks];
  const F* table;
  const int32_t* lower;
  const int32_t* upper;
  const F* weight;
};

// Where tap t of a side is from 6 x on. Tap t of one side mirrors tap kFluxTaps - 1 - t of the other one.
constexpr int64_t FluxPlace(int axis, int64_t side, int64_t t) {
  return axis == 0 ? 18 * side + t / 5 * 6 + t % 5 : kFluxTaps * side + t;
}

// The inner loops of FluxStepRows over n pixels or faces of a row.
template <typename F>
struct FluxKernels {
  // out[x] = 2 v (v - 1) (2 v - 1), v = u[x] within [-1/2, 3/2].
  void (*double_well)(const F* u, int64_t n, F* out);

  // out[x] = the sum over banks and taps of the filter of face x, one for each axis.
  void (*fluxes[2])(const FluxFaces<F>& faces, int64_t banks, bool antisymmetric, int64_t n, F* out);

  // The parts of what flows into a pixel and out of it in a step dt that keep it in [low, high]; before_x and before_y
  // flow through the faces before the pixel.
  void (*parts)(const F* u, const F* before_x, const F* flux_x, const F* before_y, const F* flux_y, F dt, F low, F high,
                int64_t n, F* into, F* out_of);

  // Of flux[x], into pixel `here` from pixel `there` where positive: flux[x] times the smaller one of the two parts.
  void (*limit)(const F* flux, const F* into_here, const F* out_of_here, const F* into_there, const F* out_of_there,
                int64_t n, F* limited);

  // out[x] = u[x] + dt ((flux_x[x] - before_x[x]) + (flux_y[x] - before_y[x])).
  void (*update)(const F* u, const F* before_x, const F* flux_x, const F* before_y, const F* flux_y, F dt, int64_t n,
                 F* out);
};

BLADE_DECLARE_KERNELS(FluxKernels<float>)
BLADE_DECLARE_KERNELS(FluxKernels<double>)

}  // namespace blade

#endif  // BLADE_FLUX_KERNELS_H_
