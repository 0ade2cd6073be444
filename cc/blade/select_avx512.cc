#include "cc/blade/simd.h"

#ifdef BLADE_X86

#define BLADE_TARGET __attribute__((target("avx512f,avx512dq")))
namespace blade {
namespace {
constexpr int kVectorBytes = 64;
}
}  // namespace blade

#include "cc/blade/select_vector.h"

namespace blade {
const SelectKernels<float> kAvx512SelectFloat = kSelectKernels<float>;
const SelectKernels<double> kAvx512SelectDouble = kSelectKernels<double>;
}  // namespace blade

#endif  // BLADE_X86
