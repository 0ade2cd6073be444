// The kernels in terms of a vector type V. No include guard: one source file a level includes it, having defined
// BLADE_TARGET (a function attribute), BLADE_INLINE (the same, always inlined) and V, which has
//   kLanes, Type, Mask;
//   TailMask(n): the first n < kLanes lanes; Load, LoadTail (zeros elsewhere), Store, AddTail(to, v, n, mask);
//   Set, Mul, Fma(a, b, c) = a * b + c; Reduce(v): the sums of the lanes of kLanes vectors, in order;
//   Pack5 and UnpackAdd5: kernels for R = 5.

#include "cc/blade/kernels.h"

namespace blade {
namespace {

// kTaps is the number of taps, or 0 where it is known at run time only. It is odd, so that the last vector is never
// full.
template <int64_t kTaps>
struct Footprint {
  int64_t full, rest, stride;
  V::Mask mask;
};

template <int64_t kTaps>
BLADE_INLINE Footprint<kTaps> MakeFootprint(int64_t taps, int64_t stride) {
  if (kTaps > 0) {
    taps = kTaps;
    stride = (kTaps + 15) / 16 * 16;
  }
  const int64_t rest = taps % V::kLanes;
  return {taps - rest, rest, stride, V::TailMask(rest)};
}

template <int64_t kTaps>
BLADE_INLINE V::Type DotOne(const Footprint<kTaps>& f, const float* patch, const float* filter) {
  V::Type sum = V::Mul(V::LoadTail(patch + f.full, f.mask), V::Load(filter + f.full));
  for (int64_t t = 0; t < f.full; t += V::kLanes) sum = V::Fma(V::Load(patch + t), V::Load(filter + t), sum);
  return sum;
}

template <int64_t kTaps>
BLADE_TARGET void DotTaps(const float* packed, int64_t r, const float* table, int64_t stride, int64_t taps,
                          const int32_t* selection, int64_t n, float* out) {
  const auto f = MakeFootprint<kTaps>(taps, stride);
  V::Type sums[V::kLanes];
  int64_t x = 0;
  for (; x + V::kLanes <= n; x += V::kLanes) {
    for (int64_t i = 0; i < V::kLanes; ++i) {
      sums[i] = DotOne(f, packed + (x + i) * r, table + selection[x + i] * f.stride);
    }
    V::Store(out + x, V::Reduce(sums));
  }
  if (x == n) return;
  for (int64_t i = 0; i < V::kLanes; ++i) {
    const int64_t at = x + i < n ? x + i : n - 1;
    sums[i] = DotOne(f, packed + at * r, table + selection[at] * f.stride);
  }
  float last[V::kLanes];
  V::Store(last, V::Reduce(sums));
  for (int64_t i = 0; x + i < n; ++i) out[x + i] = last[i];
}

template <int64_t kTaps>
BLADE_TARGET void ScatterToPackedTaps(const float* grad, const float* table, int64_t stride, int64_t taps,
                                      const int32_t* selection, int64_t n, int64_t r, float* packed) {
  const auto f = MakeFootprint<kTaps>(taps, stride);
  const int64_t length = StrandLength(n);
  for (int64_t i = 0; i < length; ++i) {
    for (int64_t x = i; x < n; x += length) {
      const float* filter = table + selection[x] * f.stride;
      float* patch = packed + x * r;
      const V::Type g = V::Set(grad[x]);
      for (int64_t t = 0; t < f.full; t += V::kLanes) {
        V::Store(patch + t, V::Fma(V::Load(filter + t), g, V::Load(patch + t)));
      }
      V::AddTail(patch + f.full, V::Mul(V::Load(filter + f.full), g), f.rest, f.mask);
    }
  }
}

template <int64_t kTaps>
BLADE_TARGET void ScatterToTableTaps(const float* packed, int64_t r, const float* grad, const int32_t* selection,
                                     int64_t n, int64_t stride, int64_t taps, float* table) {
  const auto f = MakeFootprint<kTaps>(taps, stride);
  const int64_t length = StrandLength(n);
  for (int64_t i = 0; i < length; ++i) {
    for (int64_t x = i; x < n; x += length) {
      const float* patch = packed + x * r;
      float* filter = table + selection[x] * f.stride;
      const V::Type g = V::Set(grad[x]);
      for (int64_t t = 0; t < f.full; t += V::kLanes) {
        V::Store(filter + t, V::Fma(V::Load(patch + t), g, V::Load(filter + t)));
      }
      const V::Type last = V::LoadTail(patch + f.full, f.mask);
      V::Store(filter + f.full, V::Fma(last, g, V::Load(filter + f.full)));
    }
  }
}

// Footprints of 3x3, 5x5 and 7x7 are known to the compiler.
#define BLADE_BY_TAPS(Function, taps, ...) \
  switch (taps) {                          \
    case 9:                                \
      return Function<9>(__VA_ARGS__);     \
    case 25:                               \
      return Function<25>(__VA_ARGS__);    \
    case 49:                               \
      return Function<49>(__VA_ARGS__);    \
    default:                               \
      return Function<0>(__VA_ARGS__);     \
  }

void Dot(const float* packed, int64_t r, const float* table, int64_t stride, int64_t taps, const int32_t* selection,
         int64_t n, float* out) {
  BLADE_BY_TAPS(DotTaps, taps, packed, r, table, stride, taps, selection, n, out);
}

void ScatterToPacked(const float* grad, const float* table, int64_t stride, int64_t taps, const int32_t* selection,
                     int64_t n, int64_t r, float* packed) {
  BLADE_BY_TAPS(ScatterToPackedTaps, taps, grad, table, stride, taps, selection, n, r, packed);
}

void ScatterToTable(const float* packed, int64_t r, const float* grad, const int32_t* selection, int64_t n,
                    int64_t stride, int64_t taps, float* table) {
  BLADE_BY_TAPS(ScatterToTableTaps, taps, packed, r, grad, selection, n, stride, taps, table);
}

#undef BLADE_BY_TAPS

void Pack(const float* const* rows, int64_t r, int64_t n, float* packed) {
  if (r == 5) {
    V::Pack5(rows, n, packed);
  } else {
    kPortableKernelsFloat.pack(rows, r, n, packed);
  }
}

void UnpackAdd(const float* packed, int64_t r, int64_t n, float* const* rows) {
  if (r == 5) {
    V::UnpackAdd5(packed, n, rows);
  } else {
    kPortableKernelsFloat.unpack_add(packed, r, n, rows);
  }
}

}  // namespace
}  // namespace blade
