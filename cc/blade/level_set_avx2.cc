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
const LevelSetKernels<float> kAvx2LevelSetFloat = kLevelSetKernels<float>;
const LevelSetKernels<double> kAvx2LevelSetDouble = kLevelSetKernels<double>;
}  // namespace blade

#endif  // BLADE_X86
