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

#include "cc/blade/flux_vector.h"

namespace blade {
namespace {

constexpr __mmask16 kTaps = 0x7FFF;

// Lane t is value kFluxTaps - 1 - t + s of two vectors.
struct Reversal {
  int32_t lanes[16][16];
  constexpr Reversal() : lanes() {
    for (int s = 0; s < 16; ++s) {
      for (int t = 0; t < kFluxTaps; ++t) lanes[s][t] = static_cast<int>(kFluxTaps) - 1 - t + s;
    }
  }
};
alignas(64) constexpr Reversal kReversal;

// Packed values of one side of 16 faces, the first of which has them from value kFirst on.
template <int kStep, int kFirst>
struct Side {
  static constexpr int kVectors = (15 * kStep + kFirst + kFluxTaps + 15) / 16;
  __m512 v[kVectors];
  BLADE_INLINE explicit Side(const float* packed) {
    for (int i = 0; i < kVectors; ++i) v[i] = _mm512_load_ps(packed - kFirst + 16 * i);
  }
  // The taps of face kFace, and a zero.
  template <int kFace>
  BLADE_INLINE __m512 Taps() const {
    constexpr int kFrom = kFirst + kStep * kFace, i = kFrom / 16, next = i + 1 < kVectors ? i + 1 : i;
    const __m512i a = _mm512_castps_si512(v[i]), b = _mm512_castps_si512(v[next]);
    return _mm512_castsi512_ps(_mm512_maskz_alignr_epi32(kTaps, b, a, kFrom % 16));
  }
  // The same, reversed.
  template <int kFace>
  BLADE_INLINE __m512 Mirrored() const {
    constexpr int kFrom = kFirst + kStep * kFace, i = kFrom / 16, next = i + 1 < kVectors ? i + 1 : i;
    return _mm512_maskz_permutex2var_ps(kTaps, v[i], _mm512_load_si512(kReversal.lanes[kFrom % 16]), v[next]);
  }
};

template <int kParts>
BLADE_INLINE __m512 Products(const __m512* patch, const float* filter) {
  __m512 sum = _mm512_mul_ps(patch[0], _mm512_load_ps(filter));
  for (int i = 1; i < kParts; ++i) sum = _mm512_fmadd_ps(patch[i], _mm512_load_ps(filter + kFluxLanes * i), sum);
  return sum;
}

template <int kStep, int kBanks, bool kAntisymmetric, bool kSoft>
struct SixteenFaces {
  static constexpr int kParts = kBanks * (kAntisymmetric ? 1 : 2);
  static constexpr int kFirst = kStep == 5 ? static_cast<int>(kFluxTaps) : 0;  // of the far side
  const FluxFaces<float>& faces;
  const int64_t x;

  // The products of face x + kFace, which are to be summed.
  template <int kFace>
  BLADE_INLINE __m512 Face() const {
    __m512 patch[kParts];
    for (int b = 0; b < kBanks; ++b) {
      const Side<kStep, 0> near(faces.near[b] + kStep * x);
      const Side<kStep, kFirst> far(faces.far[b] + kStep * x);
      if constexpr (kAntisymmetric) {
        patch[b] = _mm512_sub_ps(far.template Mirrored<kFace>(), near.template Taps<kFace>());
      } else {
        patch[2 * b] = near.template Taps<kFace>();
        patch[2 * b + 1] = far.template Taps<kFace>();
      }
    }
    const int64_t at = x + kFace;
    const __m512 low = Products<kParts>(patch, faces.table + faces.lower[at] * (kParts * kFluxLanes));
    if constexpr (!kSoft) return low;
    const __m512 high = Products<kParts>(patch, faces.table + faces.upper[at] * (kParts * kFluxLanes));
    return _mm512_fmadd_ps(_mm512_set1_ps(faces.weight[at]), _mm512_sub_ps(high, low), low);
  }

  // Of four faces: lane i of each quarter is the sum of that quarter of face kFace + i.
  template <int kFace>
  BLADE_INLINE __m512 Four() const {
    const __m512 a = Face<kFace>(), b = Face<kFace + 1>(), c = Face<kFace + 2>(), d = Face<kFace + 3>();
    const __m512d ab = _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)));
    const __m512d cd = _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d)));
    return _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)), _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)));
  }
  BLADE_INLINE __m512 Sums() const {
    const __m512 a = Four<0>(), b = Four<4>(), c = Four<8>(), d = Four<12>();
    const __m512 ab = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xEE));
    const __m512 cd = _mm512_add_ps(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xEE));
    return _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xDD));
  }
};

template <int kStep, int kBanks, bool kAntisymmetric, bool kSoft>
BLADE_TARGET void FluxesOf(const FluxFaces<float>& faces, int64_t n, float* out) {
  const FluxFaces<float> from = faces;
  for (int64_t x = 0; x < n; x += 16)
    _mm512_storeu_ps(out + x, SixteenFaces<kStep, kBanks, kAntisymmetric, kSoft>{from, x}.Sums());
}

}  // namespace

const FluxKernels<float> kAvx512FluxFloat = {
    DoubleWell<float>, {FluxesByCase<5>, FluxesByCase<3>}, Parts<float>, Limit<float>, Update<float>};
const FluxKernels<double> kAvx512FluxDouble = kFluxKernels<double>;

}  // namespace blade

#endif  // BLADE_X86
