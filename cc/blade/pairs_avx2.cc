#include "cc/blade/simd.h"

#ifdef BLADE_X86

#define BLADE_TARGET __attribute__((target("avx2")))
namespace blade {
namespace {
constexpr int kVectorBytes = 32;
}
}  // namespace blade

#include "cc/blade/pairs_vector.h"

namespace blade {
const PairsStepKernels<float> kAvx2PairsStepFloat = kPairsStepKernels<float>;
const PairsStepKernels<double> kAvx2PairsStepDouble = kPairsStepKernels<double>;
}  // namespace blade

#endif  // BLADE_X86
