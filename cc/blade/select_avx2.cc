#include "cc/blade/simd.h"

#ifdef BLADE_X86

#include <immintrin.h>

#define BLADE_TARGET __attribute__((target("avx2")))
#define BLADE_AVX2
namespace blade {
namespace {
constexpr int kVectorBytes = 32;
}
}  // namespace blade

#include "cc/blade/select_vector.h"

namespace blade {
template <>
const SelectKernels<float> KernelsOf<SimdLevel::kAvx2, SelectKernels<float>>::kernels = kSelectKernels<float>;
template <>
const SelectKernels<double> KernelsOf<SimdLevel::kAvx2, SelectKernels<double>>::kernels = kSelectKernels<double>;
}  // namespace blade

#endif  // BLADE_X86
