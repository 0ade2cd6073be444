#include "cc/blade/simd.h"

#ifdef BLADE_X86

#define BLADE_TARGET __attribute__((target("avx512f,avx512dq,avx512vl,prefer-vector-width=512")))
#include "cc/blade/align_vector.h"

namespace blade {
template <>
const AlignKernels KernelsOf<SimdLevel::kAvx512, AlignKernels>::kernels = kAlignKernels;
}  // namespace blade

#endif  // BLADE_X86
