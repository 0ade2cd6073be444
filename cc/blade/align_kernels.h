#ifndef BLADE_ALIGN_KERNELS_H_
#define BLADE_ALIGN_KERNELS_H_

#include <cstdint>

#include "cc/blade/simd.h"

namespace blade {

// The inner loops of alignment over n pixels of a row.
struct AlignKernels {
  // rows[0] + ... + rows[count - 1]
  void (*sum)(const float* const* rows, int64_t count, int64_t n, float* out);
  // a distance from b
  void (*distance)(const float* a, const float* b, int64_t n, float* out);
  // Where cost + bias < best, it is `best`, and x, y the place.
  void (*better)(const float* cost, float bias, float x, float y, int64_t n, float* best, float* best_x, float* best_y);
  // (a + d + 3 (b + c)) / 8
  void (*halve_across)(const float* a, const float* b, const float* c, const float* d, int64_t n, float* out);
  // The same of a = row[2 x - 1] to d = row[2 x + 2].
  void (*halve_along)(const float* row, int64_t n, float* out);
  // 0.75 near + 0.25 far
  void (*between)(const float* near, const float* far, int64_t n, float* out);
  // out[x] = 2 (0.75 row[x / 2] + 0.25 row[x / 2 - 1 or + 1])
  void (*double_along)(const float* row, int64_t n, float* out);
  // Row y of warped, of an image of h rows of n pixels; `extended` is its own pixel (0, 0).
  void (*warp)(const float* extended, int64_t h, int64_t n, int64_t y, const float* u, const float* v, float* out);
  // Row y of the systems; sums[-2 .. 2] are rows of warped + reference, with two columns more at both ends.
  void (*system)(const float* const* sums, const float* reference, const float* warped, const float* u, const float* v,
                 int64_t h, int64_t n, int64_t y, float smoothness, float robust, float* s0, float* s1, float* s2,
                 float* s3, float* s4);
  // A sweep; rows are those of either part of the flow, with a column more at both ends.
  void (*sweep)(const float* s0, const float* s1, const float* s2, const float* s3, const float* s4,
                const float* const* u, const float* const* v, const float* before_u, const float* before_v, float omega,
                int64_t n, float* out_u, float* out_v);
  // start + (z - start) clamped to [-largest, largest]
  void (*limit)(const float* start, const float* z, float largest, int64_t n, float* out);
  // The median of five rows.
  void (*median)(const float* const* rows, int64_t n, float* out);
};

BLADE_DECLARE_KERNELS(AlignKernels)

}  // namespace blade

#endif  // BLADE_ALIGN_KERNELS_H_
