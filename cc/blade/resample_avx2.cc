#include "cc/blade/simd.h"

#ifdef BLADE_X86

#define BLADE_TARGET __attribute__((target("avx2")))
namespace blade {
namespace {
constexpr int kVectorBytes = 32;
}
}  // namespace blade

#include "cc/blade/resample_vector.h"

namespace blade {
template <>
const ResampleKernels KernelsOf<SimdLevel::kAvx2, ResampleKernels>::kernels = kResampleKernels;
}  // namespace blade

#endif  // BLADE_X86
