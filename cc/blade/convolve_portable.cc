#define BLADE_TARGET
namespace blade {
namespace {
constexpr int kVectorBytes = 16;
}
}  // namespace blade

#include "cc/blade/convolve_vector.h"

namespace blade {

template <>
const ConvolveKernels<float> KernelsOf<SimdLevel::kPortable, ConvolveKernels<float>>::kernels = kConvolveKernels<float>;
template <>
const ConvolveKernels<double> KernelsOf<SimdLevel::kPortable, ConvolveKernels<double>>::kernels =
    kConvolveKernels<double>;

}  // namespace blade
