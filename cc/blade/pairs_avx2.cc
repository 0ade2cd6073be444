#include "cc/blade/simd.h"

#ifdef BLADE_X86

#define BLADE_AVX2
#include <algorithm>

#include "cc/blade/pairs_vector.h"

namespace blade {
namespace {

// Transposes the two 4x4 blocks of v.
BLADE_INLINE void TransposeFours(__m256* v) {
  const __m256 a = _mm256_unpacklo_ps(v[0], v[1]), b = _mm256_unpackhi_ps(v[0], v[1]);
  const __m256 c = _mm256_unpacklo_ps(v[2], v[3]), d = _mm256_unpackhi_ps(v[2], v[3]);
  v[0] = _mm256_shuffle_ps(a, c, 0x44);
  v[1] = _mm256_shuffle_ps(a, c, 0xee);
  v[2] = _mm256_shuffle_ps(b, d, 0x44);
  v[3] = _mm256_shuffle_ps(b, d, 0xee);
}

// Four values of each of the pixels 0 and 4.
BLADE_INLINE __m256 TwoPixels(const float* table, int64_t stride, const int32_t* index) {
  const __m256 first = _mm256_castps128_ps256(_mm_load_ps(table + index[0] * stride));
  return _mm256_insertf128_ps(first, _mm_load_ps(table + index[4] * stride), 1);
}

template <bool kSoft>
BLADE_TARGET void LookupFours(const float* table, int64_t stride, int64_t planes, const int32_t* index,
                              const float* weight, int64_t n, int64_t pitch, float* out) {
  for (int64_t x = 0; x < n; x += 8) {
    for (int64_t p = 0; p < planes; p += 4) {
      const float* entry = table + (kSoft ? 2 * p : p);
      __m256 first[4], difference[4];
      for (int64_t i = 0; i < 4; ++i) {
        first[i] = TwoPixels(entry, stride, index + x + i);
        if (kSoft) difference[i] = TwoPixels(entry + 4, stride, index + x + i);
      }
      TransposeFours(first);
      if (kSoft) TransposeFours(difference);
      for (int64_t i = 0; i < std::min<int64_t>(planes - p, 4); ++i) {
        if (kSoft) first[i] = _mm256_add_ps(first[i], _mm256_mul_ps(_mm256_loadu_ps(weight + x), difference[i]));
        _mm256_storeu_ps(out + (p + i) * pitch + x, first[i]);
      }
    }
  }
}

void LookupFloat(const float* table, int64_t stride, int64_t planes, const int32_t* index, const float* weight,
                 int64_t n, int64_t pitch, float* out) {
  if (weight == nullptr) return LookupFours<false>(table, stride, planes, index, weight, n, pitch, out);
  LookupFours<true>(table, stride, planes, index, weight, n, pitch, out);
}

constexpr PairsStepKernels<float> kFloat = {
    LookupFloat, Limit<float>, {Exchange<float>, Exchange<float>, Exchange<float>}};

}  // namespace

BLADE_DEFINE_KERNELS(PairsStepKernels<float>, kFloat)
BLADE_DEFINE_KERNELS(PairsStepKernels<double>, kPairsStepKernels<double>)

}  // namespace blade

#endif  // BLADE_X86
