#ifndef BLADE_EXCHANGE_KERNELS_H_
#define BLADE_EXCHANGE_KERNELS_H_

#include <cstdint>

#include "cc/blade/simd.h"

namespace blade {

// The inner loops of the exchange over n couplings of a row of pixels (the first of two pointers) with a row of
// partners.
template <typename F>
struct ExchangeKernels {
  // sum[i] += c[i]
  void (*add)(const F* c, int64_t n, F* sum);
  // limit[i] = 1 / max(limit[i], 1)
  void (*limit)(int64_t n, F* limit);
  // change[i] += c[i] min(r[i], partner_r[i]) (partner_u[i] - u[i])
  void (*exchange)(const F* c, const F* r, const F* partner_r, const F* u, const F* partner_u, int64_t n, F* change);
  // sum[i] += c[i] (partner_u[i] - u[i]) (g[i] - partner_g[i]) where r[i] < partner_r[i], or equal if `ties`
  void (*grad_limit)(const F* c, const F* r, const F* partner_r, const F* u, const F* partner_u, const F* g,
                     const F* partner_g, bool ties, int64_t n, F* sum);
  // sum[i] *= r[i] < 1 ? -r[i]^2 : 0
  void (*grad_sum)(const F* r, int64_t n, F* sum);
  // c_grad[i] += min(r[i], partner_r[i]) (partner_u[i] - u[i]) (g[i] - partner_g[i])
  void (*grad_conductance)(const F* r, const F* partner_r, const F* u, const F* partner_u, const F* g,
                           const F* partner_g, int64_t n, F* c_grad);
};

BLADE_DECLARE_KERNELS(ExchangeKernels<float>)
BLADE_DECLARE_KERNELS(ExchangeKernels<double>)

}  // namespace blade

#endif  // BLADE_EXCHANGE_KERNELS_H_
