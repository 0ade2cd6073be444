#ifndef BLADE_RESAMPLE_KERNELS_H_
#define BLADE_RESAMPLE_KERNELS_H_

#include <cstdint>

#include "cc/blade/simd.h"

namespace blade {

constexpr int64_t kResampleLanes = 16;  // of which the taps of a filter are a multiple
constexpr int64_t kResampleBatch = 16;  // pixels at a time
constexpr int64_t kResampleQuad = 4;    // channels that are read at once

// Where pixels of a row come from: the pixel, the rest of the displacement, and whether there is one.
struct ResamplePlaces {
  int32_t *x, *y;
  float *dx, *dy;
  uint8_t* known;
};

struct ResampleBatch {
  int64_t count;
  int64_t monomials, padded, r, s, c;
  const float* filters[kResampleBatch];  // of each monomial
  const float* patches[kResampleBatch];  // the footprint's first value; up to a quad is read from its last pixel on
  int64_t pitches[kResampleBatch];       // between its rows
  const float* weights;                  // [monomials, kResampleBatch]
  float* scratch;                        // [kResampleBatch + 1, padded], of zeros behind the taps
};

struct ResampleKernels {
  // Of row y of images of h x w.
  void (*places_float)(const float* displacement, int64_t y, int64_t h, int64_t w, const ResamplePlaces& places);
  void (*places_double)(const double* displacement, int64_t y, int64_t h, int64_t w, const ResamplePlaces& places);
  // Of a batch, [monomials, kResampleBatch], in the order of ResampleParameters; powers: [2, order + 1,
  // kResampleBatch].
  void (*monomials)(const float* dx, const float* dy, int64_t order, bool constant, float* powers, float* monomials);
  // The sums of the products, [count, c].
  void (*sums)(const ResampleBatch& batch, float* out);
};

BLADE_DECLARE_KERNELS(ResampleKernels)

}  // namespace blade

#endif  // BLADE_RESAMPLE_KERNELS_H_
