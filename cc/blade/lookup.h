#ifndef BLADE_LOOKUP_H_
#define BLADE_LOOKUP_H_

#include <algorithm>
#include <cstdint>

#include "cc/blade/shape.h"
#include "cc/blade/simd.h"

// A bank of numbers at each pixel, between the two entries that a soft selection chooses:
//
//   out[n, p, y, x]  = table[lower, p] + weight (table[upper, p] - table[lower, p])
//   dtable[k, p]     = sum of (1 - weight) g over the pixels with lower = k, plus weight g over those with upper = k
//   dweight[n, y, x] = sum_p (table[upper, p] - table[lower, p]) g
//
// lower, upper and weight are [n, h, w], g and out planar, [n, planes, h, w]. Rows [begin, end) are those of all n
// images together; functions may run at the same time on disjoint ranges, and results depend neither on them nor on the
// level. Subnormal numbers count as zero.
//
// A row of the selection is checked before it is used. The functions return kSelectionInRange, or the first position of
// a value outside [0, k) among their rows, those of lower and upper in turn: (2 row + s) w + x, where s is 0 for lower
// and 1 for upper; outputs are then unspecified.

namespace blade {

struct LookupShape {
  int64_t n, planes, h, w, k;
  int64_t rows() const { return n * h; }
  int64_t pixels() const { return n * h * w; }
};

template <typename F>
int64_t LookupRows(const LookupShape& shape, SimdLevel level, const F* table, const int32_t* lower,
                   const int32_t* upper, const F* weight, int64_t begin, int64_t end, F* out);

// The gradient to the table is summed over blocks of rows, then over blocks; their number depends on the shapes alone.
class LookupBlocks {
 public:
  explicit LookupBlocks(const LookupShape& shape)
      : rows_(shape.rows()), count_(std::max<int64_t>(std::min<int64_t>(16, shape.rows() / 4), 1)) {}
  int64_t count() const { return count_; }
  int64_t begin(int64_t block) const { return rows_ / count_ * block + std::min(block, rows_ % count_); }
  int64_t end(int64_t block) const { return begin(block + 1); }

 private:
  int64_t rows_, count_;
};

// Overwrites `sums`, [k, planes], and rows [begin, end) of `weight_grad`.
template <typename F>
int64_t LookupGradRows(const LookupShape& shape, const F* table, const int32_t* lower, const int32_t* upper,
                       const F* weight, const F* grad, int64_t begin, int64_t end, double* sums, F* weight_grad);

}  // namespace blade

#endif  // BLADE_LOOKUP_H_
