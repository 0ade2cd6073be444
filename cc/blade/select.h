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
//   intensity   = number of thresholds t with v > t, v = (1 / C) (sum_c u), channels ascending
//   orientation = bin of the doubled angle of (c, s) between edges e_j = 2 pi (j + phase) / n, for n orientations,
//     phase 1/2 for even n and 1/4 for odd n, so that no edge lies at 0 or 90 degrees. Bin 0 contains angle 0; (c, s)
//     has crossed edge j where s cos(e_j) > c sin(e_j). A multiple of 4 orientations is folded into the first quarter.
//   selection = orientation + n (strength + n_strength (coherence + n_coherence intensity))
//
// With eigenvalues l1 >= l2 of the smoothed J and w1 the eigenvector of l1, these say sqrt(l1) > t,
// (sqrt(l1) - sqrt(l2)) / (sqrt(l1) + sqrt(l2)) > q, and the angle of w1 modulo pi, without a root or an arc tangent.
// Flat and NaN pixels are in bin 0 of every feature: no comparison holds.
//
// Centred on faces: kFaceX at (y, x + 1/2), in the frame (normal, tangent) of the face,
//
//   gx = u[y, x + 1] - u[y, x]
//   gy = ((u[y + 1, x] - u[y - 1, x]) + (u[y + 1, x + 1] - u[y - 1, x + 1])) / 4
//   v = (v[y, x] + v[y, x + 1]) / 2
//
// on the grid of the [h, w - 1] faces between pixels, at whose ends the Gaussian replicates. Column w - 1 of the result
// is no face and holds 0. kFaceY is the transpose of kFaceX of the transposed image, bit for bit: the Gaussian runs
// along the normal first in both.
//
// Soft: along one feature, bins have centres m_0 < m_1 < ... instead of thresholds. With m_i the last one at or below
// the feature's value v, but not the last of all, the pixel's filter is that of bin i times 1 - weight plus that of bin
// i + 1 times weight = (v - m_i) / (m_(i + 1) - m_i), clamped to [0, 1]. As above, i is found without roots:
//
//   strength:    R2 >= u |u|, u = 2 m^2 - tr;               v = sqrt((tr + sqrt(R2)) / 2)
//   coherence:   R2 > 0 and R2 >= k^2 (tr tr);              v = sqrt(R2) / (tr + sqrt(max(tr tr - R2, 0)))
//   intensity:   v >= m
//   orientation: centres at pi j / n, circular; i by the comparisons with edges of phase 0, angle 0 in bin 0 and each
//     right angle in the bin that it begins. An even number is folded into the first half turn. With (c, s) turned back
//     to the middle of the bin, its halved angle has the tangent T = s / (sqrt(R2) + c), and weight = 1/2 + n atan(T) /
//     pi, atan by its power series.
//
// Flat and NaN pixels have bin 0 and weight 0.

namespace blade {

enum class SelectCenter { kPixel, kFaceX, kFaceY };
enum class SoftFeature { kNone, kStrength, kCoherence, kOrientation, kIntensity };

struct SelectParameters {
  int64_t orientations;
  std::vector<float> strength_thresholds;
  std::vector<float> coherence_thresholds;
  float rho;
  std::vector<float> intensity_thresholds = {};
  SelectCenter center = SelectCenter::kPixel;
  SoftFeature soft = SoftFeature::kNone;
  std::vector<float> centers = {};  // where soft is neither kNone nor kOrientation

  SelectParameters At(SelectCenter where) const {
    SelectParameters found = *this;
    found.center = where;
    return found;
  }
};

// Empty, or an error as `NAME: expected ..., got ...`.
std::string ValidateSelect(const SelectParameters& parameters);

// Constants of one selection, made once for valid parameters, then read by all threads.
template <typename F>
struct SelectPlan {
  explicit SelectPlan(const SelectParameters& parameters);

  int64_t radius() const { return static_cast<int64_t>(weights.size()) - 1; }
  bool has_intensity() const { return !intensity.empty() || soft == SoftFeature::kIntensity; }

  // The number of values that the selection takes.
  int64_t bins() const { return orientations * strengths * coherences * intensities; }
  // The bin `upper` where `lower` is `bin`, which is not the last one along the soft feature unless that is circular.
  int64_t Upper(int64_t bin) const {
    return soft == SoftFeature::kOrientation && (bin + 1) % orientations == 0 ? bin + 1 - orientations
                                                                              : bin + soft_stride;
  }

  SelectCenter center;
  int64_t orientations, strengths, coherences, intensities;  // numbers of bins
  int folds;                // of the doubled angle's turn: 2 into its first quarter, 1 into a half
  std::vector<F> weights;   // w[0 .. radius]
  std::vector<F> edge_cos;  // cos(e_j) in that part of the turn, but for angle 0
  std::vector<F> edge_sin;
  int64_t low_edges;         // the number of e_j < pi
  std::vector<F> strength;   // 2 t^2
  std::vector<F> coherence;  // k^2
  std::vector<F> intensity;  // t

  SoftFeature soft;
  int64_t soft_stride;  // from a bin to the next one
  // Of bin i: the bound to be passed to be in it, as in `strength`, `coherence` and `intensity`; m_i; 1 / (m_(i+1) -
  // m_i).
  std::vector<F> bound, origin, scale;
  // Orientation: the middle of bin i in that part of the turn; n atan(T) / (pi T) in powers of T^2.
  std::vector<F> middle_cos, middle_sin, arc;
};

// Writes rows [begin, end) of `selection`, [n, h, w]; T is Half, BFloat16, float or double, and S int32_t or, for at
// most 256 filters, uint8_t. Reads ceil(3 rho) + 2 rows of `image` on either side. Disjoint ranges may run at the same
// time; the result depends neither on them nor on the level. Subnormal numbers count as zero. For a plan that is not
// soft.
template <typename T, typename S>
void SelectRows(const SelectPlan<ComputeOf<T>>& plan, SimdLevel level, const ImageShape& shape, const T* image,
                int64_t begin, int64_t end, S* selection);

// The same for a plan that is soft: bins `lower` and `upper`, and the weight of `upper`, rounded to T.
template <typename T>
void SelectSoftRows(const SelectPlan<ComputeOf<T>>& plan, SimdLevel level, const ImageShape& shape, const T* image,
                    int64_t begin, int64_t end, int32_t* lower, int32_t* upper, T* weight);

}  // namespace blade

#endif  // BLADE_SELECT_H_
