#ifndef BLADE_FLUX_STEP_H_
#define BLADE_FLUX_STEP_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "cc/blade/aligned_array.h"
#include "cc/blade/flux_kernels.h"
#include "cc/blade/select.h"
#include "cc/blade/shape.h"
#include "cc/blade/simd.h"

namespace blade {

// Of the image u: u itself, or W'(u) = 2 v (v - 1) (2 v - 1) with v = u limited to [-1/2, 3/2].
enum class FluxFunction { kIdentity, kDoubleWell };

// The selections of a step and the function of u that each bank filters, made once, then read by all threads.
template <typename F>
struct FluxPlan {
  // At most kFluxBanks functions. The centre of the parameters is of no account.
  FluxPlan(const SelectParameters& parameters, const std::vector<FluxFunction>& functions);

  SelectPlan<F> selections[2];  // at the x-faces and the y-faces
  std::vector<FluxFunction> functions;
};

// Filters in the layout of the kernels.
template <typename F>
class FluxBank {
 public:
  // Dense [k, banks, 5, columns] of the x-faces and of the y-faces, the latter transposed (eqs 3.14-3.15): those of a
  // face cover two rows or columns before its near pixel and three from its far one on. Six columns, or the near three
  // of antisymmetric filters, h[4 - r, 5 - s] = -h[r, s], given as -h[r, s].
  FluxBank(int64_t k, int64_t banks, int64_t columns, const F* filters_x, const F* filters_y);

  int64_t banks() const { return banks_; }
  bool antisymmetric() const { return antisymmetric_; }
  // Of selection i.
  const F* table(int64_t i) const { return tables_.get() + i * size_; }

 private:
  int64_t banks_;
  bool antisymmetric_;
  int64_t size_;
  AlignedArray<F> tables_;
};

// A step of at most `dt` is to keep the image in [low, high].
template <typename F>
struct FluxLimits {
  F low, high, dt;
};

// A step of explicit Euler by fluxes (eqs 3.14-3.16), row by row, which stay in the caches:
//
//   output = image + dt * ((Gx[y, x] - Gx[y, x - 1]) + (Gy[y, x] - Gy[y - 1, x])), none of them through the border,
//
// where Gx and Gy are sums over the banks of the filters, centred on the faces (y, x + 1/2) and (y + 1/2, x) and
// selected there (select.h), of their functions of the image, whose borders are replicated. A soft selection
// interpolates between two filters. With limits, each flux is scaled as in Zalesak's limiter: what a pixel gains in
// their dt, at most, by min(1, (high - u) / gain), what it loses by min(1, (u - low) / loss), a flux by the smaller
// factor of its two pixels.
//
// Writes rows [begin, end) of `output`, [n, h, w]; shape.c is 1. `output` must not be `image`. The selections stay
// within the bank's filters. The result depends neither on the ranges nor on threads; its rounding, on the level.
template <typename F>
void FluxStepRows(const FluxPlan<F>& plan, const FluxBank<F>& bank, SimdLevel level, const ImageShape& shape,
                  const F* image, F dt, const std::optional<FluxLimits<F>>& limits, int64_t begin, int64_t end,
                  F* output);

}  // namespace blade

#endif  // BLADE_FLUX_STEP_H_
