#include "cc/blade/simd.h"

#ifdef BLADE_X86

#define BLADE_TARGET __attribute__((target("avx512f,avx512dq,avx512vl,prefer-vector-width=512")))
#include "cc/blade/exchange_vector.h"

namespace blade {
const ExchangeKernels<float> kAvx512ExchangeFloat = kExchangeKernels<float>;
const ExchangeKernels<double> kAvx512ExchangeDouble = kExchangeKernels<double>;
}  // namespace blade

#endif  // BLADE_X86
