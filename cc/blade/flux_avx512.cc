#include "cc/blade/simd.h"

#ifdef BLADE_X86

#define BLADE_AVX512
#include "cc/blade/flux_vector.h"

namespace blade {
namespace {

constexpr __mmask16 kTaps = 0x7FFF;

// Lane t is the place of tap t of the near side, or of the far side's tap that mirrors it, from that of the side's
// first one on, plus a shift.
struct Places {
  int32_t lanes[2][2][16][16];  // of an axis, mirrored or not, of a shift
  constexpr Places() : lanes() {
    for (int axis = 0; axis < 2; ++axis)
      for (int shift = 0; shift < 16; ++shift)
        for (int t = 0; t < kFluxTaps; ++t) {
          lanes[axis][0][shift][t] = static_cast<int>(FluxPlace(axis, 0, t)) + shift;
          lanes[axis][1][shift][t] = static_cast<int>(FluxPlace(axis, 0, kFluxTaps - 1 - t)) + shift;
        }
  }
};
alignas(64) constexpr Places kPlaces;

constexpr int kGroup = 8;  // faces whose 48 packed values are whole vectors

// The packed values of a group of faces.
template <int kAxis>
struct Group {
  __m512 v[5];
  BLADE_INLINE explicit Group(const float* packed) {
    for (int i = 0; i < 5; ++i) v[i] = _mm512_load_ps(packed + 16 * i);
  }
  // The taps of one side of face kFace, and a zero.
  template <int kFace, int kSide, bool kMirrored>
  BLADE_INLINE __m512 Taps() const {
    constexpr int kFrom = 6 * kFace + static_cast<int>(FluxPlace(kAxis, kSide, 0)), kShift = kFrom % 16;
    const __m512 a = v[kFrom / 16], b = v[kFrom / 16 < 4 ? kFrom / 16 + 1 : 4];
    if constexpr (kAxis == 1 && !kMirrored) {
      const __m512i low = _mm512_castps_si512(a), high = _mm512_castps_si512(b);
      return _mm512_castsi512_ps(_mm512_maskz_alignr_epi32(kTaps, high, low, kShift));
    } else {
      const __m512i lanes = _mm512_load_si512(kPlaces.lanes[kAxis][kMirrored][kShift]);
      return _mm512_maskz_permutex2var_ps(kTaps, a, lanes, b);
    }
  }
};

template <int kParts>
BLADE_INLINE __m512 Products(const __m512* patch, const float* filter) {
  __m512 sum = _mm512_mul_ps(patch[0], _mm512_load_ps(filter));
  for (int i = 1; i < kParts; ++i) sum = _mm512_fmadd_ps(patch[i], _mm512_load_ps(filter + kFluxLanes * i), sum);
  return sum;
}

template <int kAxis, int kBanks, bool kAntisymmetric, bool kSoft>
struct EightFaces {
  static constexpr int kParts = kBanks * (kAntisymmetric ? 1 : 2);
  const FluxFaces<float>& faces;
  const int64_t x;

  // The products of face x + kFace, which are to be summed.
  template <int kFace>
  BLADE_INLINE __m512 Face() const {
    __m512 patch[kParts];
    for (int b = 0; b < kBanks; ++b) {
      const Group<kAxis> group(faces.packed[b] + kPairRows * x);
      const __m512 near = group.template Taps<kFace, 0, false>();
      const __m512 far = group.template Taps<kFace, 1, kAntisymmetric>();
      if constexpr (kAntisymmetric) {
        patch[b] = _mm512_sub_ps(far, near);
      } else {
        patch[2 * b] = near;
        patch[2 * b + 1] = far;
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
  // Of eight faces: the first and the second half of each quarter's sums, of four faces in every quarter.
  BLADE_INLINE __m512 Halves() const {
    const __m512 a = Four<0>(), b = Four<4>();
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xEE));
  }
};

template <int kAxis, int kBanks, bool kAntisymmetric, bool kSoft>
BLADE_TARGET void FluxesOf(const FluxFaces<float>& faces, int64_t n, float* out) {
  const FluxFaces<float> from = faces;
  for (int64_t x = 0; x < n; x += 2 * kGroup) {
    const __m512 a = EightFaces<kAxis, kBanks, kAntisymmetric, kSoft>{from, x}.Halves();
    const __m512 b = EightFaces<kAxis, kBanks, kAntisymmetric, kSoft>{from, x + kGroup}.Halves();
    _mm512_storeu_ps(out + x, _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xDD)));
  }
}

constexpr FluxKernels<float> kFloat = {
    DoubleWell<float>, {FluxesByCase<0>, FluxesByCase<1>}, Parts<float>, Limit<float>, Update<float>};

}  // namespace

BLADE_DEFINE_KERNELS(FluxKernels<float>, kFloat)
BLADE_DEFINE_KERNELS(FluxKernels<double>, kFluxKernels<double>)

}  // namespace blade

#endif  // BLADE_X86
