#ifndef BLADE_CONVOLVE_H_
#define BLADE_CONVOLVE_H_

#include <cstdint>

#include "cc/blade/shape.h"
#include "cc/blade/simd.h"

namespace blade {

// What lies outside of an image: its border pixels, or the image again.
enum class Border { kReplicate, kPeriodic };

// Every `factor`-th pixel along an axis, from `offset`, which is in [0, factor), on.
struct Stride {
  int64_t factor, offset;
};

// A kernel is dense [r, s], r and s at least 1.
struct ConvolveParameters {
  int64_t r, s;
  Border border;
  bool transposed;
  Stride y, x;
};

// Convolution of each channel with one kernel, of which the strides' pixels are kept,
//
//   v(y, x) = sum_ij kernel[i, j] u[y - i + (r - 1) / 2, x - j + (s - 1) / 2],
//   out[y, x] = v(parameters.y.offset + parameters.y.factor y, parameters.x.offset + parameters.x.factor x),
//
// or, transposed, the adjoint of this map from u to out, at the borders too. Kernels may be larger than images. `shape`
// is that of u, [n, h, w, c], whose sides the factors divide, and `image` u, or transposed what has the shape of out.
// Rows [begin, end) are those of the result; functions may run at the same time on disjoint ranges, and results depend
// neither on them nor on the level. Subnormal numbers count as zero.
template <typename F>
void ConvolveRows(const ConvolveParameters& parameters, const ImageShape& shape, SimdLevel level, const F* kernel,
                  const F* image, int64_t begin, int64_t end, F* out);

}  // namespace blade

#endif  // BLADE_CONVOLVE_H_
