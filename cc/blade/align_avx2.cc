#include "cc/blade/simd.h"

#ifdef BLADE_X86

#define BLADE_TARGET __attribute__((target("avx2")))
#include "cc/blade/align_vector.h"

namespace blade {
template <>
const AlignKernels KernelsOf<SimdLevel::kAvx2, AlignKernels>::kernels = kAlignKernels;
}  // namespace blade

#endif  // BLADE_X86
