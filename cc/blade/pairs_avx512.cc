#include "cc/blade/simd.h"

#ifdef BLADE_X86

#define BLADE_AVX512
#include <algorithm>
#include <utility>

#include "cc/blade/pairs_vector.h"

namespace blade {
namespace {

BLADE_INLINE __m512 UnpackTwos(__m512 a, __m512 b, bool high) {
  const __m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);
  return _mm512_castpd_ps(high ? _mm512_unpackhi_pd(x, y) : _mm512_unpacklo_pd(x, y));
}

// Transposes the four 4x4 blocks of v.
BLADE_INLINE void TransposeFours(__m512* v) {
  const __m512 a = _mm512_unpacklo_ps(v[0], v[1]), b = _mm512_unpackhi_ps(v[0], v[1]);
  const __m512 c = _mm512_unpacklo_ps(v[2], v[3]), d = _mm512_unpackhi_ps(v[2], v[3]);
  v[0] = UnpackTwos(a, c, false);
  v[1] = UnpackTwos(a, c, true);
  v[2] = UnpackTwos(b, d, false);
  v[3] = UnpackTwos(b, d, true);
}

// Four values of each of the pixels 0, 4, 8 and 12.
BLADE_INLINE __m512 FourPixels(const float* table, int64_t stride, const int32_t* index) {
  __m512 v = _mm512_castps128_ps512(_mm_load_ps(table + index[0] * stride));
  v = _mm512_insertf32x4(v, _mm_load_ps(table + index[4] * stride), 1);
  v = _mm512_insertf32x4(v, _mm_load_ps(table + index[8] * stride), 2);
  return _mm512_insertf32x4(v, _mm_load_ps(table + index[12] * stride), 3);
}

// Four values and their differences of each of the pixels 0 and 4.
BLADE_INLINE __m512 TwoPixels(const float* table, int64_t stride, const int32_t* index) {
  return _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_load_ps(table + index[0] * stride)),
                            _mm256_load_ps(table + index[4] * stride), 1);
}

BLADE_TARGET void LookupHard(const float* table, int64_t stride, int64_t planes, const int32_t* index, int64_t n,
                             int64_t pitch, float* out) {
  for (int64_t x = 0; x < n; x += 16) {
    for (int64_t p = 0; p < planes; p += 4) {
      __m512 v[4];
      for (int64_t i = 0; i < 4; ++i) v[i] = FourPixels(table + p, stride, index + x + i);
      TransposeFours(v);
      for (int64_t i = 0; i < std::min<int64_t>(planes - p, 4); ++i) _mm512_storeu_ps(out + (p + i) * pitch + x, v[i]);
    }
  }
}

BLADE_TARGET void LookupSoft(const float* table, int64_t stride, int64_t planes, const int32_t* index,
                             const float* weight, int64_t n, int64_t pitch, float* out) {
  for (int64_t x = 0; x < n; x += 16) {
    const __m512 w = _mm512_loadu_ps(weight + x);
    for (int64_t p = 0; p < planes; p += 4) {
      __m512 v[8];
      for (int64_t i = 0; i < 4; ++i) {
        v[i] = TwoPixels(table + 2 * p, stride, index + x + i);
        v[4 + i] = TwoPixels(table + 2 * p, stride, index + x + 8 + i);
      }
      TransposeFours(v);
      TransposeFours(v + 4);
      for (int64_t i = 0; i < std::min<int64_t>(planes - p, 4); ++i) {
        const __m512 first = _mm512_shuffle_f32x4(v[i], v[4 + i], 0x88);
        const __m512 difference = _mm512_shuffle_f32x4(v[i], v[4 + i], 0xdd);
        _mm512_storeu_ps(out + (p + i) * pitch + x, _mm512_add_ps(first, _mm512_mul_ps(w, difference)));
      }
    }
  }
}

void LookupFloat(const float* table, int64_t stride, int64_t planes, const int32_t* index, const float* weight,
                 int64_t n, int64_t pitch, float* out) {
  if (weight == nullptr) return LookupHard(table, stride, planes, index, n, pitch, out);
  LookupSoft(table, stride, planes, index, weight, n, pitch, out);
}

// SidesOf known pairs.
template <const PairList& kPairs>
struct KnownSides {
  static constexpr size_t kCount = 2 * kPairs.count;
  struct Table {
    PairSide sides[kCount];
    size_t same_partners[kCount];  // the first side with partners in the same row
  };
  static constexpr Table Make() {
    Table table = {};
    size_t count = 0;
    for (int64_t step = -kGreatestStep; step <= kGreatestStep; ++step) {
      const size_t first = count;
      for (size_t i = 0; i < kCount; ++i) {
        const PairSide side = SideOf(kPairs.pairs[i / 2], i % 2 == 0);
        if (side.step_y() != step) continue;
        table.sides[count] = side;
        table.same_partners[count++] = first;
      }
    }
    return table;
  }
  static constexpr Table kTable = Make();
  static constexpr int64_t StepX(size_t side) { return kTable.sides[side].step_x(); }
};

// row[kShift ..], where row is aligned.
template <int64_t kShift>
BLADE_INLINE __m512 LoadShifted(const float* row) {
  if constexpr (kShift == 0) {
    return _mm512_load_ps(row);
  } else {
    constexpr int64_t kFirst = kShift < 0 ? -16 : 0;
    const __m512i low = _mm512_load_si512(row + kFirst), high = _mm512_load_si512(row + kFirst + 16);
    return _mm512_castsi512_ps(_mm512_alignr_epi32(high, low, static_cast<int>(kShift - kFirst)));
  }
}

template <typename Sides, size_t kSide>
BLADE_INLINE __m512 LoadConductance(const float* const* c, int64_t x) {
  constexpr int64_t kOwn = Sides::kTable.sides[kSide].own_x;
  return LoadShifted<-kOwn>(c[kSide] + kOwn + x);
}

template <typename Sides, size_t kSide>
BLADE_INLINE __m512 LoadPartner(const float* const* partner, int64_t x) {
  constexpr size_t kRow = Sides::kTable.same_partners[kSide];
  return LoadShifted<Sides::StepX(kSide)>(partner[kRow] - Sides::StepX(kRow) + x);
}

template <typename Sides, size_t kSide>
BLADE_INLINE void AddExchange(const float* const* c, const float* const* partner_r, const float* const* partner_u,
                              __m512 r, __m512 u, int64_t x, __m512* change) {
  // The sides with one row of partners share its loads; more rows at a time would not stay in registers.
  if constexpr (Sides::kTable.same_partners[kSide] == kSide) asm volatile("" ::: "memory");
  const __m512 least = _mm512_min_ps(r, LoadPartner<Sides, kSide>(partner_r, x));
  const __m512 difference = _mm512_sub_ps(LoadPartner<Sides, kSide>(partner_u, x), u);
  const __m512 conductance = LoadConductance<Sides, kSide>(c, x);
  *change = _mm512_add_ps(*change, _mm512_mul_ps(_mm512_mul_ps(conductance, least), difference));
}

template <typename Sides, size_t... kSides>
BLADE_INLINE __m512 ChangeOfKnown(const float* const* c, const float* const* partner_r, const float* const* partner_u,
                                  __m512 r, __m512 u, int64_t x, std::index_sequence<kSides...>) {
  __m512 change = _mm512_setzero_ps();
  (AddExchange<Sides, kSides>(c, partner_r, partner_u, r, u, x, &change), ...);
  return change;
}

template <const PairList& kPairs>
BLADE_TARGET void ExchangeKnown(const float* const* c, const float* const* partner_r, const float* const* partner_u,
                                int64_t, const float* r, const float* u, float dt, float bank_dt, int64_t n,
                                float* out) {
  using Sides = KnownSides<kPairs>;
  for (int64_t x = 0; x < n; x += 16) {
    const __m512 own_u = _mm512_load_ps(u + x);
    const __m512 change = ChangeOfKnown<Sides>(c, partner_r, partner_u, _mm512_load_ps(r + x), own_u, x,
                                               std::make_index_sequence<Sides::kCount>());
    const __m512 rate = _mm512_div_ps(change, _mm512_set1_ps(bank_dt));
    _mm512_storeu_ps(out + x, _mm512_add_ps(own_u, _mm512_mul_ps(_mm512_set1_ps(dt), rate)));
  }
}

constexpr PairsStepKernels<float> kFloat = {
    LookupFloat, Limit<float>, {Exchange<float>, ExchangeKnown<kPairs28>, ExchangeKnown<kPairs44>}};

}  // namespace

BLADE_DEFINE_KERNELS(PairsStepKernels<float>, kFloat)
BLADE_DEFINE_KERNELS(PairsStepKernels<double>, kPairsStepKernels<double>)

}  // namespace blade

#endif  // BLADE_X86
