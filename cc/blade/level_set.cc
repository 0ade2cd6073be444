#include "cc/blade/level_set.h"

#include <algorithm>

#include "cc/blade/level_set_kernels.h"
#include "cc/blade/ring.h"

namespace blade {

template <typename F>
void LevelSetRowSums(const LevelSetShape& shape, SimdLevel level, const F* phi, const F* before, const F* f,
                     int64_t begin, int64_t end, double* sums) {
  const int64_t w = shape.w;
  if (w == 0) return std::fill(sums + begin * shape.sums(), sums + end * shape.sums(), 0.0);
  const ScopedFlushSubnormals flush;
  const LevelSetKernels<F>& kernels = KernelsAt<LevelSetKernels<F>>(level);
  const Ring<F> extended(1, 1, w), heaviside(1, 1, w);
  F *here = extended.Row(0), *h = heaviside.Row(0);
  for (int64_t row = begin; row < end; ++row) {
    const int64_t n = row / shape.h, y = row % shape.h;
    const F *above = phi + (y > 0 ? row - 1 : row) * w, *below = phi + (y + 1 < shape.h ? row + 1 : row) * w;
    double* to = sums + row * shape.sums();
    std::copy_n(phi + row * w, w, here);
    here[-1] = here[0];
    here[w] = here[w - 1];
    kernels.geometry(above, here, below, before + row * w, w, h, to);
    for (int64_t c = 0; c < shape.channels; ++c)
      kernels.channel(here, h, f + ((n * shape.channels + c) * shape.h + y) * w, w, to + 4 + 3 * c);
  }
}

void LevelSetSums(const LevelSetShape& shape, const double* of_rows, double* sums) {
  const int64_t count = shape.sums();
  std::fill_n(sums, shape.n * count, 0.0);
  for (int64_t row = 0; row < shape.rows(); ++row) {
    for (int64_t i = 0; i < count; ++i) sums[row / shape.h * count + i] += of_rows[row * count + i];
  }
}

#define BLADE_INSTANTIATE(F)                                                                                     \
  template void LevelSetRowSums(const LevelSetShape&, SimdLevel, const F*, const F*, const F*, int64_t, int64_t, \
                                double*);
BLADE_INSTANTIATE(float)
BLADE_INSTANTIATE(double)
#undef BLADE_INSTANTIATE

}  // namespace blade
