#include "cc/blade/simd.h"

#ifdef BLADE_X86

#define BLADE_TARGET __attribute__((target("avx2")))
namespace blade {
namespace {
constexpr int kVectorBytes = 32;
}
}  // namespace blade

#include "cc/blade/convolve_vector.h"

namespace blade {
template <>
const ConvolveKernels<float> KernelsOf<SimdLevel::kAvx2, ConvolveKernels<float>>::kernels = kConvolveKernels<float>;
template <>
const ConvolveKernels<double> KernelsOf<SimdLevel::kAvx2, ConvolveKernels<double>>::kernels = kConvolveKernels<double>;
}  // namespace blade

#endif  // BLADE_X86
