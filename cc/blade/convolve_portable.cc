#define BLADE_TARGET
namespace blade {
namespace {
constexpr int kVectorBytes = 16;
}
}  // namespace blade

#include "cc/blade/convolve_vector.h"

namespace blade {

const ConvolveKernels<float> kPortableConvolveFloat = kConvolveKernels<float>;
const ConvolveKernels<double> kPortableConvolveDouble = kConvolveKernels<double>;

template <>
const ConvolveKernels<float>& GetConvolveKernels(SimdLevel level) {
#ifdef BLADE_X86
  if (level == SimdLevel::kAvx512) return kAvx512ConvolveFloat;
  if (level == SimdLevel::kAvx2) return kAvx2ConvolveFloat;
#endif
  static_cast<void>(level);
  return kPortableConvolveFloat;
}

template <>
const ConvolveKernels<double>& GetConvolveKernels(SimdLevel level) {
#ifdef BLADE_X86
  if (level == SimdLevel::kAvx512) return kAvx512ConvolveDouble;
  if (level == SimdLevel::kAvx2) return kAvx2ConvolveDouble;
#endif
  static_cast<void>(level);
  return kPortableConvolveDouble;
}

}  // namespace blade
