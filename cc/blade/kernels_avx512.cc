#include "cc/blade/simd.h"

#ifdef BLADE_X86

// GCC 12 warns about its own header (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include <cstdint>

#define BLADE_TARGET __attribute__((target("avx512f,avx512dq")))
#define BLADE_INLINE inline BLADE_TARGET __attribute__((always_inline))

namespace blade {
namespace {

struct V {
  static constexpr int64_t kLanes = 16;
  using Type = __m512;
  using Mask = __mmask16;

  static BLADE_INLINE Mask TailMask(int64_t n) { return static_cast<Mask>((1u << n) - 1); }
  static BLADE_INLINE Type Load(const float* from) { return _mm512_loadu_ps(from); }
  static BLADE_INLINE Type LoadTail(const float* from, Mask mask) { return _mm512_maskz_loadu_ps(mask, from); }
  static BLADE_INLINE void Store(float* to, Type v) { _mm512_storeu_ps(to, v); }
  static BLADE_INLINE Type Mul(Type a, Type b) { return _mm512_mul_ps(a, b); }
  static BLADE_INLINE Type Fma(Type a, Type b, Type c) { return _mm512_fmadd_ps(a, b, c); }

  // The sums of the two halves of a, then of b; the next one, of their quarters.
  static BLADE_INLINE Type Halves(Type a, Type b) {
    return _mm512_add_ps(_mm512_mask_blend_ps(0xFF00, a, b), _mm512_shuffle_f32x4(a, b, 0x4E));
  }
  static BLADE_INLINE Type Quarters(Type a, Type b) {
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xDD));
  }
  static BLADE_INLINE Type Pairs(Type a, Type b) {
    return _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  }
  template <typename P>
  static BLADE_INLINE Type Four(const P& f, int64_t i) {
    return Quarters(Halves(f(i), f(i + 4)), Halves(f(i + 8), f(i + 12)));
  }
  template <typename P>
  static BLADE_INLINE Type Reduce(const P& f) {
    const Type a = Pairs(Four(f, 0), Four(f, 1)), b = Pairs(Four(f, 2), Four(f, 3));
    return _mm512_add_ps(_mm512_mask_blend_ps(0xCCCC, a, b), _mm512_shuffle_ps(a, b, 0x4E));
  }
};

}  // namespace
}  // namespace blade

#include "cc/blade/kernels_vector.h"

namespace blade {
namespace {

// Between kR rows of 16 values and 16 kR packed ones: value l of packed vector v is at column (16 v + l) / kR of row
// (16 v + l) % kR.
template <int kR>
struct Interleave {
  int32_t column[kR][16];  // of value l of packed vector v
  __mmask16 from_row[kR][kR];
  int32_t lane[kR][16];  // in its packed vector, of column l of row r
  __mmask16 from_vector[kR][kR];

  constexpr Interleave() : column(), from_row(), lane(), from_vector() {
    for (int i = 0; i < 16 * kR; ++i) {
      const int v = i / 16, l = i % 16, x = i / kR, r = i % kR;
      column[v][l] = x;
      from_row[v][r] = static_cast<__mmask16>(from_row[v][r] | 1u << l);
      lane[r][x] = l;
      from_vector[r][v] = static_cast<__mmask16>(from_vector[r][v] | 1u << x);
    }
  }
};
template <int kR>
constexpr Interleave<kR> kInterleave;

// Lane l is lane index[l] of v[i], i the one with bit l in masks[i].
template <int kR>
BLADE_INLINE __m512 Gather(const __m512* v, const int32_t* index, const __mmask16* masks) {
  const __m512i lanes = _mm512_loadu_si512(index);
  __m512 out = _mm512_permutexvar_ps(lanes, v[0]);
  for (int i = 1; i < kR; ++i) out = _mm512_mask_permutexvar_ps(out, masks[i], lanes, v[i]);
  return out;
}

template <int kR>
BLADE_TARGET void PackRows(const float* const* rows, int64_t n, float* packed) {
  int64_t x = 0;
  for (; x + V::kLanes <= n; x += V::kLanes) {
    __m512 from[kR];
    for (int i = 0; i < kR; ++i) from[i] = V::Load(rows[i] + x);
    for (int v = 0; v < kR; ++v) {
      V::Store(packed + x * kR + v * V::kLanes,
               Gather<kR>(from, kInterleave<kR>.column[v], kInterleave<kR>.from_row[v]));
    }
  }
  PackColumns(rows, kR, x, n, packed);
}

BLADE_TARGET void Pack(const float* const* rows, int64_t r, int64_t n, float* packed) {
  if (r == 5) return PackRows<5>(rows, n, packed);
  if (r == 6) return PackRows<6>(rows, n, packed);
  PackColumns(rows, r, 0, n, packed);
}

template <int kR>
BLADE_TARGET void UnpackAddRows(const float* packed, int64_t n, float* const* rows) {
  int64_t x = 0;
  for (; x + V::kLanes <= n; x += V::kLanes) {
    __m512 from[kR];
    for (int v = 0; v < kR; ++v) from[v] = V::Load(packed + x * kR + v * V::kLanes);
    for (int i = 0; i < kR; ++i) {
      const __m512 sum = Gather<kR>(from, kInterleave<kR>.lane[i], kInterleave<kR>.from_vector[i]);
      V::Store(rows[i] + x, _mm512_add_ps(V::Load(rows[i] + x), sum));
    }
  }
  UnpackAddColumns(packed, kR, x, n, rows);
}

BLADE_TARGET void UnpackAdd(const float* packed, int64_t r, int64_t n, float* const* rows) {
  if (r == 5) return UnpackAddRows<5>(packed, n, rows);
  if (r == 6) return UnpackAddRows<6>(packed, n, rows);
  UnpackAddColumns(packed, r, 0, n, rows);
}

}  // namespace

// The scatter kernels stay: wider stores would cross a cache line nearly every time.
Kernels<float> WithAvx512(Kernels<float> kernels) {
  kernels.pack = Pack;
  kernels.unpack_add = UnpackAdd;
  kernels.dot = Dot;
  return kernels;
}

}  // namespace blade

#endif  // BLADE_X86
