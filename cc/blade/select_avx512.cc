#include "cc/blade/simd.h"

#ifdef BLADE_X86

// GCC 12 warns about its own header (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#define BLADE_TARGET __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl")))
#define BLADE_AVX512
namespace blade {
namespace {
constexpr int kVectorBytes = 64;
}
}  // namespace blade

#include "cc/blade/select_vector.h"

namespace blade {
template <>
const SelectKernels<float> KernelsOf<SimdLevel::kAvx512, SelectKernels<float>>::kernels = kSelectKernels<float>;
template <>
const SelectKernels<double> KernelsOf<SimdLevel::kAvx512, SelectKernels<double>>::kernels = kSelectKernels<double>;
}  // namespace blade

#endif  // BLADE_X86
