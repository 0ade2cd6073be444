#include "cc/blade/simd.h"

#ifdef BLADE_X86

// GCC 12 warns about its own header (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#include "cc/blade/pair_kernels.h"

#define BLADE_TARGET __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl")))
#define BLADE_INLINE inline BLADE_TARGET __attribute__((always_inline))

// A footprint's row of three channels is 15 values, one vector whose last lane is no tap: it is never read.

namespace blade {
namespace {

constexpr int64_t kLanes = 16;
constexpr int64_t kGroup = 8;    // columns at a time
constexpr int64_t kBatch = 4;    // columns whose sums are one vector of 12
constexpr int64_t kPixels = 16;  // of a row that a group reads, three vectors
constexpr int kTaps = 5;

// Which lanes a permutation takes, 16 + lane of its second operand. "Triple" s is lanes 3 s .. 3 s + 2: tap s of the
// three channels.
struct Permutations {
  int32_t taps[kTaps][16];  // of a table's vector: tap s of row r for each channel
  int32_t low[16];          // of pixels a, b: triples a0 a1 b0 b1 a4
  int32_t high[16];         // a2 a3 b2 b3 b4
  int32_t last[16];         // of those two: a4 b4
  int32_t first[16];        // of two sums low + high: a0 + a2, b0 + b2, c0 + c2, d0 + d2
  int32_t second[16];       // a1 + a3, b1 + b3, ...
  int32_t lasts[16];        // of two `last`: a4 b4 c4 d4

  constexpr Permutations() : taps(), low(), high(), last(), first(), second(), lasts() {
    constexpr int kLow[] = {0, 1, 16, 17, 4}, kHigh[] = {2, 3, 18, 19, 20}, kLast[] = {4, 20, 4, 4, 4};
    constexpr int kFirst[] = {0, 2, 16, 18, 0}, kSecond[] = {1, 3, 17, 19, 1}, kLasts[] = {0, 1, 16, 17, 0};
    for (int lane = 0; lane < 16; ++lane) {
      const int triple = std::min(lane / 3, 4), channel = lane % 3;
      for (int r = 0; r < kTaps; ++r) taps[r][lane] = static_cast<int32_t>(ThreeTap(r, triple) % kLanes);
      low[lane] = Lane(kLow[triple], channel);
      high[lane] = Lane(kHigh[triple], channel);
      last[lane] = Lane(kLast[triple], channel);
      first[lane] = Lane(kFirst[triple], channel);
      second[lane] = Lane(kSecond[triple], channel);
      lasts[lane] = Lane(kLasts[triple], channel);
    }
  }

 private:
  // Of triple `triple`, or of triple - 16 of the second operand.
  static constexpr int32_t Lane(int triple, int channel) { return triple / 16 * 16 + triple % 16 * 3 + channel; }
};
constexpr Permutations kPermutations;

// The same in registers.
struct Indices {
  __m512i taps[kTaps], low, high, last, first, second, lasts;
  BLADE_INLINE Indices() {
    for (int r = 0; r < kTaps; ++r) taps[r] = _mm512_loadu_si512(kPermutations.taps[r]);
    low = _mm512_loadu_si512(kPermutations.low);
    high = _mm512_loadu_si512(kPermutations.high);
    last = _mm512_loadu_si512(kPermutations.last);
    first = _mm512_loadu_si512(kPermutations.first);
    second = _mm512_loadu_si512(kPermutations.second);
    lasts = _mm512_loadu_si512(kPermutations.lasts);
  }
};

// Two successive vectors of each row.
struct Window {
  __m512 v[kPairRows][2];
};

template <int kShift>
BLADE_INLINE __m512 Join(__m512 a, __m512 b) {
  if constexpr (kShift == 0) return a;
  return _mm512_castsi512_ps(_mm512_alignr_epi32(_mm512_castps_si512(b), _mm512_castps_si512(a), kShift));
}

// Triple s is the sum over the rows of the products of tap s.
BLADE_INLINE __m512 Products(const __m512* rows, const float* table, uint32_t offset, const Indices& indices) {
  const float* filter = reinterpret_cast<const float*>(reinterpret_cast<const char*>(table) + offset);
  const __m512 upper = _mm512_load_ps(filter), lower = _mm512_load_ps(filter + kLanes);
  __m512 sum = _mm512_mul_ps(rows[0], _mm512_permutexvar_ps(indices.taps[0], upper));
  sum = _mm512_fmadd_ps(rows[1], _mm512_permutexvar_ps(indices.taps[1], upper), sum);
  sum = _mm512_fmadd_ps(rows[2], _mm512_permutexvar_ps(indices.taps[2], upper), sum);
  sum = _mm512_fmadd_ps(rows[3], _mm512_permutexvar_ps(indices.taps[3], lower), sum);
  return _mm512_fmadd_ps(rows[4], _mm512_permutexvar_ps(indices.taps[4], lower), sum);
}

// Of column kColumn of a group.
template <int kColumn>
BLADE_INLINE void Column(const Window& window, const float* table, const uint32_t* const* offsets,
                         const Indices& indices, __m512 (&products)[2][kBatch]) {
  __m512 rows[kPairRows];
  for (int i = 0; i < kPairRows; ++i) rows[i] = Join<3 * kColumn % kLanes>(window.v[i][0], window.v[i][1]);
  for (int j = 0; j < 2; ++j) products[j][kColumn % kBatch] = Products(rows + j, table, offsets[j][kColumn], indices);
}

// The sums over the taps of four pixels.
BLADE_INLINE __m512 Sums(const __m512 (&p)[kBatch], const Indices& indices) {
  __m512 sums[2], last[2];
  for (int i = 0; i < 2; ++i) {
    const __m512 low = _mm512_permutex2var_ps(p[2 * i], indices.low, p[2 * i + 1]);
    const __m512 high = _mm512_permutex2var_ps(p[2 * i], indices.high, p[2 * i + 1]);
    sums[i] = _mm512_add_ps(low, high);
    last[i] = _mm512_permutex2var_ps(low, indices.last, high);
  }
  const __m512 first = _mm512_permutex2var_ps(sums[0], indices.first, sums[1]);
  const __m512 second = _mm512_permutex2var_ps(sums[0], indices.second, sums[1]);
  return _mm512_add_ps(_mm512_add_ps(first, second), _mm512_permutex2var_ps(last[0], indices.lasts, last[1]));
}

// Lanes of `n` pixels, at most kBatch.
BLADE_INLINE __mmask16 Pixels(int64_t n) {
  return static_cast<__mmask16>((1u << 3 * std::clamp<int64_t>(n, 0, kBatch)) - 1);
}

// kPixels pixels of each row from pixel `first` on, clamped to [0, width).
void CopyClamped(const float* const* rows, int64_t first, int64_t width, float (&copies)[kPairRows][3 * kPixels]) {
  for (int64_t i = 0; i < kPairRows; ++i) {
    for (int64_t x = 0; x < kPixels; ++x)
      std::copy_n(rows[i] + 3 * std::clamp<int64_t>(first + x, 0, width - 1), 3, copies[i] + 3 * x);
  }
}

}  // namespace

BLADE_TARGET void DotThreeAvx512(const float* const* rows, int64_t first, int64_t n, int64_t width, const float* table,
                                 const uint32_t* const* offsets, float* const* out) {
  const Indices indices;
  alignas(64) float copies[kPairRows][3 * kPixels];
  for (int64_t x = 0; x < n; x += kGroup) {
    const int64_t left = first + x;
    const float* from[kPairRows];
    if (left >= 0 && left + kPixels <= width) {
      for (int64_t i = 0; i < kPairRows; ++i) from[i] = rows[i] + 3 * left;
    } else {
      CopyClamped(rows, left, width, copies);
      for (int64_t i = 0; i < kPairRows; ++i) from[i] = copies[i];
    }
    const uint32_t* const offset[] = {offsets[0] + x, offsets[1] + x};
    Window window;
    __m512 products[2][kBatch];
    for (int i = 0; i < kPairRows; ++i) {
      window.v[i][0] = _mm512_loadu_ps(from[i]);
      window.v[i][1] = _mm512_loadu_ps(from[i] + kLanes);
    }
    Column<0>(window, table, offset, indices, products);
    Column<1>(window, table, offset, indices, products);
    Column<2>(window, table, offset, indices, products);
    Column<3>(window, table, offset, indices, products);
    for (int j = 0; j < 2; ++j) _mm512_mask_storeu_ps(out[j] + 3 * x, Pixels(n - x), Sums(products[j], indices));
    Column<4>(window, table, offset, indices, products);
    Column<5>(window, table, offset, indices, products);
    for (int i = 0; i < kPairRows; ++i) {
      window.v[i][0] = window.v[i][1];
      window.v[i][1] = _mm512_loadu_ps(from[i] + 2 * kLanes);
    }
    Column<6>(window, table, offset, indices, products);
    Column<7>(window, table, offset, indices, products);
    const int64_t rest = x + kBatch;
    for (int j = 0; j < 2; ++j) _mm512_mask_storeu_ps(out[j] + 3 * rest, Pixels(n - rest), Sums(products[j], indices));
  }
}

}  // namespace blade

#endif  // BLADE_X86
