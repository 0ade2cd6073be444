// The level that a source file is for: BLADE_AVX512 or BLADE_AVX2 where the file defines it, else the portable one. No
// include guard: *_vector.h include it, one of them a source file. -ffp-contract=off keeps the levels equal, bit for
// bit, wherever the files do not ask for fused operations themselves.

#include "cc/blade/simd.h"

#if defined(BLADE_AVX512) || defined(BLADE_AVX2)
// GCC 12 warns about its own header (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#endif

#if defined(BLADE_AVX512) && defined(__clang__)
#define BLADE_TARGET __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl")))
#elif defined(BLADE_AVX512)
#define BLADE_TARGET __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,prefer-vector-width=512")))
#elif defined(BLADE_AVX2)
#define BLADE_TARGET __attribute__((target("avx2,fma")))
#else
#define BLADE_TARGET
#endif
#define BLADE_INLINE inline BLADE_TARGET __attribute__((always_inline))

// What this level's inner loops are.
#define BLADE_DEFINE_KERNELS(Kernels, kernels)  \
  template <>                                   \
  const Kernels& KernelsOf<Kernels, kLevel>() { \
    return kernels;                             \
  }

namespace blade {
namespace {

#if defined(BLADE_AVX512)
constexpr SimdLevel kLevel = SimdLevel::kAvx512;
constexpr int kVectorBytes = 64;
#elif defined(BLADE_AVX2)
constexpr SimdLevel kLevel = SimdLevel::kAvx2;
constexpr int kVectorBytes = 32;
#else
constexpr SimdLevel kLevel = SimdLevel::kPortable;
constexpr int kVectorBytes = 16;
#endif

}  // namespace
}  // namespace blade
