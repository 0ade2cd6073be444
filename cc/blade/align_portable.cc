#define BLADE_TARGET
#include "cc/blade/align_vector.h"

namespace blade {

template <>
const AlignKernels KernelsOf<SimdLevel::kPortable, AlignKernels>::kernels = kAlignKernels;

}  // namespace blade
