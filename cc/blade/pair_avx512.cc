#include "cc/blade/simd.h"

#ifdef BLADE_X86

// GCC 12 warns about its own header (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "cc/blade/pair_kernels.h"

#define BLADE_TARGET __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl")))
#define BLADE_INLINE inline BLADE_TARGET __attribute__((always_inline))

namespace blade {
namespace {

constexpr int64_t kLanes = 16;
constexpr int64_t kGroup = 8;    // columns whose 48 packed values are whole vectors
constexpr int64_t kVectors = 3;  // in a group

// The lanes of half `half` of a footprint's 32 values that are taps of row `row`.
constexpr __mmask16 TapMask(int row, int half) {
  unsigned mask = 0;
  for (int lane = 0; lane < 16; ++lane) {
    const int t = 16 * half + lane;
    if (t < 30 && t % 6 != (row == 0 ? 5 : 0)) mask |= 1u << lane;
  }
  return static_cast<__mmask16>(mask);
}

template <typename S>
BLADE_TARGET bool Offsets(const S* selection, int64_t n, int64_t k, uint32_t* offsets) {
  // A value is outside where it, or its distance from the last valid one, is negative.
  const __m512i last = _mm512_set1_epi32(static_cast<int32_t>(k - 1));
  const __m512i none = _mm512_set1_epi32(static_cast<int32_t>(k));
  __m512i outside = _mm512_setzero_si512();
  for (int64_t x = 0; x < n; x += kLanes) {
    const __mmask16 mask = static_cast<__mmask16>(n - x >= kLanes ? 0xFFFF : (1u << (n - x)) - 1);
    __m512i value;
    if constexpr (sizeof(S) == 1) {
      value = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, selection + x));
    } else {
      value = _mm512_maskz_loadu_epi32(mask, selection + x);
    }
    const __m512i wrong = _mm512_or_si512(value, _mm512_sub_epi32(last, value));
    outside = _mm512_mask_or_epi32(outside, mask, outside, wrong);
    value = _mm512_mask_mov_epi32(none, mask, value);
    _mm512_storeu_si512(offsets + x, _mm512_slli_epi32(value, 7));
  }
  static_assert(kPairStride * sizeof(float) == 1 << 7);
  return _mm512_movepi32_mask(outside) == 0;
}

// Between 6 rows of 16 columns and 6 packed vectors, by way of pairs of rows of 8 columns: value p of column x of the
// packed vectors, in twos, is pair p of rows.
struct Interleave {
  int32_t low[16], high[16];     // of two rows: columns 0 .. 7 in twos, 8 .. 15
  int32_t even[16], odd[16];     // the inverse
  int64_t first[6][8];           // of packed vector v: from pairs 0 and 1
  int64_t second[6][8];          // and 2,
  __mmask8 from_second[6];       // where this is set
  int64_t back_first[6][8];      // of pair p of columns 8 h .. 8 h + 7, at 2 p + h: from packed vectors 3 h and 3 h + 1
  int64_t back_second[6][8];     // and 3 h + 2,
  __mmask8 back_from_second[6];  // where this is set

  constexpr Interleave()
      : low(),
        high(),
        even(),
        odd(),
        first(),
        second(),
        from_second(),
        back_first(),
        back_second(),
        back_from_second() {
    for (int i = 0; i < 16; ++i) {
      low[i] = i / 2 + 16 * (i % 2);
      high[i] = 8 + low[i];
      even[i] = 2 * i;
      odd[i] = 2 * i + 1;
    }
    for (int i = 0; i < 48; ++i) {
      const int v = i / 8, lane = i % 8, column = i / 3 % 8, pair = i % 3;
      first[v][lane] = pair == 1 ? column + 8 : column;
      second[v][lane] = column;
      if (pair == 2) from_second[v] = static_cast<__mmask8>(from_second[v] | 1u << lane);
      const int to = 2 * pair + i / 24, vector = v % 3;
      back_first[to][column] = vector == 1 ? lane + 8 : lane;
      back_second[to][column] = lane;
      if (vector == 2) back_from_second[to] = static_cast<__mmask8>(back_from_second[to] | 1u << column);
    }
  }
};
constexpr Interleave kInterleave;

BLADE_INLINE __m512 Permute(__m512 a, const int32_t* index, __m512 b) {
  return _mm512_permutex2var_ps(a, _mm512_loadu_si512(index), b);
}

// Twos of lanes of a and b by `first`, but of c by `second` where the mask is set.
BLADE_INLINE __m512 Twos(__m512 a, __m512 b, __m512 c, const int64_t* first, const int64_t* second, __mmask8 mask) {
  const __m512d ab = _mm512_permutex2var_pd(_mm512_castps_pd(a), _mm512_loadu_si512(first), _mm512_castps_pd(b));
  return _mm512_castpd_ps(_mm512_mask_permutexvar_pd(ab, mask, _mm512_loadu_si512(second), _mm512_castps_pd(c)));
}

BLADE_TARGET void Pack(const float* const* rows, int64_t first, int64_t n, int64_t width, float* packed) {
  for (int64_t x = 0; x < n; x += kLanes, packed += kPairRows * kLanes) {
    __m512 row[kPairRows];
    const int64_t from = first + x;
    if (from >= 0 && from + kLanes <= width) {
      for (int64_t i = 0; i < kPairRows; ++i) row[i] = _mm512_loadu_ps(rows[i] + from);
    } else {
      const int64_t base = std::max<int64_t>(std::min(from, width - kLanes), 0);
      const __mmask16 mask = static_cast<__mmask16>(width >= kLanes ? 0xFFFF : (1u << width) - 1);
      const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
      __m512i index = _mm512_add_epi32(lanes, _mm512_set1_epi32(static_cast<int32_t>(from - base)));
      index = _mm512_max_epi32(_mm512_setzero_si512(), index);
      index = _mm512_min_epi32(_mm512_set1_epi32(static_cast<int32_t>(width - 1 - base)), index);
      for (int64_t i = 0; i < kPairRows; ++i)
        row[i] = _mm512_permutexvar_ps(index, _mm512_maskz_loadu_ps(mask, rows[i] + base));
    }
    __m512 pairs[3][2];
    for (int64_t p = 0; p < 3; ++p) {
      pairs[p][0] = Permute(row[2 * p], kInterleave.low, row[2 * p + 1]);
      pairs[p][1] = Permute(row[2 * p], kInterleave.high, row[2 * p + 1]);
    }
    for (int64_t v = 0; v < kPairRows; ++v) {
      const int64_t h = v / kVectors;
      _mm512_store_ps(packed + v * kLanes, Twos(pairs[0][h], pairs[1][h], pairs[2][h], kInterleave.first[v],
                                                kInterleave.second[v], kInterleave.from_second[v]));
    }
  }
}

BLADE_TARGET void UnpackAdd(const float* packed, int64_t n, float* const* rows) {
  for (int64_t x = 0; x < n; x += kLanes, packed += kPairRows * kLanes) {
    __m512 from[kPairRows], pairs[kPairRows];
    for (int64_t v = 0; v < kPairRows; ++v) from[v] = _mm512_load_ps(packed + v * kLanes);
    for (int64_t i = 0; i < kPairRows; ++i) {
      const __m512* group = from + i % 2 * kVectors;
      pairs[i] = Twos(group[0], group[1], group[2], kInterleave.back_first[i], kInterleave.back_second[i],
                      kInterleave.back_from_second[i]);
    }
    const __mmask16 mask = static_cast<__mmask16>(n - x >= kLanes ? 0xFFFF : (1u << (n - x)) - 1);
    for (int64_t i = 0; i < kPairRows; ++i) {
      const __m512 sum =
          Permute(pairs[i / 2 * 2], i % 2 == 0 ? kInterleave.even : kInterleave.odd, pairs[i / 2 * 2 + 1]);
      _mm512_mask_storeu_ps(rows[i] + x, mask, _mm512_add_ps(_mm512_maskz_loadu_ps(mask, rows[i] + x), sum));
    }
  }
}

// Lanes kShift .. of a, then the first ones of b.
template <int kShift>
BLADE_INLINE __m512 Join(__m512 a, __m512 b) {
  if constexpr (kShift == 0) return a;
  return _mm512_castsi512_ps(_mm512_alignr_epi32(_mm512_castps_si512(b), _mm512_castps_si512(a), kShift));
}

BLADE_INLINE const float* At(const float* table, uint32_t offset) {
  return reinterpret_cast<const float*>(reinterpret_cast<const char*>(table) + offset);
}
BLADE_INLINE float* At(float* table, uint32_t offset) {
  return reinterpret_cast<float*>(reinterpret_cast<char*>(table) + offset);
}

// The packed values of a group of columns and of those to its right.
struct Group {
  __m512 v[5];
  Group() = default;
  BLADE_INLINE explicit Group(const float* packed) {
    for (int i = 0; i < 5; ++i) v[i] = _mm512_load_ps(packed + i * kLanes);
  }
  // Half `kHalf` of the 32 values from column kColumn on.
  template <int kColumn, int kHalf>
  BLADE_INLINE __m512 Patch() const {
    constexpr int kFrom = 6 * kColumn / 16 + kHalf;
    return Join<6 * kColumn % 16>(v[kFrom], v[kFrom + 1 < 5 ? kFrom + 1 : kFrom]);
  }
};

template <int kRow, int kColumn>
BLADE_INLINE __m512 Products(const Group& group, const float* filter) {
  const __m512 high = _mm512_maskz_mul_ps(TapMask(kRow, 1), group.Patch<kColumn, 1>(), _mm512_load_ps(filter + 16));
  return _mm512_mask3_fmadd_ps(group.Patch<kColumn, 0>(), _mm512_load_ps(filter), high, TapMask(kRow, 0));
}

// Of four pixels: lane i of each quarter is the sum of that quarter of pixel i.
BLADE_INLINE __m512 Quarters(__m512 a, __m512 b, __m512 c, __m512 d) {
  const __m512d ab = _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)));
  const __m512d cd = _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d)));
  return _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)), _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)));
}

template <int kRow, int kColumn>
BLADE_INLINE __m512 FourSums(const Group& group, const float* table, const uint32_t* offset) {
  return Quarters(Products<kRow, kColumn>(group, At(table, offset[kColumn])),
                  Products<kRow, kColumn + 1>(group, At(table, offset[kColumn + 1])),
                  Products<kRow, kColumn + 2>(group, At(table, offset[kColumn + 2])),
                  Products<kRow, kColumn + 3>(group, At(table, offset[kColumn + 3])));
}

BLADE_TARGET void Dot(const float* packed, const float* const* tables, const uint32_t* const* offsets, int64_t n,
                      float* const* out) {
  const float *table0 = tables[0], *table1 = tables[1];
  const uint32_t *offset0 = offsets[0], *offset1 = offsets[1];
  float *out0 = out[0], *out1 = out[1];
  for (int64_t x = 0; x < n; x += kGroup) {
    const Group group(packed + x * kPairRows);
    const __m512 a = FourSums<0, 0>(group, table0, offset0 + x), b = FourSums<0, 4>(group, table0, offset0 + x);
    const __m512 c = FourSums<1, 0>(group, table1, offset1 + x), d = FourSums<1, 4>(group, table1, offset1 + x);
    const __m512 ab = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xEE));
    const __m512 cd = _mm512_add_ps(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xEE));
    const __m512 sums = _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xDD));
    const __m256 sums0 = _mm512_castps512_ps256(sums), sums1 = _mm512_extractf32x8_ps(sums, 1);
    if (x + kGroup <= n) {
      _mm256_storeu_ps(out0 + x, sums0);
      _mm256_storeu_ps(out1 + x, sums1);
    } else {
      const __mmask8 mask = static_cast<__mmask8>((1u << (n - x)) - 1);
      _mm256_mask_storeu_ps(out0 + x, mask, sums0);
      _mm256_mask_storeu_ps(out1 + x, mask, sums1);
    }
  }
}

BLADE_TARGET void Update(const float* image, float dt, int64_t n, float* output) {
  const __m512 factor = _mm512_set1_ps(dt);
  int64_t x = 0;
  for (; x + kLanes <= n; x += kLanes) {
    const __m512 change = _mm512_mul_ps(factor, _mm512_loadu_ps(output + x));
    _mm512_storeu_ps(output + x, _mm512_add_ps(_mm512_loadu_ps(image + x), change));
  }
  for (; x < n; ++x) output[x] = image[x] + dt * output[x];
}

// Adds the filters of both rows at column kColumn, times their gradients, to the sums of a group.
template <int kColumn>
BLADE_INLINE void AddColumn(const float* filter0, const float* filter1, float grad0, float grad1, __m512* sums) {
  const __m512 g0 = _mm512_set1_ps(grad0), g1 = _mm512_set1_ps(grad1), zero = _mm512_setzero_ps();
  const __m512 low = _mm512_mask3_fmadd_ps(
      _mm512_load_ps(filter1), g1, _mm512_maskz_mul_ps(TapMask(0, 0), g0, _mm512_load_ps(filter0)), TapMask(1, 0));
  const __m512 high =
      _mm512_mask3_fmadd_ps(_mm512_load_ps(filter1 + 16), g1,
                            _mm512_maskz_mul_ps(TapMask(0, 1), g0, _mm512_load_ps(filter0 + 16)), TapMask(1, 1));
  constexpr int kFrom = 6 * kColumn / 16, kShift = 6 * kColumn % 16;
  if constexpr (kShift == 0) {
    sums[kFrom] = _mm512_add_ps(sums[kFrom], low);
    sums[kFrom + 1] = _mm512_add_ps(sums[kFrom + 1], high);
  } else {
    sums[kFrom] = _mm512_add_ps(sums[kFrom], Join<16 - kShift>(zero, low));
    sums[kFrom + 1] = _mm512_add_ps(sums[kFrom + 1], Join<16 - kShift>(low, high));
    // The last two of the 32 lanes are no taps.
    if constexpr (kShift > 2) sums[kFrom + 2] = _mm512_add_ps(sums[kFrom + 2], Join<16 - kShift>(high, zero));
  }
}

BLADE_TARGET void ScatterToPacked(const float* const* grad, const float* const* tables, const uint32_t* const* offsets,
                                  int64_t n, float* packed) {
  const float *table0 = tables[0], *table1 = tables[1], *grad0 = grad[0], *grad1 = grad[1];
  const uint32_t *offset0 = offsets[0], *offset1 = offsets[1];
  __m512 sums[5];
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  for (int64_t x = 0; x < n; x += kGroup) {
#define BLADE_COLUMN(i) \
  AddColumn<i>(At(table0, offset0[x + i]), At(table1, offset1[x + i]), grad0[x + i], grad1[x + i], sums)
    BLADE_COLUMN(0);
    BLADE_COLUMN(1);
    BLADE_COLUMN(2);
    BLADE_COLUMN(3);
    BLADE_COLUMN(4);
    BLADE_COLUMN(5);
    BLADE_COLUMN(6);
    BLADE_COLUMN(7);
#undef BLADE_COLUMN
    for (int64_t v = 0; v < kVectors; ++v) _mm512_store_ps(packed + x * kPairRows + v * kLanes, sums[v]);
    sums[0] = sums[3];
    sums[1] = sums[4];
    for (int64_t v = 2; v < 5; ++v) sums[v] = _mm512_setzero_ps();
  }
  float* rest = packed + (n + kGroup - 1) / kGroup * kGroup * kPairRows;
  for (int64_t v = 0; v < kVectors; ++v) _mm512_store_ps(rest + v * kLanes, sums[v]);
}

BLADE_INLINE void AddProducts(__m512 low, __m512 high, float g, float* filter) {
  const __m512 grad = _mm512_set1_ps(g);
  _mm512_store_ps(filter, _mm512_fmadd_ps(low, grad, _mm512_load_ps(filter)));
  _mm512_store_ps(filter + 16, _mm512_fmadd_ps(high, grad, _mm512_load_ps(filter + 16)));
}

// Adds the products of column kColumn of some groups.
template <int kRows, int kColumn, int kGroups>
BLADE_INLINE void ScatterColumn(const Group (&groups)[kGroups], const int64_t (&x)[kGroups], const float* const* grad,
                                const uint32_t* const* offsets, float* table0, float* table1) {
#pragma GCC unroll 8
  for (int i = 0; i < kGroups; ++i) {
    const __m512 low = groups[i].template Patch<kColumn, 0>(), high = groups[i].template Patch<kColumn, 1>();
    const int64_t at = x[i] + kColumn;
    if constexpr ((kRows & 1) != 0) AddProducts(low, high, grad[0][at], At(table0, offsets[0][at]));
    if constexpr ((kRows & 2) != 0) AddProducts(low, high, grad[1][at], At(table1, offsets[1][at]));
  }
}

// Adjacent pixels often have the same filter, and a load that follows a store to the same place waits for it: the
// columns of kGroups groups, far apart, take turns.
template <int kRows, int kGroups>
BLADE_INLINE void ScatterGroups(const float* packed, int64_t first, int64_t step, const float* const* grad,
                                const uint32_t* const* offsets, float* table0, float* table1) {
  int64_t x[kGroups];
  for (int i = 0; i < kGroups; ++i) x[i] = first + i * step;
  Group groups[kGroups];
  for (int i = 0; i < kGroups; ++i) groups[i] = Group(packed + x[i] * kPairRows);
  ScatterColumn<kRows, 0>(groups, x, grad, offsets, table0, table1);
  ScatterColumn<kRows, 1>(groups, x, grad, offsets, table0, table1);
  ScatterColumn<kRows, 2>(groups, x, grad, offsets, table0, table1);
  ScatterColumn<kRows, 3>(groups, x, grad, offsets, table0, table1);
  ScatterColumn<kRows, 4>(groups, x, grad, offsets, table0, table1);
  ScatterColumn<kRows, 5>(groups, x, grad, offsets, table0, table1);
  ScatterColumn<kRows, 6>(groups, x, grad, offsets, table0, table1);
  ScatterColumn<kRows, 7>(groups, x, grad, offsets, table0, table1);
}

template <int kRows>
BLADE_TARGET void ScatterRows(const float* packed, const float* const* grads, const uint32_t* const* offset, int64_t n,
                              int64_t k, float* tables) {
  float *table0 = tables, *table1 = tables + k * kPairStride;
  const float* const grad[] = {grads[0], grads[1]};
  const uint32_t* const offsets[] = {offset[0], offset[1]};
  constexpr int kGroups = 4;
  const int64_t step = n / (kGroups * kGroup) * kGroup;
  for (int64_t x = 0; x < step; x += kGroup)
    ScatterGroups<kRows, kGroups>(packed, x, step, grad, offsets, table0, table1);
  int64_t x = kGroups * step;
  for (; x + kGroup <= n; x += kGroup) ScatterGroups<kRows, 1>(packed, x, 0, grad, offsets, table0, table1);
  for (; x < n; ++x) {
    const __m512 low = _mm512_loadu_ps(packed + x * kPairRows), high = _mm512_loadu_ps(packed + x * kPairRows + 16);
    if constexpr ((kRows & 1) != 0) AddProducts(low, high, grad[0][x], At(table0, offsets[0][x]));
    if constexpr ((kRows & 2) != 0) AddProducts(low, high, grad[1][x], At(table1, offsets[1][x]));
  }
}

BLADE_TARGET void ScatterToTables(const float* packed, const float* const* grad, const uint32_t* const* offsets,
                                  int64_t n, int64_t k, float* tables) {
  if (grad[0] == nullptr) return ScatterRows<2>(packed, grad, offsets, n, k, tables);
  if (grad[1] == nullptr) return ScatterRows<1>(packed, grad, offsets, n, k, tables);
  ScatterRows<3>(packed, grad, offsets, n, k, tables);
}

BLADE_INLINE void AddTo(double* to, __m256 v) {
  _mm512_storeu_pd(to, _mm512_add_pd(_mm512_loadu_pd(to), _mm512_cvtps_pd(v)));
}

BLADE_TARGET void MoveToTotals(int64_t k, float* tables, double* totals) {
  for (int64_t row = 0; row < 2; ++row) {
    for (int64_t i = 0; i < k; ++i) {
      float* table = tables + (row * k + i) * kPairStride;
      double* total = totals + i * kPairStride;
      // In the second table all taps are one place further on; the last places hold none.
      const __m512 low = _mm512_load_ps(table), high = _mm512_load_ps(table + 16);
      const __m512 first = row == 0 ? low : Join<1>(low, high), last = row == 0 ? high : Join<1>(high, high);
      AddTo(total, _mm512_castps512_ps256(first));
      AddTo(total + 8, _mm512_extractf32x8_ps(first, 1));
      AddTo(total + 16, _mm512_castps512_ps256(last));
      AddTo(total + 24, _mm512_extractf32x8_ps(last, 1));
      _mm512_store_ps(table, _mm512_setzero_ps());
      _mm512_store_ps(table + 16, _mm512_setzero_ps());
    }
  }
}

}  // namespace

const PairKernels<float> kAvx512Pair = {
    Offsets<int32_t>, Offsets<uint8_t>, Pack,        UnpackAdd, Dot, DotThreeAvx512, Update,
    ScatterToPacked,  ScatterToTables,  MoveToTotals};

}  // namespace blade

#endif  // BLADE_X86
