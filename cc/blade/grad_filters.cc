#include <algorithm>
#include <vector>

#include "cc/blade/filter.h"
#include "cc/blade/rows.h"
#include "cc/blade/simd.h"

namespace blade {
namespace {

constexpr int64_t kMaxBlocks = 64;
constexpr int64_t kBlockPixels = 32768;

}  // namespace

GradFiltersBlocks::GradFiltersBlocks(const ImageShape& image, const FilterShape& filters)
    : rows_(image.rows()), size_(filters.k * FilterStride(filters)) {
  // A block must be worth the table that it clears and that is added up.
  const int64_t pixels = std::max(kBlockPixels, 4 * filters.k);
  const int64_t wanted = rows_ * image.w * image.c / pixels;
  count_ = std::max<int64_t>(1, std::min({wanted, kMaxBlocks, rows_}));
}

template <typename T>
int64_t FilterGradFiltersRows(const FilterShape& filters, SimdLevel level, const ImageShape& shape, const T* image,
                              const int32_t* selection, const T* grad, int64_t begin, int64_t end, double* sums) {
  using F = ComputeOf<T>;
  const int64_t stride = FilterStride(filters), size = filters.k * stride;
  std::fill_n(sums, size, 0.0);
  if (shape.w == 0) return kSelectionInRange;
  const ScopedFlushSubnormals flush;
  const auto [k, r, s] = filters;
  const auto& kernels = GetKernels<F>(level);
  RowCache<T> cache(shape, image, r, filters.left(), filters.right()), grad_cache(shape, grad, 1, 0, 0);
  AlignedArray<F> packed((kRun + s - 1) * r), table(size);
  std::vector<int32_t> terms(static_cast<size_t>(k), 0);
  const TapSums<F> tap_sums = {table.get(), sums, terms.data()};
  std::vector<const F*> rows(static_cast<size_t>(r)), run(static_cast<size_t>(r));
  for (int64_t row = begin; row < end; ++row) {
    const int32_t* selected = selection + row * shape.w;
    const int64_t wrong = FirstOutOfRange(selected, shape.w, k);
    if (wrong < shape.w) return row * shape.w + wrong;
    const int64_t y = row % shape.h;
    for (int64_t i = 0; i < r; ++i)
      rows[static_cast<size_t>(i)] = cache.Row(row - y + Clamp(y + i - filters.above(), shape.h));
    const F* g = grad_cache.Row(row);
    for (int64_t c = 0; c < shape.c; ++c) {
      for (int64_t x = 0; x < shape.w; x += kRun) {
        const int64_t n = std::min(kRun, shape.w - x);
        for (size_t i = 0; i < rows.size(); ++i) run[i] = rows[i] + c * cache.plane() + x;
        if (c == 0) {
          PrefetchRow(selection, row + 1, end, shape.w, x, n);
          PrefetchRow(image, row + filters.below() + 1, shape.rows(), shape.w * shape.c, x * shape.c, n * shape.c);
          PrefetchRow(grad, row + 1, end, shape.w * shape.c, x * shape.c, n * shape.c);
        }
        kernels.pack(run.data(), r, n + s - 1, packed.get());
        kernels.scatter_to_table(packed.get(), r, g + c * grad_cache.plane() + x, selected + x, n, stride, r * s,
                                 tap_sums);
      }
    }
  }
  for (int64_t i = 0; i < k; ++i) MoveToTotal(i, stride, tap_sums);
  return kSelectionInRange;
}

template <typename T>
void FilterGradFiltersReduce(const FilterShape& filters, const double* sums, int64_t blocks, int64_t begin, int64_t end,
                             T* filters_grad) {
  const ScopedFlushSubnormals flush;
  const auto [filter_count, r, s] = filters;
  const int64_t stride = FilterStride(filters), size = filter_count * stride;
  std::vector<double> total(static_cast<size_t>(stride));
  for (int64_t k = begin; k < end; ++k) {
    std::fill(total.begin(), total.end(), 0.0);
    for (int64_t block = 0; block < blocks; ++block) {
      const double* values = sums + block * size + k * stride;
      for (size_t t = 0; t < total.size(); ++t) total[t] += values[t];
    }
    for (int64_t t = 0; t < r * s; ++t) {
      filters_grad[(k * r + t % r) * s + t / r] =
          Storage<T>::Store(static_cast<ComputeOf<T>>(total[static_cast<size_t>(t)]));
    }
  }
}

#define BLADE_INSTANTIATE(T)                                                                                         \
  template int64_t FilterGradFiltersRows(const FilterShape&, SimdLevel, const ImageShape&, const T*, const int32_t*, \
                                         const T*, int64_t, int64_t, double*);                                       \
  template void FilterGradFiltersReduce(const FilterShape&, const double*, int64_t, int64_t, int64_t, T*);
BLADE_INSTANTIATE(Half)
BLADE_INSTANTIATE(BFloat16)
BLADE_INSTANTIATE(float)
BLADE_INSTANTIATE(double)
#undef BLADE_INSTANTIATE

}  // namespace blade
