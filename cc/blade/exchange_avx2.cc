#include "cc/blade/simd.h"

#ifdef BLADE_X86

#define BLADE_TARGET __attribute__((target("avx2")))
#include "cc/blade/exchange_vector.h"

namespace blade {
const ExchangeKernels<float> kAvx2ExchangeFloat = kExchangeKernels<float>;
const ExchangeKernels<double> kAvx2ExchangeDouble = kExchangeKernels<double>;
}  // namespace blade

#endif  // BLADE_X86
