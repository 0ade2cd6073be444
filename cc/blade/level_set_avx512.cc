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
const LevelSetKernels<float> kAvx512LevelSetFloat = kLevelSetKernels<float>;
const LevelSetKernels<double> kAvx512LevelSetDouble = kLevelSetKernels<double>;
}  // namespace blade

#endif  // BLADE_X86
