// The arithmetic of a step of conservative pairs, written once with the compiler's vectors. No include guard: one
// source file a level includes it.

#include "cc/blade/lanes.h"
#include "cc/blade/pairs_kernels.h"

namespace blade {
namespace {

template <typename F>
BLADE_TARGET void Lookup(const F* table, int64_t stride, int64_t planes, const int32_t* index, const F* weight,
                         int64_t n, int64_t pitch, F* out) {
  for (int64_t p = 0; p < planes; ++p) {
    const F* column = table + (weight == nullptr ? p : p / 4 * 8 + p % 4);
    for (int64_t x = 0; x < n; ++x) {
      const F* entry = column + index[x] * stride;
      out[p * pitch + x] = weight == nullptr ? entry[0] : entry[0] + weight[x] * entry[4];
    }
  }
}

// Sums over the sides are taken for that many vectors at a time: a sum alone would wait for one addition after the
// other.
constexpr int64_t kAtATime = 4;

// kBorder: some partners are outside of the image.
template <int64_t kVectors, bool kBorder, typename F>
BLADE_INLINE void LimitVectors(const F* const* c, const F* const* inside, int64_t sides, int64_t x, F* limit) {
  const LanesOf<F> one = LanesOf<F>{} + F(1);
  LanesOf<F> sum[kVectors] = {};
  for (int64_t s = 0; s < sides; ++s) {
    for (int64_t v = 0; v < kVectors; ++v) {
      const int64_t at = x + v * kLanes<F>;
      sum[v] += kBorder ? Load(c[s] + at) * Load(inside[s] + at) : Load(c[s] + at);
    }
  }
  for (int64_t v = 0; v < kVectors; ++v) Save(one / (sum[v] > one ? sum[v] : one), limit + x + v * kLanes<F>);
}

template <typename F>
BLADE_TARGET void Limit(const F* const* c, const F* const* inside, int64_t sides, int64_t n, F* limit) {
  constexpr int64_t kStep = kAtATime * kLanes<F>;
  for (int64_t x = 0; x < n;) {
    if (x >= kRingPad && x + kStep + kRingPad <= n) {
      LimitVectors<kAtATime, false>(c, inside, sides, x, limit);
      x += kStep;
    } else {
      LimitVectors<1, true>(c, inside, sides, x, limit);
      x += kLanes<F>;
    }
  }
}

template <int64_t kVectors, typename F>
BLADE_INLINE void ExchangeVectors(const F* const* c, const F* const* partner_r, const F* const* partner_u,
                                  int64_t sides, const F* r, const F* u, F dt, F bank_dt, int64_t x, F* out) {
  LanesOf<F> own_r[kVectors], own_u[kVectors], change[kVectors] = {};
  for (int64_t v = 0; v < kVectors; ++v) {
    own_r[v] = Load(r + x + v * kLanes<F>);
    own_u[v] = Load(u + x + v * kLanes<F>);
  }
  for (int64_t s = 0; s < sides; ++s) {
    for (int64_t v = 0; v < kVectors; ++v) {
      const int64_t at = x + v * kLanes<F>;
      const LanesOf<F> other_r = Load(partner_r[s] + at);
      change[v] += Load(c[s] + at) * (own_r[v] < other_r ? own_r[v] : other_r) * (Load(partner_u[s] + at) - own_u[v]);
    }
  }
  for (int64_t v = 0; v < kVectors; ++v) Save(own_u[v] + dt * (change[v] / bank_dt), out + x + v * kLanes<F>);
}

template <typename F>
BLADE_TARGET void Exchange(const F* const* c, const F* const* partner_r, const F* const* partner_u, int64_t sides,
                           const F* r, const F* u, F dt, F bank_dt, int64_t n, F* out) {
  constexpr int64_t kStep = kAtATime * kLanes<F>;
  int64_t x = 0;
  for (; x + kStep <= n; x += kStep)
    ExchangeVectors<kAtATime>(c, partner_r, partner_u, sides, r, u, dt, bank_dt, x, out);
  for (; x < n; x += kLanes<F>) ExchangeVectors<1>(c, partner_r, partner_u, sides, r, u, dt, bank_dt, x, out);
}

template <typename F>
constexpr PairsStepKernels<F> kPairsStepKernels = {Lookup<F>, Limit<F>, {Exchange<F>, Exchange<F>, Exchange<F>}};

}  // namespace
}  // namespace blade
