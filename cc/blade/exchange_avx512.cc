#include "cc/blade/simd.h"

#ifdef BLADE_X86

#define BLADE_TARGET __attribute__((target("avx512f,avx512dq,avx512vl,prefer-vector-width=512")))
#include "cc/blade/exchange_vector.h"

namespace blade {
template <>
const ExchangeKernels<float> KernelsOf<SimdLevel::kAvx512, ExchangeKernels<float>>::kernels = kExchangeKernels<float>;
template <>
const ExchangeKernels<double> KernelsOf<SimdLevel::kAvx512, ExchangeKernels<double>>::kernels =
    kExchangeKernels<double>;
}  // namespace blade

#endif  // BLADE_X86
