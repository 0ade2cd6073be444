#include "cc/blade/simd.h"

#ifdef BLADE_X86

#define BLADE_TARGET __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl")))
namespace blade {
namespace {
constexpr int kVectorBytes = 64;
}
}  // namespace blade

#include "cc/blade/convolve_vector.h"

namespace blade {
template <>
const ConvolveKernels<float> KernelsOf<SimdLevel::kAvx512, ConvolveKernels<float>>::kernels = kConvolveKernels<float>;
template <>
const ConvolveKernels<double> KernelsOf<SimdLevel::kAvx512, ConvolveKernels<double>>::kernels =
    kConvolveKernels<double>;
}  // namespace blade

#endif  // BLADE_X86
