#include "cc/blade/simd.h"

#ifdef BLADE_X86

#include <immintrin.h>

#define BLADE_TARGET __attribute__((target("avx2")))
#define BLADE_AVX2
namespace blade {
namespace {
constexpr int kVectorBytes = 32;
}
}  // namespace blade

#include "cc/blade/select_vector.h"

namespace blade {
const SelectKernels<float> kAvx2SelectFloat = kSelectKernels<float>;
const SelectKernels<double> kAvx2SelectDouble = kSelectKernels<double>;
}  // namespace blade

#endif  // BLADE_X86
