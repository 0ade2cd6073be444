#define BLADE_TARGET
#include "cc/blade/exchange_vector.h"

namespace blade {

const ExchangeKernels<float> kPortableExchangeFloat = kExchangeKernels<float>;
const ExchangeKernels<double> kPortableExchangeDouble = kExchangeKernels<double>;

template <>
const ExchangeKernels<float>& GetExchangeKernels(SimdLevel level) {
#ifdef BLADE_X86
  if (level == SimdLevel::kAvx512) return kAvx512ExchangeFloat;
  if (level == SimdLevel::kAvx2) return kAvx2ExchangeFloat;
#endif
  static_cast<void>(level);
  return kPortableExchangeFloat;
}

template <>
const ExchangeKernels<double>& GetExchangeKernels(SimdLevel level) {
#ifdef BLADE_X86
  if (level == SimdLevel::kAvx512) return kAvx512ExchangeDouble;
  if (level == SimdLevel::kAvx2) return kAvx2ExchangeDouble;
#endif
  static_cast<void>(level);
  return kPortableExchangeDouble;
}

}  // namespace blade
