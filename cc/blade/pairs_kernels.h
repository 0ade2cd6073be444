#ifndef BLADE_PAIRS_KERNELS_H_
#define BLADE_PAIRS_KERNELS_H_

#include <cstdint>

#include "cc/blade/simd.h"

namespace blade {

// Rows that are kPairsPad values longer on both sides. The kernels read and write whole vectors, up to that many values
// beyond n.
constexpr int64_t kPairsPad = 16;

// The inner loops of PairsStepRows over n pixels of a row.
template <typename F>
struct PairsStepKernels {
  // out[p * pitch + x] = table[lower, p] + weight (table[upper, p] - table[lower, p]), or table[lower, p] where
  // `weight` is null. `table` is [k, stride], stride a multiple of 4, aligned to it.
  void (*lookup)(const F* table, int64_t stride, int64_t planes, const int32_t* lower, const int32_t* upper,
                 const F* weight, int64_t n, int64_t pitch, F* out);

  // limit[x] = 1 / max(sum over the sides of c[side][x] inside[side][x], 1), where `inside` is 1 or 0.
  void (*limit)(const F* const* c, const F* const* inside, int64_t sides, int64_t n, F* limit);

  // out[x] = u[x] + dt (change / bank_dt), change = sum over the sides of c min(r[x], partner_r) (partner_u - u[x]).
  void (*exchange)(const F* const* c, const F* const* partner_r, const F* const* partner_u, int64_t sides, const F* r,
                   const F* u, F dt, F bank_dt, int64_t n, F* out);
};

template <typename F>
const PairsStepKernels<F>& GetPairsStepKernels(SimdLevel level);

extern const PairsStepKernels<float> kPortablePairsStepFloat;
extern const PairsStepKernels<double> kPortablePairsStepDouble;
#ifdef BLADE_X86
extern const PairsStepKernels<float> kAvx2PairsStepFloat, kAvx512PairsStepFloat;
extern const PairsStepKernels<double> kAvx2PairsStepDouble, kAvx512PairsStepDouble;
#endif

}  // namespace blade

#endif  // BLADE_PAIRS_KERNELS_H_
