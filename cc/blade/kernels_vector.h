// Kernels in terms of a vector type V. No include guard: one source file a level includes it, having defined
// BLADE_TARGET (a function attribute), BLADE_INLINE (the same, always inlined) and V, which has
//   kLanes, Type, Mask; Load, Store, Mul, Fma(a, b, c) = a b + c;
//   TailMask(n): the first n of the lanes, n > 0; LoadTail: Load of those, zeros in the others;
//   Reduce(f): lane i is the sum of the lanes of the vector f(i), 0 <= i < kLanes.

#include "cc/blade/kernels.h"

namespace blade {
namespace {

// kR rows and kS columns known to the compiler, or 0 and 0 for another footprint. Its last vector, which may be full,
// begins at tap `tail`.
template <int64_t kR, int64_t kS>
struct Footprint {
  BLADE_INLINE Footprint(int64_t rows, int64_t size, int64_t table_stride)
      : r(kR > 0 ? kR : rows),
        taps(kR > 0 ? kR * kS : size),
        tail((taps - 1) / V::kLanes * V::kLanes),
        stride(kR > 0 ? (kR * kS + 15) / 16 * 16 : table_stride),
        mask(V::TailMask(taps - tail)) {}

  int64_t r, taps, tail, stride;
  V::Mask mask;
};

#define BLADE_BY_FOOTPRINT(Function, r, taps, ...)                \
  do {                                                            \
    if (r == 5 && taps == 30) return Function<5, 6>(__VA_ARGS__); \
    if (r == 6 && taps == 30) return Function<6, 5>(__VA_ARGS__); \
    if (r == 3 && taps == 9) return Function<3, 3>(__VA_ARGS__);  \
    if (r == 7 && taps == 49) return Function<7, 7>(__VA_ARGS__); \
    return Function<0, 0>(__VA_ARGS__);                           \
  } while (false)

// The products of pixel i of a run, or of pixel `last` instead of those beyond it, before they are summed.
template <int64_t kR, int64_t kS>
struct Products {
  const Footprint<kR, kS>& f;
  const float* packed;
  const float* table;
  const int32_t* selection;
  int64_t last;

  BLADE_INLINE V::Type operator()(int64_t i) const {
    const int64_t x = i < last ? i : last;
    const float* patch = packed + x * f.r;
    const float* filter = table + selection[x] * f.stride;
    V::Type sum = V::Mul(V::LoadTail(patch + f.tail, f.mask), V::Load(filter + f.tail));
    for (int64_t t = 0; t < f.tail; t += V::kLanes) sum = V::Fma(V::Load(patch + t), V::Load(filter + t), sum);
    return sum;
  }
};

template <int64_t kR, int64_t kS>
BLADE_TARGET void DotFootprint(const float* packed, int64_t r, const float* table, int64_t stride, int64_t taps,
                               const int32_t* selection, int64_t n, float* out) {
  const Footprint<kR, kS> f(r, taps, stride);
  int64_t x = 0;
  for (; x + V::kLanes <= n; x += V::kLanes) {
    V::Store(out + x, V::Reduce(Products<kR, kS>{f, packed + x * f.r, table, selection + x, V::kLanes}));
  }
  if (x == n) return;
  float last[V::kLanes];
  V::Store(last, V::Reduce(Products<kR, kS>{f, packed + x * f.r, table, selection + x, n - x - 1}));
  for (int64_t i = 0; x + i < n; ++i) out[x + i] = last[i];
}

void Dot(const float* packed, int64_t r, const float* table, int64_t stride, int64_t taps, const int32_t* selection,
         int64_t n, float* out) {
  BLADE_BY_FOOTPRINT(DotFootprint, r, taps, packed, r, table, stride, taps, selection, n, out);
}

}  // namespace
}  // namespace blade
