#ifndef BLADE_SELECT_H_
#define BLADE_SELECT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "cc/blade/half.h"
#include "cc/blade/shape.h"
#include "cc/blade/simd.h"

// The selection of eqs 2.3-2.5 ("Solving Image PDEs with a Shallow Network", arXiv 2110.08327), by comparisons alone.
//
// Borders are replicated. With F the type of computation (double for double, otherwise float), every operation rounded
// to F and none contracted:
//
//   gx = (u[y, x + 1] - u[y, x - 1]) / 2, gy = (u[y + 1, x] - u[y - 1, x]) / 2
//   J11 = sum_c gx gx, J12 = sum_c gx gy, J22 = sum_c gy gy, channels ascending
//   rho > 0: each smoothed, first along rows, then along columns, by
//     a = w[0] J[x]; for k = 1 .. ceil(3 rho): a = a + w[k] (J[x - k] + J[x + k])
//     w[k] = exp(-k^2 / (2 rho^2)) / (sum over all taps)
//   c = J11 - J22, s = J12 + J12, R2 = c c + s s, tr = J11 + J22
//
//   strength    = number of thresholds t with R2 > u |u|, u = 2 t^2 - tr
//   coherence   = number of thresholds q with R2 > k^2 (tr tr), k = 2 q / (1 + q^2)
//   orientation = bin of the doubled angle of (c, s) between edges e_j = 2 pi (j + phase) / n, for n orientations,
//   phase
//     1/2 for even n and 1/4 for odd n, so that no edge lies at 0 or 90 degrees. Bin 0 contains angle 0; (c, s) has
//     crossed edge j where s cos(e_j) > c sin(e_j). A multiple of 4 orientations is folded into the first quarter.
//   selection = orientation + n (strength + n_strength coherence)
//
// With eigenvalues l1 >= l2 of the smoothed J and w1 the eigenvector of l1, these say sqrt(l1) > t,
// (sqrt(l1) - sqrt(l2)) / (sqrt(l1) + sqrt(l2)) > q, and the angle of w1 modulo pi, without a root or an arc tangent.
// Flat and NaN pixels are in bin 0 of every feature: no comparison holds.

namespace blade {

struct SelectParameters {
  int64_t orientations;
  std::vector<float> strength_thresholds;
  std::vector<float> coherence_thresholds;
  float rho;
};

// Empty, or an error as `NAME: expected ..., got ...`.
std::string ValidateSelect(const SelectParameters& parameters);

// Constants of one selection, made once for valid parameters, then read by all threads.
template <typename F>
struct SelectPlan {
  explicit SelectPlan(const SelectParameters& parameters);

  int64_t radius() const { return static_cast<int64_t>(weights.size()) - 1; }

  int64_t orientations;
  bool folded;
  std::vector<F> weights;   // w[0 .. radius]
  std::vector<F> edge_cos;  // cos(e_j), j < n / 4 where folded, otherwise j < n
  std::vector<F> edge_sin;
  int64_t low_edges;         // where not folded, the first j with e_j >= pi
  std::vector<F> strength;   // 2 t^2
  std::vector<F> coherence;  // k^2
};

// Writes rows [begin, end) of `selection`, [n, h, w]; T is Half, BFloat16, float or double. Reads ceil(3 rho) + 1 rows
// of `image` on either side. Disjoint ranges may run at the same time; the result depends neither on them nor on the
// level. Subnormal numbers count as zero.
template <typename T>
void SelectRows(const SelectPlan<ComputeOf<T>>& plan, SimdLevel level, const ImageShape& shape, const T* image,
                int64_t begin, int64_t end, int32_t* selection);

}  // namespace blade

#endif  // BLADE_SELECT_H_
