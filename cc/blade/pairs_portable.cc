#include "cc/blade/pairs_vector.h"

namespace blade {

template <>
const PairsStepKernels<float>& KernelsOf<PairsStepKernels<float>, kLevel>() {
  return kPairsStepKernels<float>;
}
template <>
const PairsStepKernels<double>& KernelsOf<PairsStepKernels<double>, kLevel>() {
  return kPairsStepKernels<double>;
}

}  // namespace blade
