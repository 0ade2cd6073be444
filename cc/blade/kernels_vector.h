// Kernels in terms of a vector type V. No include guard: one source file a level includes it, having defined
// BLADE_TARGET (a function attribute), BLADE_INLINE (the same, always inlined) and V, which has
//   kLanes, Type, Mask; Load, Store, Mul, Fma(a, b, c) = a b + c;
//   TailMask(n): the first n < kLanes lanes; LoadTail: Load of those, zeros in the others;
//   Reduce(f): lane i is the sum of the lanes of the vector f(i), 0 <= i < kLanes.

#include "cc/blade/kernels.h"

namespace blade {
namespace {

// kSide is the side of a square footprint known to the compiler, 0 for another footprint. The number of taps is odd, so
// that the last vector is never full.
template <int64_t kSide>
struct Footprint {
  BLADE_INLINE Footprint(int64_t rows, int64_t taps, int64_t table_stride)
      : r(kSide > 0 ? kSide : rows),
        full((kSide > 0 ? kSide * kSide : taps) / V::kLanes * V::kLanes),
        rest((kSide > 0 ? kSide * kSide : taps) % V::kLanes),
        stride(kSide > 0 ? (kSide * kSide + 15) / 16 * 16 : table_stride),
        mask(V::TailMask(rest)) {}

  int64_t r, full, rest, stride;
  V::Mask mask;
};

#define BLADE_BY_FOOTPRINT(Function, r, taps, ...)             \
  do {                                                         \
    if (r == 5 && taps == 25) return Function<5>(__VA_ARGS__); \
    if (r == 3 && taps == 9) return Function<3>(__VA_ARGS__);  \
    if (r == 7 && taps == 49) return Function<7>(__VA_ARGS__); \
    return Function<0>(__VA_ARGS__);                           \
  } while (false)

// The products of pixel i of a run, or of pixel `last` instead of those beyond it, before they are summed.
template <int64_t kSide>
struct Products {
  const Footprint<kSide>& f;
  const float* packed;
  const float* table;
  const int32_t* selection;
  int64_t last;

  BLADE_INLINE V::Type operator()(int64_t i) const {
    const int64_t x = i < last ? i : last;
    const float* patch = packed + x * f.r;
    const float* filter = table + selection[x] * f.stride;
    V::Type sum = V::Mul(V::LoadTail(patch + f.full, f.mask), V::Load(filter + f.full));
    for (int64_t t = 0; t < f.full; t += V::kLanes) sum = V::Fma(V::Load(patch + t), V::Load(filter + t), sum);
    return sum;
  }
};

template <int64_t kSide>
BLADE_TARGET void DotFootprint(const float* packed, int64_t r, const float* table, int64_t stride, int64_t taps,
                               const int32_t* selection, int64_t n, float* out) {
  const Footprint<kSide> f(r, taps, stride);
  int64_t x = 0;
  for (; x + V::kLanes <= n; x += V::kLanes) {
    V::Store(out + x, V::Reduce(Products<kSide>{f, packed + x * f.r, table, selection + x, V::kLanes}));
  }
  if (x == n) return;
  float last[V::kLanes];
  V::Store(last, V::Reduce(Products<kSide>{f, packed + x * f.r, table, selection + x, n - x - 1}));
  for (int64_t i = 0; x + i < n; ++i) out[x + i] = last[i];
}

void Dot(const float* packed, int64_t r, const float* table, int64_t stride, int64_t taps, const int32_t* selection,
         int64_t n, float* out) {
  BLADE_BY_FOOTPRINT(DotFootprint, r, taps, packed, r, table, stride, taps, selection, n, out);
}

}  // namespace
}  // namespace blade
