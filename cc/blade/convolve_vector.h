// The sums of a convolution, written once with the compiler's vectors. No include guard: one source file a level
// includes it.

#include <algorithm>

#include "cc/blade/convolve_kernels.h"
#include "cc/blade/lanes.h"

namespace blade {
namespace {

constexpr int64_t kBlock = 4;  // vectors at a time

// The sums of kVectors vectors from value i on.
template <int64_t kVectors, typename F>
BLADE_INLINE void Sums(const F* const* rows, const F* const* taps, int64_t pairs, int64_t s, int64_t stride, int64_t i,
                       LanesOf<F>* sums) {
  for (int64_t v = 0; v < kVectors; ++v) sums[v] = LanesOf<F>{};
  for (int64_t p = 0; p < pairs; ++p) {
    const F *row = rows[p] + i, *tap = taps[p];
    for (int64_t j = 0; j < s; ++j, row += stride) {
      for (int64_t v = 0; v < kVectors; ++v) sums[v] += tap[j] * Load(row + v * kLanes<F>);
    }
  }
}

template <typename F>
BLADE_TARGET void Correlate(const F* const* rows, const F* const* taps, int64_t pairs, int64_t s, int64_t stride,
                            int64_t n, F* out) {
  LanesOf<F> sums[kBlock];
  int64_t i = 0;
  for (; i + kBlock * kLanes<F> <= n; i += kBlock * kLanes<F>) {
    Sums<kBlock>(rows, taps, pairs, s, stride, i, sums);
    for (int64_t v = 0; v < kBlock; ++v) Save(sums[v], out + i + v * kLanes<F>);
  }
  for (; i < n; i += kLanes<F>) {
    Sums<1>(rows, taps, pairs, s, stride, i, sums);
    if (i + kLanes<F> <= n) {
      Save(sums[0], out + i);
      continue;
    }
    F lanes[kLanes<F>];
    Save(sums[0], lanes);
    std::copy_n(lanes, n - i, out + i);
  }
}

template <typename F>
constexpr ConvolveKernels<F> kConvolveKernels = {Correlate<F>};

}  // namespace

BLADE_DEFINE_KERNELS(ConvolveKernels<float>, kConvolveKernels<float>)
BLADE_DEFINE_KERNELS(ConvolveKernels<double>, kConvolveKernels<double>)

}  // namespace blade
