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

// Rows of pixels above, here and below, whose channels are `plane` apart and have a column -1.
template <typename F>
struct PixelRows {
  const F* above;
  const F* here;
  const F* below;
  int64_t plane, channels;
};

template <typename F>
struct SoftRow {
  int32_t* lower;
  int32_t* upper;
  F* weight;
};

// The inner loops of SelectRows and SelectSoftRows over n pixels or faces of a row.
template <typename F>
struct SelectKernels {
  // J of kPixel or kFaceX along a row, smoothed along it at n columns: the first one needs columns [-radius, radius] of
  // the row, of which there are `count` from column before - radius on; both ends are replicated. `scratch` has room
  // for n + 2 radius columns.
  void (*tensor_along[2])(const PixelRows<F>& pixels, int64_t before, int64_t count, const SelectPlan<F>& plan,
                          int64_t n, TensorRow<F> scratch, TensorRow<F> out);
  // J of kFaceY at columns [0, n).
  void (*tensor)(const PixelRows<F>& pixels, int64_t n, TensorRow<F> out);

  // The mean over the channels at columns [first, first + n), one for each center.
  void (*intensity[3])(const PixelRows<F>& pixels, int64_t first, int64_t n, F* out);

  // The Gaussian of J across rows[-radius .. radius], each three planes `plane` apart.
  void (*smooth_across)(const F* const* rows, int64_t plane, const SelectPlan<F>& plan, int64_t n, TensorRow<F> out);

  // The same, and the index of each pixel's filter. `values` are intensities, null where the plan has none.
  void (*select)(const F* const* rows, int64_t plane, const F* values, const SelectPlan<F>& plan, int64_t n,
                 int32_t* out);
  void (*select8)(const F* const* rows, int64_t plane, const F* values, const SelectPlan<F>& plan, int64_t n,
                  uint8_t* out);
  void (*select_soft)(const F* const* rows, int64_t plane, const F* values, const SelectPlan<F>& plan, int64_t n,
                      const SoftRow<F>& out);
};

BLADE_DECLARE_KERNELS(SelectKernels<float>)
BLADE_DECLARE_KERNELS(SelectKernels<double>)

}  // namespace blade

#endif  // BLADE_SELECT_KERNELS_H_
