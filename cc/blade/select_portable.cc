#define BLADE_TARGET
namespace blade {
namespace {
constexpr int kVectorBytes = 16;
}
}  // namespace blade

#include "cc/blade/select_vector.h"

namespace blade {

const SelectKernels<float> kPortableSelectFloat = kSelectKernels<float>;
const SelectKernels<double> kPortableSelectDouble = kSelectKernels<double>;

template <>
const SelectKernels<float>& GetSelectKernels(SimdLevel level) {
#ifdef BLADE_X86
  if (level == SimdLevel::kAvx512) return kAvx512SelectFloat;
  if (level == SimdLevel::kAvx2) return kAvx2SelectFloat;
#endif
  static_cast<void>(level);
  return kPortableSelectFloat;
}

template <>
const SelectKernels<double>& GetSelectKernels(SimdLevel level) {
#ifdef BLADE_X86
  if (level == SimdLevel::kAvx512) return kAvx512SelectDouble;
  if (level == SimdLevel::kAvx2) return kAvx2SelectDouble;
#endif
  static_cast<void>(level);
  return kPortableSelectDouble;
}

}  // namespace blade
