#define BLADE_TARGET
#include "cc/blade/exchange_vector.h"

namespace blade {

template <>
const ExchangeKernels<float> KernelsOf<SimdLevel::kPortable, ExchangeKernels<float>>::kernels = kExchangeKernels<float>;
template <>
const ExchangeKernels<double> KernelsOf<SimdLevel::kPortable, ExchangeKernels<double>>::kernels =
    kExchangeKernels<double>;

}  // namespace blade
