#define BLADE_TARGET
namespace blade {
namespace {
constexpr int kVectorBytes = 16;
}
}  // namespace blade

#include "cc/blade/resample_vector.h"

namespace blade {

const ResampleKernels kPortableResample = kResampleKernels;

const ResampleKernels& GetResampleKernels(SimdLevel level) {
#ifdef BLADE_X86
  if (level == SimdLevel::kAvx512) return kAvx512Resample;
  if (level == SimdLevel::kAvx2) return kAvx2Resample;
#endif
  static_cast<void>(level);
  return kPortableResample;
}

}  // namespace blade
