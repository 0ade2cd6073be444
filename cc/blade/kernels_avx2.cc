#include "cc/blade/simd.h"

#ifdef BLADE_X86

#include <immintrin.h>

#include <cstdint>

#define BLADE_TARGET __attribute__((target("avx2,fma")))
#define BLADE_INLINE inline BLADE_TARGET __attribute__((always_inline))

namespace blade {
namespace {

struct V {
  static constexpr int64_t kLanes = 8;
  using Type = __m256;
  using Mask = __m256i;

  static BLADE_INLINE Mask TailMask(int64_t n) {
    static const int32_t kMasks[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kMasks + 8 - n));
  }
  static BLADE_INLINE Type Load(const float* from) { return _mm256_loadu_ps(from); }
  static BLADE_INLINE Type LoadTail(const float* from, Mask mask) { return _mm256_maskload_ps(from, mask); }
  static BLADE_INLINE void Store(float* to, Type v) { _mm256_storeu_ps(to, v); }
  static BLADE_INLINE Type Set(float x) { return _mm256_set1_ps(x); }
  static BLADE_INLINE Type Mul(Type a, Type b) { return _mm256_mul_ps(a, b); }
  static BLADE_INLINE Type Fma(Type a, Type b, Type c) { return _mm256_fmadd_ps(a, b, c); }

  // The sums of the two halves of a, then of b.
  static BLADE_INLINE Type Halves(Type a, Type b) {
    return _mm256_add_ps(_mm256_blend_ps(a, b, 0xF0), _mm256_permute2f128_ps(a, b, 0x21));
  }
  static BLADE_INLINE Type Pairs(Type a, Type b) {
    return _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
  }
  template <typename P>
  static BLADE_INLINE Type Reduce(const P& f) {
    const Type a = Pairs(Halves(f(0), f(4)), Halves(f(1), f(5)));
    const Type b = Pairs(Halves(f(2), f(6)), Halves(f(3), f(7)));
    return _mm256_add_ps(_mm256_blend_ps(a, b, 0xCC), _mm256_shuffle_ps(a, b, 0x4E));
  }
};

}  // namespace
}  // namespace blade

#include "cc/blade/kernels_vector.h"

namespace blade {
namespace {

BLADE_TARGET void Pack(const float* const* rows, int64_t r, int64_t n, float* packed) {
  if (r != 5) return PackColumns(rows, r, 0, n, packed);
  const float *row0 = rows[0], *row1 = rows[1], *row2 = rows[2], *row3 = rows[3], *row4 = rows[4];
  int64_t x = 0;
  for (; x + 4 <= n; x += 4) {
    __m128 a = _mm_loadu_ps(row0 + x), b = _mm_loadu_ps(row1 + x), c = _mm_loadu_ps(row2 + x),
           d = _mm_loadu_ps(row3 + x);
    _MM_TRANSPOSE4_PS(a, b, c, d);
    float* to = packed + x * 5;
    _mm_storeu_ps(to, a);
    _mm_storeu_ps(to + 5, b);
    _mm_storeu_ps(to + 10, c);
    _mm_storeu_ps(to + 15, d);
    for (int64_t i = 0; i < 4; ++i) to[i * 5 + 4] = row4[x + i];
  }
  PackColumns(rows, 5, x, n, packed);
}

BLADE_INLINE void AddTo(float* to, __m128 v) { _mm_storeu_ps(to, _mm_add_ps(_mm_loadu_ps(to), v)); }

BLADE_TARGET void UnpackAdd(const float* packed, int64_t r, int64_t n, float* const* rows) {
  if (r != 5) return UnpackAddColumns(packed, r, 0, n, rows);
  int64_t x = 0;
  for (; x + 4 <= n; x += 4) {
    const float* from = packed + x * 5;
    __m128 a = _mm_loadu_ps(from), b = _mm_loadu_ps(from + 5), c = _mm_loadu_ps(from + 10), d = _mm_loadu_ps(from + 15);
    const __m128 e = _mm_setr_ps(from[4], from[9], from[14], from[19]);
    _MM_TRANSPOSE4_PS(a, b, c, d);
    AddTo(rows[0] + x, a);
    AddTo(rows[1] + x, b);
    AddTo(rows[2] + x, c);
    AddTo(rows[3] + x, d);
    AddTo(rows[4] + x, e);
  }
  UnpackAddColumns(packed, 5, x, n, rows);
}

template <int64_t kSide>
BLADE_TARGET void ScatterToPackedFootprint(const float* grad, const float* table, int64_t stride, int64_t taps,
                                           const int32_t* selection, int64_t n, int64_t r, float* packed) {
  const Footprint<kSide> f(r, taps, stride);
  const int64_t length = StrandLength(n);
  for (int64_t i = 0; i < length; ++i) {
    for (int64_t x = i; x < n; x += length) {
      const float* filter = table + selection[x] * f.stride;
      float* patch = packed + x * f.r;
      const __m256 g = V::Set(grad[x]);
      for (int64_t t = 0; t < f.full; t += V::kLanes) {
        V::Store(patch + t, V::Fma(V::Load(filter + t), g, V::Load(patch + t)));
      }
      // One value where the footprint is square; masked stores are slow on many processors.
      for (int64_t t = f.full; t < f.full + f.rest; ++t) patch[t] += filter[t] * grad[x];
    }
  }
}

void ScatterToPacked(const float* grad, const float* table, int64_t stride, int64_t taps, const int32_t* selection,
                     int64_t n, int64_t r, float* packed) {
  BLADE_BY_FOOTPRINT(ScatterToPackedFootprint, r, taps, grad, table, stride, taps, selection, n, r, packed);
}

template <int64_t kSide>
BLADE_TARGET void ScatterToTableFootprint(const float* packed, int64_t r, const float* grad, const int32_t* selection,
                                          int64_t n, int64_t stride, int64_t taps, const TapSums<float>& sums) {
  const Footprint<kSide> f(r, taps, stride);
  const int64_t length = StrandLength(n);
  for (int64_t i = 0; i < length; ++i) {
    for (int64_t x = i; x < n; x += length) {
      const float* patch = packed + x * f.r;
      const int64_t k = selection[x];
      float* filter = sums.table + k * f.stride;
      const __m256 g = V::Set(grad[x]);
      for (int64_t t = 0; t < f.full; t += V::kLanes) {
        V::Store(filter + t, V::Fma(V::Load(patch + t), g, V::Load(filter + t)));
      }
      for (int64_t t = f.full; t < f.full + f.rest; ++t) filter[t] += patch[t] * grad[x];
      if (++sums.terms[k] == kTermsInTable) MoveToTotal(k, f.stride, sums);
    }
  }
}

void ScatterToTable(const float* packed, int64_t r, const float* grad, const int32_t* selection, int64_t n,
                    int64_t stride, int64_t taps, const TapSums<float>& sums) {
  BLADE_BY_FOOTPRINT(ScatterToTableFootprint, r, taps, packed, r, grad, selection, n, stride, taps, sums);
}

}  // namespace

Kernels<float> WithAvx2(Kernels<float>) { return {Pack, UnpackAdd, Dot, ScatterToPacked, ScatterToTable}; }

}  // namespace blade

#endif  // BLADE_X86
