#define BLADE_TARGET
namespace blade {
namespace {
constexpr int kVectorBytes = 16;
}
}  // namespace blade

#include "cc/blade/pairs_vector.h"

namespace blade {

template <>
const PairsStepKernels<float> KernelsOf<SimdLevel::kPortable, PairsStepKernels<float>>::kernels =
    kPairsStepKernels<float>;
template <>
const PairsStepKernels<double> KernelsOf<SimdLevel::kPortable, PairsStepKernels<double>>::kernels =
    kPairsStepKernels<double>;

}  // namespace blade
