#ifndef BLADE_RESAMPLE_H_
#define BLADE_RESAMPLE_H_

#include <cstdint>

#include "cc/blade/aligned_array.h"
#include "cc/blade/shape.h"
#include "cc/blade/simd.h"

namespace blade {

// Resampling at displaced positions. With a displacement v, along x first, p = x + [v] clamped to the image, [.] the
// nearest integers, ties to even, and d = v - [v], or what of it clamping leaves,
//
//   out(x) = u(p) + sum_k m_k(d) sum_j filters[k, selection(p)][j] coefficients(p + j)
//
// over monomials m_k: by degree from 1 (0 if constant) to `order`, within a degree by the power of d_y. Border pixels
// are replicated. Where |v| is not at most kUnknownDisplacement, along x or y, out is `fill`.

constexpr double kUnknownDisplacement = 1e9;
constexpr int64_t kLongestSide = int64_t{1} << 30;  // below which sides have to be

struct ResampleParameters {
  int64_t order;  // at least 1
  bool constant;
  float fill;
  constexpr int64_t monomials() const { return (order + 1) * (order + 2) / 2 - (constant ? 0 : 1); }
};

// Filters [monomials, k, r, s] in the order in which they are used.
class ResampleBank {
 public:
  ResampleBank(const FilterShape& shape, int64_t monomials, const float* filters);

  const FilterShape& shape() const { return shape_; }
  int64_t monomials() const { return monomials_; }
  // Taps of a filter, with zeros behind them.
  int64_t padded() const { return padded_; }
  // Of each monomial, padded() apart.
  const float* Filters(int64_t k) const { return data_.get() + k * monomials_ * padded_; }

 private:
  FilterShape shape_;
  int64_t monomials_, padded_;
  AlignedArray<float> data_;
};

// Rows [begin, end) of `out`. The images and out are of `shape`, the selection, whose values are in [0, k), [n, h, w],
// and the displacement [n, h, w, 2]. Functions may run at the same time on disjoint ranges, and results depend neither
// on them nor on the level. Subnormal numbers count as zero.
template <typename V, typename S>
void ResampleRows(const ResampleBank& bank, const ResampleParameters& parameters, const ImageShape& shape,
                  SimdLevel level, const float* image, const float* coefficients, const S* selection,
                  const V* displacement, int64_t begin, int64_t end, float* out);

}  // namespace blade

#endif  // BLADE_RESAMPLE_H_
