#define BLADE_TARGET
namespace blade {
namespace {
constexpr int kVectorBytes = 16;
}
}  // namespace blade

#include "cc/blade/flux_vector.h"

namespace blade {

const FluxKernels<float> kPortableFluxFloat = kFluxKernels<float>;
const FluxKernels<double> kPortableFluxDouble = kFluxKernels<double>;

template <>
const FluxKernels<float>& GetFluxKernels(SimdLevel level) {
#ifdef BLADE_X86
  if (level == SimdLevel::kAvx512) return kAvx512FluxFloat;
  if (level == SimdLevel::kAvx2) return kAvx2FluxFloat;
#endif
  static_cast<void>(level);
  return kPortableFluxFloat;
}

template <>
const FluxKernels<double>& GetFluxKernels(SimdLevel level) {
#ifdef BLADE_X86
  if (level == SimdLevel::kAvx512) return kAvx512FluxDouble;
  if (level == SimdLevel::kAvx2) return kAvx2FluxDouble;
#endif
  static_cast<void>(level);
  return kPortableFluxDouble;
}

}  // namespace blade
