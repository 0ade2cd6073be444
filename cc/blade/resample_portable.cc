#define BLADE_TARGET
namespace blade {
namespace {
constexpr int kVectorBytes = 16;
}
}  // namespace blade

#include "cc/blade/resample_vector.h"

namespace blade {

template <>
const ResampleKernels KernelsOf<SimdLevel::kPortable, ResampleKernels>::kernels = kResampleKernels;

}  // namespace blade
