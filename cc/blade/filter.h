#ifndef BLADE_FILTER_H_
#define BLADE_FILTER_H_

#include <algorithm>
#include <cstdint>

#include "cc/blade/aligned_array.h"
#include "cc/blade/half.h"
#include "cc/blade/kernels.h"
#include "cc/blade/pair_kernels.h"
#include "cc/blade/shape.h"

// The filter of eq 2.1 and its adjoints, eq 2.9 ("Solving Image PDEs with a Shallow Network", arXiv 2110.08327):
//
//   out[n, y, x, c] = sum_{r, s} h[sel[n, y, x], r, s] z[n, Y, X, c]
//   dz[n, v, u, c]  = sum_{y, x, r, s : Y = v, X = u} h[sel[n, y, x], r, s] g[n, y, x, c]
//   dh[k, r, s]     = sum_{n, y, x, c : sel[n, y, x] = k} z[n, Y, X, c] g[n, y, x, c]
//
// with Y = y + r - (R - 1) / 2 and X = x + s - (S - 1) / 2 clamped to the image: borders are replicated, and dz is the
// exact adjoint of that. A footprint of odd size is centred on its pixel; one of even size S covers x - S / 2 + 1 to x
// + S / 2 and is centred on the face x + 1 / 2.
//
// T is Half, BFloat16, float or double; Half and BFloat16 are computed and accumulated in float and rounded once. S,
// the type of the selection, is int32_t or uint8_t. Any size may be 0 or 1, but r and s are at least 1.
//
// Threads: the functions below work on rows [begin, end) of the n * h rows and may run at the same time on disjoint
// ranges, which must not be empty. Their results are the same, bit for bit, for any partition into ranges. They depend
// on the level. Subnormal numbers count as zero.
//
// A row of the selection is checked before it is used. The functions return kSelectionInRange, or the position in the
// selection of the first value outside [0, k) among the rows they read; the output is then unspecified. The smallest
// position over all ranges is the first one in row-major order.

namespace blade {

// Values between one filter and the next in the layout of the kernels.
constexpr int64_t FilterStride(const FilterShape& shape) { return (shape.taps() + 15) / 16 * 16; }

// The kernels for two rows at a time, or null where the footprint, the number of filters or the level has none.
template <typename F>
const PairKernels<F>* PairKernelsOf(const FilterShape& shape, SimdLevel level) {
  constexpr int64_t kGreatest = int64_t{1} << 24;  // offsets in bytes have 32 bits
  return shape.r == 5 && shape.s == 5 && shape.k <= kGreatest ? GetPairKernels<F>(level) : nullptr;
}

// The filters in the layout of the kernels; made once, read by all threads.
template <typename T>
class FilterBank {
 public:
  using F = ComputeOf<T>;

  FilterBank(const FilterShape& shape, const T* filters, SimdLevel level);

  const FilterShape& shape() const { return shape_; }
  const Kernels<F>& kernels() const { return *kernels_; }
  // Null where kernels() are to be used.
  const PairKernels<F>* pair() const { return pair_; }
  int64_t stride() const { return stride_; }
  const F* table() const { return table_.get(); }
  const F* pair_table(int64_t row) const { return table_.get() + row * (shape_.k + 1) * kPairStride; }

 private:
  FilterShape shape_;
  const Kernels<F>* kernels_;
  const PairKernels<F>* pair_;
  int64_t stride_;
  AlignedArray<F> table_;
};

// Writes rows [begin, end) of `output`, [n, h, w, c].
template <typename T, typename S>
int64_t FilterRows(const FilterBank<T>& bank, const ImageShape& shape, const T* image, const S* selection,
                   int64_t begin, int64_t end, T* output);

// Writes rows [begin, end) of `image_grad`, [n, h, w, c]; reads up to r / 2 rows of `grad` and `selection` above
// and (r - 1) / 2 below them.
template <typename T, typename S>
int64_t FilterGradImageRows(const FilterBank<T>& bank, const ImageShape& shape, const S* selection, const T* grad,
                            int64_t begin, int64_t end, T* image_grad);

// In float, at most so many products are added to a sum before it is added to one in double: a bound of the error
// relative to the sum of their magnitudes.
constexpr int64_t kGradFiltersTerms = 4096;
constexpr double kGradFiltersError = static_cast<double>(kGradFiltersTerms) / (1 << 24);

// The gradient to the filters is summed over blocks of rows, then over blocks. Their number depends on the shapes
// alone.
class GradFiltersBlocks {
 public:
  GradFiltersBlocks(const ImageShape& image, const FilterShape& filters);
  int64_t count() const { return count_; }
  int64_t begin(int64_t block) const { return rows_ / count_ * block + std::min(block, rows_ % count_); }
  int64_t end(int64_t block) const { return begin(block + 1); }
  // Numbers in the sums of a block.
  int64_t size() const { return size_; }

 private:
  int64_t rows_, count_, size_;
};

// Overwrites `sums` with those of the block of rows [begin, end), in an order of the kernels' own.
template <typename T, typename S>
int64_t FilterGradFiltersRows(const FilterShape& filters, SimdLevel level, const ImageShape& shape, const T* image,
                              const S* selection, const T* grad, int64_t begin, int64_t end, double* sums);

// Filters [begin, end) of `filters_grad`, [k, r, s], from the sums of all blocks one after the other, added up in that
// order.
template <typename T>
void FilterGradFiltersReduce(const FilterShape& filters, const double* sums, int64_t blocks, int64_t begin, int64_t end,
                             T* filters_grad);

}  // namespace blade

#endif  // BLADE_FILTER_H_
