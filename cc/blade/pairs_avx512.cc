#include "cc/blade/simd.h"

#ifdef BLADE_X86

// GCC 12 warns about its own header (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#define BLADE_TARGET __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl")))
namespace blade {
namespace {
constexpr int kVectorBytes = 64;
}
}  // namespace blade

#include "cc/blade/pairs_vector.h"

namespace blade {
namespace {

// Four values of each of the pixels i, i + 4, i + 8 and i + 12.
BLADE_INLINE __m512 FourPixels(const float* table, int64_t stride, const int32_t* index, int64_t i) {
  const auto at = [&](int64_t j) { return _mm_load_ps(table + index[j] * stride); };
  __m512 v = _mm512_castps128_ps512(at(i));
  v = _mm512_insertf32x4(v, at(i + 4), 1);
  v = _mm512_insertf32x4(v, at(i + 8), 2);
  return _mm512_insertf32x4(v, at(i + 12), 3);
}

// Lane l of quarter q is value 4 q + kLane.
template <int kLane>
BLADE_INLINE __m512 Spread(__m512 weight) {
  const __m512i lanes =
      _mm512_setr_epi32(kLane, kLane, kLane, kLane, 4 + kLane, 4 + kLane, 4 + kLane, 4 + kLane, 8 + kLane, 8 + kLane,
                        8 + kLane, 8 + kLane, 12 + kLane, 12 + kLane, 12 + kLane, 12 + kLane);
  return _mm512_permutexvar_ps(lanes, weight);
}

BLADE_INLINE __m512 Interpolate(__m512 low, __m512 high, __m512 weight) {
  return _mm512_add_ps(low, _mm512_mul_ps(weight, _mm512_sub_ps(high, low)));
}

BLADE_INLINE __m512 UnpackTwos(__m512 a, __m512 b, bool high) {
  const __m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);
  return _mm512_castpd_ps(high ? _mm512_unpackhi_pd(x, y) : _mm512_unpacklo_pd(x, y));
}

template <bool kSoft>
BLADE_TARGET void LookupFours(const float* table, int64_t stride, int64_t planes, const int32_t* lower,
                              const int32_t* upper, const float* weight, int64_t n, int64_t pitch, float* out) {
  for (int64_t x = 0; x < n; x += 16) {
    for (int64_t p = 0; p < planes; p += 4) {
      __m512 v[4];
      for (int64_t i = 0; i < 4; ++i) v[i] = FourPixels(table + p, stride, lower + x, i);
      if constexpr (kSoft) {
        const __m512 w = _mm512_loadu_ps(weight + x);
        v[0] = Interpolate(v[0], FourPixels(table + p, stride, upper + x, 0), Spread<0>(w));
        v[1] = Interpolate(v[1], FourPixels(table + p, stride, upper + x, 1), Spread<1>(w));
        v[2] = Interpolate(v[2], FourPixels(table + p, stride, upper + x, 2), Spread<2>(w));
        v[3] = Interpolate(v[3], FourPixels(table + p, stride, upper + x, 3), Spread<3>(w));
      }
      const __m512 a = _mm512_unpacklo_ps(v[0], v[1]), b = _mm512_unpackhi_ps(v[0], v[1]);
      const __m512 c = _mm512_unpacklo_ps(v[2], v[3]), d = _mm512_unpackhi_ps(v[2], v[3]);
      float* to = out + p * pitch + x;
      _mm512_storeu_ps(to, UnpackTwos(a, c, false));
      if (p + 1 < planes) _mm512_storeu_ps(to + pitch, UnpackTwos(a, c, true));
      if (p + 2 < planes) _mm512_storeu_ps(to + 2 * pitch, UnpackTwos(b, d, false));
      if (p + 3 < planes) _mm512_storeu_ps(to + 3 * pitch, UnpackTwos(b, d, true));
    }
  }
}

void LookupFloat(const float* table, int64_t stride, int64_t planes, const int32_t* lower, const int32_t* upper,
                 const float* weight, int64_t n, int64_t pitch, float* out) {
  if (weight == nullptr) return LookupFours<false>(table, stride, planes, lower, upper, weight, n, pitch, out);
  LookupFours<true>(table, stride, planes, lower, upper, weight, n, pitch, out);
}

}  // namespace

const PairsStepKernels<float> kAvx512PairsStepFloat = {LookupFloat, Limit<float>, Exchange<float>};
const PairsStepKernels<double> kAvx512PairsStepDouble = kPairsStepKernels<double>;

}  // namespace blade

#endif  // BLADE_X86
