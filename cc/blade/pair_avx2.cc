#include "cc/blade/simd.h"

#ifdef BLADE_X86

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "cc/blade/pair_kernels.h"

#define BLADE_TARGET __attribute__((target("avx2,fma")))
#define BLADE_INLINE inline BLADE_TARGET __attribute__((always_inline))

namespace blade {
namespace {

constexpr int64_t kLanes = 8;
constexpr int64_t kGroup = 4;    // columns whose 24 packed values are whole vectors
constexpr int64_t kVectors = 3;  // in a group
constexpr int kQuarters = 4;     // vectors of a filter

// The lanes of quarter `quarter` of a footprint's 32 values that are no taps of row `row`.
constexpr int GapMask(int row, int quarter) {
  int mask = 0;
  for (int lane = 0; lane < 8; ++lane) {
    const int t = 8 * quarter + lane;
    if (t >= 30 || t % 6 == (row == 0 ? 5 : 0)) mask |= 1 << lane;
  }
  return mask;
}

template <int kMask>
BLADE_INLINE __m256 Clear(__m256 v) {
  return _mm256_blend_ps(v, _mm256_setzero_ps(), kMask);
}

// The first n lanes, up to all of them.
BLADE_INLINE __m256i FirstLanes(int64_t n) {
  static const int32_t kMasks[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kMasks + kLanes - std::min(n, kLanes)));
}

BLADE_INLINE __m256i LoadSelection(const int32_t* selection, int64_t, __m256i mask) {
  return _mm256_maskload_epi32(selection, mask);
}
BLADE_INLINE __m256i LoadSelection(const uint8_t* selection, int64_t n, __m256i) {
  uint64_t bytes = 0;
  if (n >= kLanes) {
    std::memcpy(&bytes, selection, sizeof(bytes));
  } else {
    for (int64_t i = 0; i < n; ++i) bytes |= static_cast<uint64_t>(selection[i]) << (8 * i);
  }
  return _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<int64_t>(bytes)));
}

template <typename S>
BLADE_TARGET bool Offsets(const S* selection, int64_t n, int64_t k, uint32_t* offsets) {
  // A value is outside where it, or its distance from the last valid one, is negative.
  const __m256i last = _mm256_set1_epi32(static_cast<int32_t>(k - 1));
  const __m256i none = _mm256_set1_epi32(static_cast<int32_t>(k));
  __m256i outside = _mm256_setzero_si256();
  for (int64_t x = 0; x < n; x += kLanes) {
    const __m256i mask = FirstLanes(n - x);
    __m256i value = LoadSelection(selection + x, n - x, mask);
    const __m256i wrong = _mm256_or_si256(value, _mm256_sub_epi32(last, value));
    outside = _mm256_or_si256(outside, _mm256_and_si256(mask, wrong));
    value = _mm256_blendv_epi8(none, value, mask);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(offsets + x), _mm256_slli_epi32(value, 7));
  }
  static_assert(kPairStride * sizeof(float) == 1 << 7);
  return _mm256_movemask_ps(_mm256_castsi256_ps(outside)) == 0;
}

BLADE_INLINE __m256d Twos(__m256 v) { return _mm256_castps_pd(v); }

// Value p of column x of the packed vectors, in twos, is pair p of rows; `low` has columns 0, 1, 4 and 5 of a pair,
// `high` 2, 3, 6 and 7.
BLADE_INLINE void Interleave(const __m256* row, float* packed) {
  __m256d low[3], high[3];
  for (int p = 0; p < 3; ++p) {
    low[p] = Twos(_mm256_unpacklo_ps(row[2 * p], row[2 * p + 1]));
    high[p] = Twos(_mm256_unpackhi_ps(row[2 * p], row[2 * p + 1]));
  }
  // Halves of packed vectors, in the low lanes of the first three, in the high lanes of the others.
  const __m256d halves[6] = {_mm256_unpacklo_pd(low[0], low[1]),       _mm256_shuffle_pd(low[2], low[0], 0xA),
                             _mm256_unpackhi_pd(low[1], low[2]),       _mm256_unpacklo_pd(high[0], high[1]),
                             _mm256_shuffle_pd(high[2], high[0], 0xA), _mm256_unpackhi_pd(high[1], high[2])};
  for (int v = 0; v < 3; ++v) {
    const __m256 a = _mm256_castpd_ps(halves[2 * v]), b = _mm256_castpd_ps(halves[2 * v + 1]);
    _mm256_store_ps(packed + v * kLanes, _mm256_permute2f128_ps(a, b, 0x20));
    _mm256_store_ps(packed + (v + 3) * kLanes, _mm256_permute2f128_ps(a, b, 0x31));
  }
}

// The inverse.
BLADE_INLINE void Deinterleave(const float* packed, __m256* row) {
  __m256d halves[6];
  for (int v = 0; v < 3; ++v) {
    const __m256d a = Twos(_mm256_load_ps(packed + v * kLanes)), b = Twos(_mm256_load_ps(packed + (v + 3) * kLanes));
    halves[2 * v] = _mm256_permute2f128_pd(a, b, 0x20);
    halves[2 * v + 1] = _mm256_permute2f128_pd(a, b, 0x31);
  }
  const __m256d low[3] = {_mm256_shuffle_pd(halves[0], halves[1], 0xA), _mm256_shuffle_pd(halves[0], halves[2], 0x5),
                          _mm256_shuffle_pd(halves[1], halves[2], 0xA)};
  const __m256d high[3] = {_mm256_shuffle_pd(halves[3], halves[4], 0xA), _mm256_shuffle_pd(halves[3], halves[5], 0x5),
                           _mm256_shuffle_pd(halves[4], halves[5], 0xA)};
  for (int p = 0; p < 3; ++p) {
    const __m256 a = _mm256_castpd_ps(low[p]), b = _mm256_castpd_ps(high[p]);
    row[2 * p] = _mm256_shuffle_ps(a, b, 0x88);
    row[2 * p + 1] = _mm256_shuffle_ps(a, b, 0xDD);
  }
}

BLADE_TARGET void Pack(const float* const* rows, int64_t first, int64_t n, int64_t width, float* packed) {
  for (int64_t x = 0; x < n; x += kLanes, packed += kPairRows * kLanes) {
    __m256 row[kPairRows];
    const int64_t from = first + x;
    if (from >= 0 && from + kLanes <= width) {
      for (int64_t i = 0; i < kPairRows; ++i) row[i] = _mm256_loadu_ps(rows[i] + from);
    } else {
      const int64_t base = std::max<int64_t>(std::min(from, width - kLanes), 0);
      const __m256i mask = FirstLanes(width), lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
      __m256i index = _mm256_add_epi32(lanes, _mm256_set1_epi32(static_cast<int32_t>(from - base)));
      index = _mm256_max_epi32(_mm256_setzero_si256(), index);
      index = _mm256_min_epi32(_mm256_set1_epi32(static_cast<int32_t>(width - 1 - base)), index);
      for (int64_t i = 0; i < kPairRows; ++i)
        row[i] = _mm256_permutevar8x32_ps(_mm256_maskload_ps(rows[i] + base, mask), index);
    }
    Interleave(row, packed);
  }
}

BLADE_TARGET void UnpackAdd(const float* packed, int64_t n, float* const* rows) {
  for (int64_t x = 0; x < n; x += kLanes, packed += kPairRows * kLanes) {
    __m256 row[kPairRows];
    Deinterleave(packed, row);
    if (x + kLanes <= n) {
      for (int64_t i = 0; i < kPairRows; ++i)
        _mm256_storeu_ps(rows[i] + x, _mm256_add_ps(_mm256_loadu_ps(rows[i] + x), row[i]));
    } else {
      const __m256i mask = FirstLanes(n - x);
      for (int64_t i = 0; i < kPairRows; ++i)
        _mm256_maskstore_ps(rows[i] + x, mask, _mm256_add_ps(_mm256_maskload_ps(rows[i] + x, mask), row[i]));
    }
  }
}

// Lanes kShift .. of a, then the first ones of b.
template <int kShift>
BLADE_INLINE __m256 Join(__m256 a, __m256 b) {
  static_assert(kShift % 2 == 0);
  if constexpr (kShift == 0) return a;
  const __m256 middle = _mm256_permute2f128_ps(a, b, 0x21);
  if constexpr (kShift == 2) return _mm256_shuffle_ps(a, middle, 0x4E);
  if constexpr (kShift == 4) return middle;
  return _mm256_shuffle_ps(middle, b, 0x4E);
}

BLADE_INLINE const float* At(const float* table, uint32_t offset) {
  return reinterpret_cast<const float*>(reinterpret_cast<const char*>(table) + offset);
}
BLADE_INLINE float* At(float* table, uint32_t offset) {
  return reinterpret_cast<float*>(reinterpret_cast<char*>(table) + offset);
}

// The packed values of a group of columns and of those to its right.
struct Group {
  __m256 v[7];
  BLADE_INLINE explicit Group(const float* packed) {
    for (int i = 0; i < 7; ++i) v[i] = _mm256_load_ps(packed + i * kLanes);
  }
  // Quarter `kQuarter` of the 32 values from column kColumn on.
  template <int kColumn, int kQuarter>
  BLADE_INLINE __m256 Patch() const {
    constexpr int kFrom = 6 * kColumn / 8 + kQuarter;
    return Join<6 * kColumn % 8>(v[kFrom], v[kFrom + 1 < 7 ? kFrom + 1 : kFrom]);
  }
};

template <int kRow, int kColumn>
BLADE_INLINE __m256 Products(const Group& group, const float* filter) {
  const __m256 a = Clear<GapMask(kRow, 0)>(group.Patch<kColumn, 0>());
  const __m256 b = Clear<GapMask(kRow, 1)>(group.Patch<kColumn, 1>());
  const __m256 c = Clear<GapMask(kRow, 2)>(group.Patch<kColumn, 2>());
  const __m256 d = Clear<GapMask(kRow, 3)>(group.Patch<kColumn, 3>());
  __m256 sum = _mm256_mul_ps(a, _mm256_load_ps(filter));
  sum = _mm256_fmadd_ps(b, _mm256_load_ps(filter + 8), sum);
  sum = _mm256_fmadd_ps(c, _mm256_load_ps(filter + 16), sum);
  return _mm256_fmadd_ps(d, _mm256_load_ps(filter + 24), sum);
}

BLADE_INLINE __m256 Pairs(__m256 a, __m256 b) {
  return _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
}

// Of four pixels: lane i of each half is the sum of that half of pixel i.
BLADE_INLINE __m256 Halves(__m256 ab, __m256 cd) {
  return _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(Twos(ab), Twos(cd))),
                       _mm256_castpd_ps(_mm256_unpackhi_pd(Twos(ab), Twos(cd))));
}

// Of the group's pixels in both rows.
BLADE_INLINE void FourSums(const float* packed, const float* table0, const float* table1, const uint32_t* offset0,
                           const uint32_t* offset1, __m256* sums0, __m256* sums1) {
  const Group group(packed);
  const __m256 a0 = Products<0, 0>(group, At(table0, offset0[0])), a1 = Products<1, 0>(group, At(table1, offset1[0]));
  const __m256 b0 = Products<0, 1>(group, At(table0, offset0[1])), b1 = Products<1, 1>(group, At(table1, offset1[1]));
  const __m256 ab0 = Pairs(a0, b0), ab1 = Pairs(a1, b1);
  const __m256 c0 = Products<0, 2>(group, At(table0, offset0[2])), c1 = Products<1, 2>(group, At(table1, offset1[2]));
  const __m256 d0 = Products<0, 3>(group, At(table0, offset0[3])), d1 = Products<1, 3>(group, At(table1, offset1[3]));
  *sums0 = Halves(ab0, Pairs(c0, d0));
  *sums1 = Halves(ab1, Pairs(c1, d1));
}

BLADE_INLINE void StoreSums(__m256 a, __m256 b, int64_t n, float* out) {
  const __m256 sums = _mm256_add_ps(_mm256_blend_ps(a, b, 0xF0), _mm256_permute2f128_ps(a, b, 0x21));
  if (n >= kLanes) {
    _mm256_storeu_ps(out, sums);
  } else {
    _mm256_maskstore_ps(out, FirstLanes(n), sums);
  }
}

BLADE_TARGET void Dot(const float* packed, const float* const* tables, const uint32_t* const* offsets, int64_t n,
                      float* const* out) {
  const float *table0 = tables[0], *table1 = tables[1];
  const uint32_t *offset0 = offsets[0], *offset1 = offsets[1];
  float *out0 = out[0], *out1 = out[1];
  for (int64_t x = 0; x < n; x += kLanes, packed += kPairRows * kLanes) {
    __m256 a0, a1, b0, b1;
    FourSums(packed, table0, table1, offset0 + x, offset1 + x, &a0, &a1);
    FourSums(packed + kVectors * kLanes, table0, table1, offset0 + x + kGroup, offset1 + x + kGroup, &b0, &b1);
    StoreSums(a0, b0, n - x, out0 + x);
    StoreSums(a1, b1, n - x, out1 + x);
  }
}

BLADE_TARGET void Update(const float* image, float dt, int64_t n, float* output) {
  const __m256 factor = _mm256_set1_ps(dt);
  int64_t x = 0;
  for (; x + kLanes <= n; x += kLanes) {
    const __m256 change = _mm256_mul_ps(factor, _mm256_loadu_ps(output + x));
    _mm256_storeu_ps(output + x, _mm256_add_ps(_mm256_loadu_ps(image + x), change));
  }
  for (; x < n; ++x) output[x] = image[x] + dt * output[x];
}

// Quarter kQuarter of the filters of both rows at a column, times their gradients. The last two of the 32 lanes are no
// taps; anything may be there.
template <int kQuarter>
BLADE_INLINE __m256 BothProducts(const float* filter0, const float* filter1, __m256 g0, __m256 g1) {
  constexpr int kGaps0 = GapMask(0, kQuarter % 3), kGaps1 = GapMask(1, kQuarter % 3);
  const __m256 product = _mm256_mul_ps(_mm256_load_ps(filter0 + 8 * kQuarter), Clear<kGaps0>(g0));
  return _mm256_fmadd_ps(_mm256_load_ps(filter1 + 8 * kQuarter), Clear<kGaps1>(g1), product);
}

BLADE_TARGET void ScatterToPacked(const float* const* grad, const float* const* tables, const uint32_t* const* offsets,
                                  int64_t n, float* packed) {
  const float *table0 = tables[0], *table1 = tables[1], *grad0 = grad[0], *grad1 = grad[1];
  const uint32_t *offset0 = offsets[0], *offset1 = offsets[1];
  // Of the next columns, six lanes each; what is in the other two is overwritten by the column after it.
  __m256 sum0 = _mm256_setzero_ps(), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  for (int64_t x = 0; x < n; ++x, packed += kPairRows) {
    const float *filter0 = At(table0, offset0[x]), *filter1 = At(table1, offset1[x]);
    const __m256 g0 = _mm256_broadcast_ss(grad0 + x), g1 = _mm256_broadcast_ss(grad1 + x);
    const __m256 a = BothProducts<0>(filter0, filter1, g0, g1), b = BothProducts<1>(filter0, filter1, g0, g1);
    const __m256 c = BothProducts<2>(filter0, filter1, g0, g1), d = BothProducts<3>(filter0, filter1, g0, g1);
    _mm256_storeu_ps(packed, _mm256_add_ps(sum0, a));
    sum0 = _mm256_add_ps(sum1, Join<6>(a, b));
    sum1 = _mm256_add_ps(sum2, Join<4>(b, c));
    sum2 = _mm256_add_ps(sum3, Join<2>(c, d));
    sum3 = d;
  }
  _mm256_storeu_ps(packed, sum0);
  _mm256_storeu_ps(packed + kPairRows, sum1);
  _mm256_storeu_ps(packed + 2 * kPairRows, sum2);
  _mm256_storeu_ps(packed + 3 * kPairRows, sum3);
}

BLADE_INLINE void AddProducts(const __m256 (&patch)[kQuarters], float g, float* filter) {
  const __m256 grad = _mm256_set1_ps(g);
  for (int i = 0; i < kQuarters; ++i) {
    float* to = filter + i * kLanes;
    _mm256_store_ps(to, _mm256_fmadd_ps(patch[i], grad, _mm256_load_ps(to)));
  }
}

template <int kRows>
struct Scatter {
  const float *packed, *grad0, *grad1;
  const uint32_t *offset0, *offset1;
  float *table0, *table1;

  BLADE_INLINE void Column(int64_t x, const __m256 (&patch)[kQuarters]) const {
    if constexpr ((kRows & 1) != 0) AddProducts(patch, grad0[x], At(table0, offset0[x]));
    if constexpr ((kRows & 2) != 0) AddProducts(patch, grad1[x], At(table1, offset1[x]));
  }
  template <int kColumn>
  BLADE_INLINE void ColumnOf(const Group& group, int64_t x) const {
    Column(x + kColumn, {group.Patch<kColumn, 0>(), group.Patch<kColumn, 1>(), group.Patch<kColumn, 2>(),
                         group.Patch<kColumn, 3>()});
  }
  BLADE_INLINE void Columns(int64_t x) const {
    const Group group(packed + x * kPairRows);
    ColumnOf<0>(group, x);
    ColumnOf<1>(group, x);
    ColumnOf<2>(group, x);
    ColumnOf<3>(group, x);
  }
  BLADE_INLINE void Single(int64_t x) const {
    const float* from = packed + x * kPairRows;
    Column(x,
           {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8), _mm256_loadu_ps(from + 16), _mm256_loadu_ps(from + 24)});
  }
};

template <int kRows>
BLADE_TARGET void ScatterRows(const float* packed, const float* const* grad, const uint32_t* const* offsets, int64_t n,
                              int64_t k, float* tables) {
  const Scatter<kRows> scatter = {packed, grad[0], grad[1], offsets[0], offsets[1], tables, tables + k * kPairStride};
  // Adjacent pixels often have the same filter, and a load that follows a store to the same place waits for it: groups
  // that are far apart take turns.
  const int64_t step = n / (2 * kGroup) * kGroup;
  for (int64_t x = 0; x < step; x += kGroup) {
    scatter.Columns(x);
    scatter.Columns(x + step);
  }
  int64_t x = 2 * step;
  for (; x + kGroup <= n; x += kGroup) scatter.Columns(x);
  for (; x < n; ++x) scatter.Single(x);
}

BLADE_TARGET void ScatterToTables(const float* packed, const float* const* grad, const uint32_t* const* offsets,
                                  int64_t n, int64_t k, float* tables) {
  if (grad[0] == nullptr) return ScatterRows<2>(packed, grad, offsets, n, k, tables);
  if (grad[1] == nullptr) return ScatterRows<1>(packed, grad, offsets, n, k, tables);
  ScatterRows<3>(packed, grad, offsets, n, k, tables);
}

BLADE_INLINE void AddTo(double* to, __m128 v) {
  _mm256_storeu_pd(to, _mm256_add_pd(_mm256_loadu_pd(to), _mm256_cvtps_pd(v)));
}

BLADE_TARGET void MoveToTotals(int64_t k, float* tables, double* totals) {
  for (int64_t row = 0; row < 2; ++row) {
    for (int64_t i = 0; i < k; ++i) {
      float* table = tables + (row * k + i) * kPairStride;
      double* total = totals + i * kPairStride;
      // In the second table all taps are one place further on; the last places hold none.
      for (int64_t t = 0; t < 28; t += 4) AddTo(total + t, _mm_loadu_ps(table + row + t));
      total[28] += static_cast<double>(table[row + 28]);
      for (int64_t t = 0; t < kPairStride; t += kLanes) _mm256_store_ps(table + t, _mm256_setzero_ps());
    }
  }
}

}  // namespace

const PairKernels<float> kAvx2Pair = {Offsets<int32_t>, Offsets<uint8_t>, Pack,        UnpackAdd, Dot, nullptr, Update,
                                      ScatterToPacked,  ScatterToTables,  MoveToTotals};

}  // namespace blade

#endif  // BLADE_X86
