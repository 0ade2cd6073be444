#include "cc/blade/three.h"

#include "cc/blade/simd.h"

#ifdef BLADE_X86
// GCC 12 warns about its own header (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#endif

namespace blade {
namespace {

#define BLADE_INLINE inline __attribute__((always_inline))

BLADE_INLINE void Split(const float* __restrict row, int64_t n, float* __restrict a, float* __restrict b,
                        float* __restrict c) {
  for (int64_t x = 0; x < n; ++x) {
    a[x] = row[3 * x];
    b[x] = row[3 * x + 1];
    c[x] = row[3 * x + 2];
  }
}

BLADE_INLINE void Join(const float* __restrict a, const float* __restrict b, const float* __restrict c, int64_t n,
                       float* __restrict row) {
  for (int64_t x = 0; x < n; ++x) {
    row[3 * x] = a[x];
    row[3 * x + 1] = b[x];
    row[3 * x + 2] = c[x];
  }
}

// The same loops, each compiled for its level.
struct Copies {
  void (*split)(const float* row, int64_t n, float* a, float* b, float* c);
  void (*join)(const float* a, const float* b, const float* c, int64_t n, float* row);
};

#define BLADE_COPIES(Level, Target)                                                                               \
  Target void Split##Level(const float* row, int64_t n, float* a, float* b, float* c) { Split(row, n, a, b, c); } \
  Target void Join##Level(const float* a, const float* b, const float* c, int64_t n, float* row) {                \
    Join(a, b, c, n, row);                                                                                        \
  }
BLADE_COPIES(Portable, )
#ifdef BLADE_X86
BLADE_COPIES(Avx2, __attribute__((target("avx2"))))

#define BLADE_TARGET __attribute__((target("avx512f")))

// Between 16 pixels of three channels and three vectors of one channel. Of channel c, pixel i is value 3 i + c of the
// pixels, in vector (3 i + c) / 16: which is `third` where from_third is set, and one of the first two elsewhere.
struct Permutations {
  int32_t two[3][16], third[3][16];  // of channel c
  __mmask16 from_third[3];
  int32_t channels[3][16], last[3][16];  // of vector v of pixels: from the first two channels, from the last
  __mmask16 from_last[3];

  constexpr Permutations() : two(), third(), from_third(), channels(), last(), from_last() {
    for (int c = 0; c < 3; ++c) {
      for (int i = 0; i < 16; ++i) {
        const int value = 3 * i + c, v = value / 16, lane = value % 16;
        two[c][i] = v < 2 ? value : 0;
        third[c][i] = lane;
        if (v == 2) from_third[c] = static_cast<__mmask16>(from_third[c] | 1u << i);
        channels[v][lane] = i + (c == 1 ? 16 : 0);
        last[v][lane] = i;
        if (c == 2) from_last[v] = static_cast<__mmask16>(from_last[v] | 1u << lane);
      }
    }
  }
};
constexpr Permutations kPermutations;

BLADE_TARGET inline __m512 Take(__m512 a, __m512 b, __m512 c, const int32_t* of_two, const int32_t* of_last,
                                __mmask16 from_last) {
  const __m512 two = _mm512_permutex2var_ps(a, _mm512_loadu_si512(of_two), b);
  return _mm512_mask_permutexvar_ps(two, from_last, _mm512_loadu_si512(of_last), c);
}

BLADE_TARGET void SplitAvx512(const float* row, int64_t n, float* a, float* b, float* c) {
  const Permutations& p = kPermutations;
  float* const planes[] = {a, b, c};
  int64_t x = 0;
  for (; x + 16 <= n; x += 16) {
    const float* from = row + 3 * x;
    const __m512 v0 = _mm512_loadu_ps(from), v1 = _mm512_loadu_ps(from + 16), v2 = _mm512_loadu_ps(from + 32);
    for (int i = 0; i < 3; ++i)
      _mm512_storeu_ps(planes[i] + x, Take(v0, v1, v2, p.two[i], p.third[i], p.from_third[i]));
  }
  Split(row + 3 * x, n - x, a + x, b + x, c + x);
}

BLADE_TARGET void JoinAvx512(const float* a, const float* b, const float* c, int64_t n, float* row) {
  const Permutations& p = kPermutations;
  int64_t x = 0;
  for (; x + 16 <= n; x += 16) {
    const __m512 v0 = _mm512_loadu_ps(a + x), v1 = _mm512_loadu_ps(b + x), v2 = _mm512_loadu_ps(c + x);
    for (int i = 0; i < 3; ++i)
      _mm512_storeu_ps(row + 3 * x + 16 * i, Take(v0, v1, v2, p.channels[i], p.last[i], p.from_last[i]));
  }
  Join(a + x, b + x, c + x, n - x, row + 3 * x);
}
#endif
#undef BLADE_COPIES

Copies Choose() {
#ifdef BLADE_X86
  if (ProcessorHas(SimdLevel::kAvx512)) return {SplitAvx512, JoinAvx512};
  if (ProcessorHas(SimdLevel::kAvx2)) return {SplitAvx2, JoinAvx2};
#endif
  return {SplitPortable, JoinPortable};
}

const Copies& Best() {
  static const Copies best = Choose();
  return best;
}

}  // namespace

void SplitThree(const float* row, int64_t n, int64_t plane, float* planes) {
  Best().split(row, n, planes, planes + plane, planes + 2 * plane);
}

void JoinThree(const float* planes, int64_t plane, int64_t n, float* row) {
  Best().join(planes, planes + plane, planes + 2 * plane, n, row);
}

}  // namespace blade
