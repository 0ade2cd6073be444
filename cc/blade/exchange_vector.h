// The exchange's arithmetic in loops that compilers vectorise. No include guard: one source file a level includes it.

#include "cc/blade/exchange_kernels.h"
#include "cc/blade/level.h"

namespace blade {
namespace {

template <typename F>
BLADE_TARGET void Add(const F* __restrict c, int64_t n, F* __restrict sum) {
  for (int64_t i = 0; i < n; ++i) sum[i] += c[i];
}

template <typename F>
BLADE_TARGET void Limit(int64_t n, F* __restrict limit) {
  for (int64_t i = 0; i < n; ++i) limit[i] = F(1) / (limit[i] > F(1) ? limit[i] : F(1));
}

template <typename F>
BLADE_TARGET void Exchange(const F* __restrict c, const F* __restrict r, const F* __restrict partner_r,
                           const F* __restrict u, const F* __restrict partner_u, int64_t n, F* __restrict change) {
  for (int64_t i = 0; i < n; ++i) {
    const F least = r[i] < partner_r[i] ? r[i] : partner_r[i];
    change[i] += c[i] * least * (partner_u[i] - u[i]);
  }
}

template <typename F>
BLADE_TARGET void GradLimit(const F* __restrict c, const F* __restrict r, const F* __restrict partner_r,
                            const F* __restrict u, const F* __restrict partner_u, const F* __restrict g,
                            const F* __restrict partner_g, bool ties, int64_t n, F* __restrict sum) {
  if (ties) {
    for (int64_t i = 0; i < n; ++i)
      sum[i] += r[i] <= partner_r[i] ? c[i] * (partner_u[i] - u[i]) * (g[i] - partner_g[i]) : F(0);
  } else {
    for (int64_t i = 0; i < n; ++i)
      sum[i] += r[i] < partner_r[i] ? c[i] * (partner_u[i] - u[i]) * (g[i] - partner_g[i]) : F(0);
  }
}

template <typename F>
BLADE_TARGET void GradSum(const F* __restrict r, int64_t n, F* __restrict sum) {
  for (int64_t i = 0; i < n; ++i) sum[i] *= r[i] < F(1) ? -(r[i] * r[i]) : F(0);
}

template <typename F>
BLADE_TARGET void GradConductance(const F* __restrict r, const F* __restrict partner_r, const F* __restrict u,
                                  const F* __restrict partner_u, const F* __restrict g, const F* __restrict partner_g,
                                  int64_t n, F* __restrict c_grad) {
  for (int64_t i = 0; i < n; ++i) {
    const F least = r[i] < partner_r[i] ? r[i] : partner_r[i];
    c_grad[i] += least * (partner_u[i] - u[i]) * (g[i] - partner_g[i]);
  }
}

template <typename F>
constexpr ExchangeKernels<F> kExchangeKernels = {Add<F>,       Limit<F>,   Exchange<F>,
                                                 GradLimit<F>, GradSum<F>, GradConductance<F>};

}  // namespace

BLADE_DEFINE_KERNELS(ExchangeKernels<float>, kExchangeKernels<float>)
BLADE_DEFINE_KERNELS(ExchangeKernels<double>, kExchangeKernels<double>)

}  // namespace blade
