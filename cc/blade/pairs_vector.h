// The arithmetic of a step of conservative pairs, written once with the compiler's vectors. No include guard: one source
// file a level includes it, having defined BLADE_TARGET (a function attribute) and kVectorBytes. -ffp-contract=off keeps
// the levels equal, bit for bit.

#include <cstring>

#include "cc/blade/pairs_kernels.h"

namespace blade {
namespace {

#define BLADE_INLINE inline BLADE_TARGET __attribute__((always_inline))

template <typename F>
struct Lanes {
  typedef F Type __attribute__((vector_size(kVectorBytes)));
};
template <typename F>
using LanesOf = typename Lanes<F>::Type;
template <typename F>
constexpr int64_t kLanes = kVectorBytes / static_cast<int64_t>(sizeof(F));

template <typename F>
BLADE_INLINE LanesOf<F> Load(const F* from) {
  LanesOf<F> to;
  std::memcpy(&to, from, sizeof(to));
  return to;
}

template <typename F>
BLADE_INLINE void Save(const LanesOf<F>& from, F* to) {
  std::memcpy(to, &from, sizeof(from));
}

template <typename F>
BLADE_TARGET void Lookup(const F* table, int64_t stride, int64_t planes, const int32_t* lower, const int32_t* upper,
                         const F* weight, int64_t n, int64_t pitch, F* out) {
  for (int64_t p = 0; p < planes; ++p) {
    for (int64_t x = 0; x < n; ++x) {
      const F first = table[lower[x] * stride + p];
      out[p * pitch + x] = weight == nullptr ? first : first + weight[x] * (table[upper[x] * stride + p] - first);
    }
  }
}

// kBorder: some partners are outside of the image.
template <bool kBorder, typename F>
BLADE_INLINE void LimitVector(const F* const* c, const F* const* inside, int64_t sides, int64_t x, F* limit) {
  const LanesOf<F> one = LanesOf<F>{} + F(1);
  LanesOf<F> sum = {};
  for (int64_t s = 0; s < sides; ++s) sum += kBorder ? Load(c[s] + x) * Load(inside[s] + x) : Load(c[s] + x);
  Save(one / (sum > one ? sum : one), limit + x);
}

template <typename F>
BLADE_TARGET void Limit(const F* const* c, const F* const* inside, int64_t sides, int64_t n, F* limit) {
  for (int64_t x = 0; x < n; x += kLanes<F>) {
    if (x >= kPairsPad && x + kLanes<F> + kPairsPad <= n) {
      LimitVector<false>(c, inside, sides, x, limit);
    } else {
      LimitVector<true>(c, inside, sides, x, limit);
    }
  }
}

template <typename F>
BLADE_TARGET void Exchange(const F* const* c, const F* const* partner_r, const F* const* partner_u, int64_t sides,
                           const F* r, const F* u, F dt, F bank_dt, int64_t n, F* out) {
  for (int64_t x = 0; x < n; x += kLanes<F>) {
    const LanesOf<F> own_r = Load(r + x), own_u = Load(u + x);
    LanesOf<F> change = {};
    for (int64_t s = 0; s < sides; ++s) {
      const LanesOf<F> other_r = Load(partner_r[s] + x);
      change += Load(c[s] + x) * (own_r < other_r ? own_r : other_r) * (Load(partner_u[s] + x) - own_u);
    }
    Save(own_u + dt * (change / bank_dt), out + x);
  }
}

template <typename F>
constexpr PairsStepKernels<F> kPairsStepKernels = {Lookup<F>, Limit<F>, Exchange<F>};

}  // namespace
}  // namespace blade
