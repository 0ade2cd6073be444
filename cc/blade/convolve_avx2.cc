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
const ConvolveKernels<float> kAvx2ConvolveFloat = kConvolveKernels<float>;
const ConvolveKernels<double> kAvx2ConvolveDouble = kConvolveKernels<double>;
}  // namespace blade

#endif  // BLADE_X86
