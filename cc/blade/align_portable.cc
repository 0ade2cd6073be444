#define BLADE_TARGET
#include "cc/blade/align_vector.h"

namespace blade {

const AlignKernels kPortableAlign = kAlignKernels;

const AlignKernels& GetAlignKernels(SimdLevel level) {
#ifdef BLADE_X86
  if (level == SimdLevel::kAvx512) return kAvx512Align;
  if (level == SimdLevel::kAvx2) return kAvx2Align;
#endif
  static_cast<void>(level);
  return kPortableAlign;
}

}  // namespace blade
