#include "cc/blade/pairs_vector.h"

namespace blade {

BLADE_DEFINE_KERNELS(PairsStepKernels<float>, kPairsStepKernels<float>)
BLADE_DEFINE_KERNELS(PairsStepKernels<double>, kPairsStepKernels<double>)

}  // namespace blade
