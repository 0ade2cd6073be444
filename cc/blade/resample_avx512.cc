#include "cc/blade/simd.h"

#ifdef BLADE_X86

#define BLADE_TARGET __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl")))
namespace blade {
namespace {
constexpr int kVectorBytes = 64;
}
}  // namespace blade

#include "cc/blade/resample_vector.h"

namespace blade {
template <>
const ResampleKernels KernelsOf<SimdLevel::kAvx512, ResampleKernels>::kernels = kResampleKernels;
}  // namespace blade

#endif  // BLADE_X86
