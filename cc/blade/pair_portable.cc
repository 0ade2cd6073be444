#include "cc/blade/pair_kernels.h"

namespace blade {

template <>
const PairKernels<float>* GetPairKernels(SimdLevel level) {
#ifdef BLADE_X86
  if (level == SimdLevel::kAvx2) return &kAvx2Pair;
  if (level == SimdLevel::kAvx512) return &kAvx512Pair;
#endif
  static_cast<void>(level);
  return nullptr;
}

template <>
const PairKernels<double>* GetPairKernels(SimdLevel) {
  return nullptr;
}

}  // namespace blade
