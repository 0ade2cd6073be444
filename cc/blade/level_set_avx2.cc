#include "cc/blade/simd.h"

#ifdef BLADE_X86

#define BLADE_TARGET __attribute__((target("avx2")))
namespace blade {
namespace {
constexpr int kVectorBytes = 32;
}
}  // namespace blade

#include "cc/blade/level_set_vector.h"

namespace blade {
template <>
const LevelSetKernels<float> KernelsOf<SimdLevel::kAvx2, LevelSetKernels<float>>::kernels = kLevelSetKernels<float>;
template <>
const LevelSetKernels<double> KernelsOf<SimdLevel::kAvx2, LevelSetKernels<double>>::kernels = kLevelSetKernels<double>;
}  // namespace blade

#endif  // BLADE_X86
