#include "cc/blade/simd.h"

#ifdef BLADE_X86

#include <immintrin.h>

#define BLADE_TARGET __attribute__((target("avx2,fma")))
namespace blade {
namespace {
constexpr int kVectorBytes = 32;
}
}  // namespace blade

#include "cc/blade/flux_vector.h"

namespace blade {
namespace {}
const FluxKernels<float> kAvx2FluxFloat = kFluxKernels<float>;
const FluxKernels<double> kAvx2FluxDouble = kFluxKernels<double>;
}  // namespace blade

#endif  // BLADE_X86
