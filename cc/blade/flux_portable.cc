#define BLADE_TARGET
namespace blade {
namespace {
constexpr int kVectorBytes = 16;
}
}  // namespace blade

#include "cc/blade/flux_vector.h"

namespace blade {

template <>
const FluxKernels<float> KernelsOf<SimdLevel::kPortable, FluxKernels<float>>::kernels = kFluxKernels<float>;
template <>
const FluxKernels<double> KernelsOf<SimdLevel::kPortable, FluxKernels<double>>::kernels = kFluxKernels<double>;

}  // namespace blade
