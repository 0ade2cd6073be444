#define BLADE_TARGET
namespace blade {
namespace {
constexpr int kVectorBytes = 16;
}
}  // namespace blade

#include "cc/blade/level_set_vector.h"

namespace blade {

const LevelSetKernels<float> kPortableLevelSetFloat = kLevelSetKernels<float>;
const LevelSetKernels<double> kPortableLevelSetDouble = kLevelSetKernels<double>;

template <>
const LevelSetKernels<float>& GetLevelSetKernels(SimdLevel level) {
#ifdef BLADE_X86
  if (level == SimdLevel::kAvx512) return kAvx512LevelSetFloat;
  if (level == SimdLevel::kAvx2) return kAvx2LevelSetFloat;
#endif
  static_cast<void>(level);
  return kPortableLevelSetFloat;
}

template <>
const LevelSetKernels<double>& GetLevelSetKernels(SimdLevel level) {
#ifdef BLADE_X86
  if (level == SimdLevel::kAvx512) return kAvx512LevelSetDouble;
  if (level == SimdLevel::kAvx2) return kAvx2LevelSetDouble;
#endif
  static_cast<void>(level);
  return kPortableLevelSetDouble;
}

}  // namespace blade
