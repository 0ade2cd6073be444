#ifndef BLADE_LEVEL_SET_KERNELS_H_
#define BLADE_LEVEL_SET_KERNELS_H_

#include <cstdint>

#include "cc/blade/simd.h"

namespace blade {

// The inner loops of LevelSetRowSums over n pixels of a row. They add 16 floats or 8 doubles at a time at every level,
// so that sums are the same at all of them.
template <typename F>
struct LevelSetKernels {
  // The number of pixels, and the sums of H, of the length and of the change's square. `here` and `heaviside`, to which
  // it writes H(phi), are rows of a Ring; `here` has columns -1 and n.
  void (*geometry)(const F* above, const F* here, const F* below, const F* before, int64_t n, F* heaviside,
                   double* sums);
  // The sums of f where phi > 0, of H f and of H f^2; `phi` and `heaviside` are rows of a Ring.
  void (*channel)(const F* phi, const F* heaviside, const F* f, int64_t n, double* sums);
};

BLADE_DECLARE_KERNELS(LevelSetKernels<float>)
BLADE_DECLARE_KERNELS(LevelSetKernels<double>)

}  // namespace blade

#endif  // BLADE_LEVEL_SET_KERNELS_H_
