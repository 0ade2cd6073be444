#define BLADE_TARGET
namespace blade {
namespace {
constexpr int kVectorBytes = 16;
}
}  // namespace blade

#include "cc/blade/select_vector.h"

namespace blade {

template <>
const SelectKernels<float> KernelsOf<SimdLevel::kPortable, SelectKernels<float>>::kernels = kSelectKernels<float>;
template <>
const SelectKernels<double> KernelsOf<SimdLevel::kPortable, SelectKernels<double>>::kernels = kSelectKernels<double>;

}  // namespace blade
