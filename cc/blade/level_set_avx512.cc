#include "cc/blade/simd.h"

#ifdef BLADE_X86

#define BLADE_TARGET __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl")))
namespace blade {
namespace {
constexpr int kVectorBytes = 64;
}
}  // namespace blade

#include "cc/blade/level_set_vector.h"

namespace blade {
template <>
const LevelSetKernels<float> KernelsOf<SimdLevel::kAvx512, LevelSetKernels<float>>::kernels = kLevelSetKernels<float>;
template <>
const LevelSetKernels<double> KernelsOf<SimdLevel::kAvx512, LevelSetKernels<double>>::kernels =
    kLevelSetKernels<double>;
}  // namespace blade

#endif  // BLADE_X86
