#define BLADE_TARGET
namespace blade {
namespace {
constexpr int kVectorBytes = 16;
}
}  // namespace blade

#include "cc/blade/level_set_vector.h"

namespace blade {

template <>
const LevelSetKernels<float> KernelsOf<SimdLevel::kPortable, LevelSetKernels<float>>::kernels = kLevelSetKernels<float>;
template <>
const LevelSetKernels<double> KernelsOf<SimdLevel::kPortable, LevelSetKernels<double>>::kernels =
    kLevelSetKernels<double>;

}  // namespace blade
