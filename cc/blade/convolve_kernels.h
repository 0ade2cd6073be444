#ifndef BLADE_CONVOLVE_KERNELS_H_
#define BLADE_CONVOLVE_KERNELS_H_

#include <cstdint>

#include "cc/blade/simd.h"

namespace blade {

template <typename F>
struct ConvolveKernels {
  // out[i] = sum_p sum_j taps[p][j] rows[p][i + j * stride], i in [0, n). Whole vectors of the rows are read.
  void (*correlate)(const F* const* rows, const F* const* taps, int64_t pairs, int64_t s, int64_t stride, int64_t n,
                    F* out);
};

BLADE_DECLARE_KERNELS(ConvolveKernels<float>)
BLADE_DECLARE_KERNELS(ConvolveKernels<double>)

}  // namespace blade

#endif  // BLADE_CONVOLVE_KERNELS_H_
