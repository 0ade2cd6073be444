#define BLADE_TARGET
namespace blade {
namespace {
constexpr int kVectorBytes = 16;
}
}  // namespace blade

#include "cc/blade/pairs_vector.h"

namespace blade {

const PairsStepKernels<float> kPortablePairsStepFloat = kPairsStepKernels<float>;
const PairsStepKernels<double> kPortablePairsStepDouble = kPairsStepKernels<double>;

template <>
const PairsStepKernels<float>& GetPairsStepKernels(SimdLevel level) {
#ifdef BLADE_X86
  if (level == SimdLevel::kAvx512) return kAvx512PairsStepFloat;
  if (level == SimdLevel::kAvx2) return kAvx2PairsStepFloat;
#endif
  static_cast<void>(level);
  return kPortablePairsStepFloat;
}

template <>
const PairsStepKernels<double>& GetPairsStepKernels(SimdLevel level) {
#ifdef BLADE_X86
  if (level == SimdLevel::kAvx512) return kAvx512PairsStepDouble;
  if (level == SimdLevel::kAvx2) return kAvx2PairsStepDouble;
#endif
  static_cast<void>(level);
  return kPortablePairsStepDouble;
}

}  // namespace blade
