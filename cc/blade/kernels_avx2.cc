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

// Transposes 4x4 values of rows 0 to 3; those of the one or two rows below fill the gaps.
template <int64_t kR>
BLADE_TARGET void PackRows(const float* const* rows, int64_t n, float* packed) {
  static_assert(kR == 5 || kR == 6);
  const float *row0 = rows[0], *row1 = rows[1], *row2 = rows[2], *row3 = rows[3], *row4 = rows[4], *row5 = rows[kR - 1];
  int64_t x = 0;
  for (; x + 4 <= n; x += 4) {
    __m128 a = _mm_loadu_ps(row0 + x), b = _mm_loadu_ps(row1 + x), c = _mm_loadu_ps(row2 + x),
           d = _mm_loadu_ps(row3 + x);
    _MM_TRANSPOSE4_PS(a, b, c, d);
    float* to = packed + x * kR;
    _mm_storeu_ps(to, a);
    _mm_storeu_ps(to + kR, b);
    _mm_storeu_ps(to + 2 * kR, c);
    _mm_storeu_ps(to + 3 * kR, d);
    for (int64_t i = 0; i < 4; ++i) {
      to[i * kR + 4] = row4[x + i];
      if (kR == 6) to[i * kR + 5] = row5[x + i];
    }
  }
  PackColumns(rows, kR, x, n, packed);
}

BLADE_TARGET void Pack(const float* const* rows, int64_t r, int64_t n, float* packed) {
  if (r == 5) return PackRows<5>(rows, n, packed);
  if (r == 6) return PackRows<6>(rows, n, packed);
  PackColumns(rows, r, 0, n, packed);
}

BLADE_INLINE void AddTo(float* to, __m128 v) { _mm_storeu_ps(to, _mm_add_ps(_mm_loadu_ps(to), v)); }

template <int64_t kR>
BLADE_TARGET void UnpackAddRows(const float* packed, int64_t n, float* const* rows) {
  static_assert(kR == 5 || kR == 6);
  int64_t x = 0;
  for (; x + 4 <= n; x += 4) {
    const float* from = packed + x * kR;
    __m128 v[4] = {_mm_loadu_ps(from), _mm_loadu_ps(from + kR), _mm_loadu_ps(from + 2 * kR),
                   _mm_loadu_ps(from + 3 * kR)};
    _MM_TRANSPOSE4_PS(v[0], v[1], v[2], v[3]);
    for (int64_t i = 0; i < 4; ++i) AddTo(rows[i] + x, v[i]);
    for (int64_t i = 4; i < kR; ++i) {
      AddTo(rows[i] + x, _mm_setr_ps(from[i], from[kR + i], from[2 * kR + i], from[3 * kR + i]));
    }
  }
  UnpackAddColumns(packed, kR, x, n, rows);
}

BLADE_TARGET void UnpackAdd(const float* packed, int64_t r, int64_t n, float* const* rows) {
  if (r == 5) return UnpackAddRows<5>(packed, n, rows);
  if (r == 6) return UnpackAddRows<6>(packed, n, rows);
  UnpackAddColumns(packed, r, 0, n, rows);
}

BLADE_INLINE __m128 LoadTwo(const float* from) {
  return _mm_castsi128_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
}
BLADE_INLINE void StoreTwo(float* to, __m128 v) { _mm_storel_pi(reinterpret_cast<__m64*>(to), v); }

// to[t] += from[t] * g, 0 <= t < n.
BLADE_INLINE void AddProducts(const float* from, float g, int64_t n, float* to) {
  const __m256 v = V::Set(g);
  int64_t t = 0;
  for (; t + V::kLanes <= n; t += V::kLanes) V::Store(to + t, V::Fma(V::Load(from + t), v, V::Load(to + t)));
  // Of a square footprint of odd size one value is left. Masked stores are slow on many processors.
  if (n & 4) {
    AddTo(to + t, _mm_mul_ps(_mm_loadu_ps(from + t), _mm_set1_ps(g)));
    t += 4;
  }
  if (n & 2) {
    StoreTwo(to + t, _mm_add_ps(LoadTwo(to + t), _mm_mul_ps(LoadTwo(from + t), _mm_set1_ps(g))));
    t += 2;
  }
  if (n & 1) to[t] += from[t] * g;
}

template <int64_t kR, int64_t kS>
BLADE_TARGET void ScatterToPackedFootprint(const float* grad, const float* table, int64_t stride, int64_t taps,
                                           const int32_t* selection, int64_t n, int64_t r, float* packed) {
  const Footprint<kR, kS> f(r, taps, stride);
  const int64_t length = StrandLength(n);
  for (int64_t i = 0; i < length; ++i) {
    for (int64_t x = i; x < n; x += length) {
      AddProducts(table + selection[x] * f.stride, grad[x], f.taps, packed + x * f.r);
    }
  }
}

void ScatterToPacked(const float* grad, const float* table, int64_t stride, int64_t taps, const int32_t* selection,
                     int64_t n, int64_t r, float* packed) {
  BLADE_BY_FOOTPRINT(ScatterToPackedFootprint, r, taps, grad, table, stride, taps, selection, n, r, packed);
}

template <int64_t kR, int64_t kS>
BLADE_TARGET void ScatterToTableFootprint(const float* packed, int64_t r, const float* grad, const int32_t* selection,
                                          int64_t n, int64_t stride, int64_t taps, const TapSums<float>& sums) {
  const Footprint<kR, kS> f(r, taps, stride);
  const int64_t length = StrandLength(n);
  for (int64_t i = 0; i < length; ++i) {
    for (int64_t x = i; x < n; x += length) {
      const int64_t k = selection[x];
      AddProducts(packed + x * f.r, grad[x], f.taps, sums.table + k * f.stride);
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
