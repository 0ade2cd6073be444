#ifndef BLADE_SELECT_KERNELS_H_
#define BLADE_SELECT_KERNELS_H_

#include <cstdint>

#include "cc/blade/select.h"

namespace blade {

// All kernels work on whole vectors: they read and write up to kSelectSlack - 1 values beyond n.
constexpr int64_t kSelectSlack = 16;

// One row of J11, J12 and J22, `plane` apart.
template <typename F>
struct TensorRow {
  F* data;
  int64_t plane;
};

// The inner loops of SelectRows over n pixels of a row.
template <typename F>
struct SelectKernels {
  // J at columns [0, n) of rows above, here and below, whose channels are `plane` apart and have a column -1.
  void (*tensor)(const F* above, const F* here, const F* below, int64_t plane, int64_t channels, int64_t n,
                 TensorRow<F> out);

  // The horizontal Gaussian of J, which has columns [-radius, n + radius).
  void (*smooth)(TensorRow<F> tensor, const SelectPlan<F>& plan, int64_t n, TensorRow<F> out);

  // The vertical Gaussian of rows[-radius .. radius], each three planes `plane` apart, and the index of each pixel's
  // filter.
  void (*select)(const F* const* rows, int64_t plane, const SelectPlan<F>& plan, int64_t n, int32_t* out);
};

template <typename F>
const SelectKernels<F>& GetSelectKernels(SimdLevel level);

extern const SelectKernels<float> kPortableSelectFloat;
extern const SelectKernels<double> kPortableSelectDouble;
#ifdef BLADE_X86
extern const SelectKernels<float> kAvx2SelectFloat, kAvx512SelectFloat;
extern const SelectKernels<double> kAvx2SelectDouble, kAvx512SelectDouble;
#endif

}  // namespace blade

#endif  // BLADE_SELECT_KERNELS_H_
