#include "cc/blade/simd.h"

#ifdef BLADE_X86

#define BLADE_AVX2
#include "cc/blade/flux_vector.h"

namespace blade {
namespace {

// The taps of one side of a face, and a zero.
struct Taps {
  __m256 low, high;
};

BLADE_INLINE __m256 WithoutLast(__m256 v) { return _mm256_blend_ps(v, _mm256_setzero_ps(), 0x80); }

template <int kAxis, int kSide>
BLADE_INLINE Taps LoadTaps(const float* packed) {
  const float* from = packed + FluxPlace(kAxis, kSide, 0);
  if constexpr (kAxis == 1) return {_mm256_loadu_ps(from), WithoutLast(_mm256_loadu_ps(from + 8))};
  return {_mm256_blend_ps(_mm256_loadu_ps(from), _mm256_loadu_ps(from + 1), 0xE0),
          WithoutLast(_mm256_blend_ps(_mm256_loadu_ps(from + 9), _mm256_loadu_ps(from + 10), 0xFC))};
}

// The taps of the far side that mirror those of the near side.
template <int kAxis>
BLADE_INLINE Taps LoadMirrored(const float* packed) {
  const float* from = packed + FluxPlace(kAxis, 1, 0);
  __m256 low, high;
  if constexpr (kAxis == 1) {
    low = _mm256_loadu_ps(from + 7);
    high = _mm256_loadu_ps(from - 1);
  } else {
    low = _mm256_blend_ps(_mm256_loadu_ps(from + 9), _mm256_loadu_ps(from + 8), 0x07);
    high = _mm256_blend_ps(_mm256_loadu_ps(from), _mm256_loadu_ps(from - 1), 0x3F);
  }
  const __m256i reversal = _mm256_setr_epi32(7, 6, 5, 4, 3, 2, 1, 0);
  return {_mm256_permutevar8x32_ps(low, reversal), WithoutLast(_mm256_permutevar8x32_ps(high, reversal))};
}

template <int kParts>
BLADE_INLINE __m256 Products(const Taps* patch, const float* filter) {
  __m256 sum = _mm256_mul_ps(patch[0].low, _mm256_load_ps(filter));
  sum = _mm256_fmadd_ps(patch[0].high, _mm256_load_ps(filter + 8), sum);
  for (int i = 1; i < kParts; ++i) {
    sum = _mm256_fmadd_ps(patch[i].low, _mm256_load_ps(filter + kFluxLanes * i), sum);
    sum = _mm256_fmadd_ps(patch[i].high, _mm256_load_ps(filter + kFluxLanes * i + 8), sum);
  }
  return sum;
}

// The products of face x, which are to be summed.
template <int kAxis, int kBanks, bool kAntisymmetric, bool kSoft>
BLADE_INLINE __m256 Face(const FluxFaces<float>& faces, int64_t x) {
  constexpr int kParts = kBanks * (kAntisymmetric ? 1 : 2);
  Taps patch[kParts];
  for (int b = 0; b < kBanks; ++b) {
    const float* packed = faces.packed[b] + kPairRows * x;
    const Taps near = LoadTaps<kAxis, 0>(packed);
    if constexpr (kAntisymmetric) {
      const Taps far = LoadMirrored<kAxis>(packed);
      patch[b] = {_mm256_sub_ps(far.low, near.low), _mm256_sub_ps(far.high, near.high)};
    } else {
      patch[2 * b] = near;
      patch[2 * b + 1] = LoadTaps<kAxis, 1>(packed);
    }
  }
  const __m256 low = Products<kParts>(patch, faces.table + faces.lower[x] * (kParts * kFluxLanes));
  if constexpr (!kSoft) return low;
  const __m256 high = Products<kParts>(patch, faces.table + faces.upper[x] * (kParts * kFluxLanes));
  return _mm256_fmadd_ps(_mm256_broadcast_ss(faces.weight + x), _mm256_sub_ps(high, low), low);
}

// The sums of the two halves of a, then of b.
BLADE_INLINE __m256 Halves(__m256 a, __m256 b) {
  return _mm256_add_ps(_mm256_blend_ps(a, b, 0xF0), _mm256_permute2f128_ps(a, b, 0x21));
}
BLADE_INLINE __m256 Pairs(__m256 a, __m256 b) {
  return _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
}

template <int kAxis, int kBanks, bool kAntisymmetric, bool kSoft>
BLADE_TARGET void FluxesOf(const FluxFaces<float>& faces, int64_t n, float* out) {
#define BLADE_FACE(i) Face<kAxis, kBanks, kAntisymmetric, kSoft>(from, x + i)
  const FluxFaces<float> from = faces;
  for (int64_t x = 0; x < n; x += 8) {
    const __m256 a = Pairs(Halves(BLADE_FACE(0), BLADE_FACE(4)), Halves(BLADE_FACE(1), BLADE_FACE(5)));
    const __m256 b = Pairs(Halves(BLADE_FACE(2), BLADE_FACE(6)), Halves(BLADE_FACE(3), BLADE_FACE(7)));
    _mm256_storeu_ps(out + x, _mm256_add_ps(_mm256_blend_ps(a, b, 0xCC), _mm256_shuffle_ps(a, b, 0x4E)));
  }
#undef BLADE_FACE
}

constexpr FluxKernels<float> kFloat = {
    DoubleWell<float>, {FluxesByCase<0>, FluxesByCase<1>}, Parts<float>, Limit<float>, Update<float>};

}  // namespace

BLADE_DEFINE_KERNELS(FluxKernels<float>, kFloat)
BLADE_DEFINE_KERNELS(FluxKernels<double>, kFluxKernels<double>)

}  // namespace blade

#endif  // BLADE_X86
