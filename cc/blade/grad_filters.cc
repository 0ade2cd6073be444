#include <algorithm>
#include <vector>

#include "cc/blade/filter.h"
#include "cc/blade/pair.h"
#include "cc/blade/rows.h"
#include "cc/blade/simd.h"

namespace blade {
namespace {

constexpr int64_t kMaxBlocks = 64;
constexpr int64_t kBlockPixels = 65536;

// FilterGradFiltersRows by PairKernels, for `sums` of zeros.
template <typename T, typename S>
int64_t GradFiltersPairs(const PairKernels<ComputeOf<T>>& kernels, int64_t k, const ImageShape& shape, const T* image,
                         const S* selection, const T* grad, int64_t begin, int64_t end, double* sums) {
  using F = ComputeOf<T>;
  const int64_t w = shape.w;
  PairWindow<T> window(shape, image);
  GradRows<T> grads(shape, grad);
  const PairOffsets offsets;
  const uint32_t* const offset[] = {offsets.row(0), offsets.row(1)};
  AlignedArray<F> packed(kPairRows * (kRun + kPairColumns)), tables(2 * k * kPairStride);
  int64_t wrong = kSelectionInRange, terms = 0;
  ForEachPair(shape.h, begin, end, [&](int64_t top, int64_t y, int64_t first, int64_t last) {
    const auto wanted = [&](int64_t j) { return first <= y + j && y + j < last; };
    for (int64_t x = 0; x < w; x += kRun) {
      const int64_t n = std::min(kRun, w - x);
      for (int64_t j = 0; j < 2; ++j) {
        const S* selected = wanted(j) ? selection + (top + y + j) * w + x : nullptr;
        if (!offsets.Load(kernels, selected, n, k, j)) {
          wrong = FirstWrongRow(selection, top + first, top + last, w, k);
          return false;
        }
        const int64_t next = top + y + j + 2;
        PrefetchRow(selection, next, end, w, x, n);
        PrefetchRow(image, next + 2, shape.rows(), w * shape.c, x * shape.c, n * shape.c);
        PrefetchRow(grad, next, end, w * shape.c, x * shape.c, n * shape.c);
      }
      for (int64_t c = 0; c < shape.c; ++c) {
        const F *rows[kPairRows], *values[2];
        window.Rows(top, y, c, rows);
        for (int64_t j = 0; j < 2; ++j) values[j] = wanted(j) ? grads.Row(top + y + j, c) + x : nullptr;
        kernels.pack(rows, x - 2, n + 4, w, packed.get());
        kernels.scatter_to_tables(packed.get(), values, offset, n, k, tables.get());
        terms += n;
        if (terms + kRun <= kGradFiltersTerms) continue;
        kernels.move_to_totals(k, tables.get(), sums);
        terms = 0;
      }
    }
    return true;
  });
  kernels.move_to_totals(k, tables.get(), sums);
  // To the layout that FilterGradFiltersReduce expects.
  for (int64_t i = 0; i < k; ++i) {
    double* total = sums + i * kPairStride;
    for (int64_t s = 0; s < 5; ++s) {
      for (int64_t r = 0; r < 5; ++r) total[5 * s + r] = total[PairTap(r, s)];
    }
  }
  return wrong;
}

}  // namespace

GradFiltersBlocks::GradFiltersBlocks(const ImageShape& image, const FilterShape& filters)
    : rows_(image.rows()), size_(filters.k * FilterStride(filters)) {
  // A block must be worth the table that it clears and that is added up.
  const int64_t pixels = std::max(kBlockPixels, 4 * filters.k);
  const int64_t wanted = rows_ * image.w * image.c / pixels;
  count_ = std::max<int64_t>(1, std::min({wanted, kMaxBlocks, rows_}));
}

template <typename T, typename S>
int64_t FilterGradFiltersRows(const FilterShape& filters, SimdLevel level, const ImageShape& shape, const T* image,
                              const S* selection, const T* grad, int64_t begin, int64_t end, double* sums) {
  using F = ComputeOf<T>;
  const int64_t stride = FilterStride(filters), size = filters.k * stride;
  std::fill_n(sums, size, 0.0);
  if (shape.w == 0) return kSelectionInRange;
  const ScopedFlushSubnormals flush;
  const auto [k, r, s] = filters;
  if (const PairKernels<F>* pair = PairKernelsOf<F>(filters, level))
    return GradFiltersPairs(*pair, k, shape, image, selection, grad, begin, end, sums);
  const auto& kernels = GetKernels<F>(level);
  RowCache<T> cache(shape, image, r, filters.left(), filters.right()), grad_cache(shape, grad, 1, 0, 0);
  AlignedArray<F> packed((kRun + s - 1) * r), table(size);
  std::vector<int32_t> terms(static_cast<size_t>(k), 0);
  const TapSums<F> tap_sums = {table.get(), sums, terms.data()};
  std::vector<const F*> rows(static_cast<size_t>(r)), run(static_cast<size_t>(r));
  std::vector<int32_t> wide;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t wrong = FirstOutOfRange(selection + row * shape.w, shape.w, k);
    if (wrong < shape.w) return row * shape.w + wrong;
    const int32_t* selected = WideRow(selection + row * shape.w, shape.w, &wide);
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
    for (int64_t i = 0; i < r; ++i) {
      for (int64_t j = 0; j < s; ++j) {
        filters_grad[(k * r + i) * s + j] =
            Storage<T>::Store(static_cast<ComputeOf<T>>(total[static_cast<size_t>(j * r + i)]));
      }
    }
  }
}

#define BLADE_INSTANTIATE(T)                                                                                         \
  template int64_t FilterGradFiltersRows(const FilterShape&, SimdLevel, const ImageShape&, const T*, const int32_t*, \
                                         const T*, int64_t, int64_t, double*);                                       \
  template int64_t FilterGradFiltersRows(const FilterShape&, SimdLevel, const ImageShape&, const T*, const uint8_t*, \
                                         const T*, int64_t, int64_t, double*);                                       \
  template void FilterGradFiltersReduce(const FilterShape&, const double*, int64_t, int64_t, int64_t, T*);
BLADE_INSTANTIATE(Half)
BLADE_INSTANTIATE(BFloat16)
BLADE_INSTANTIATE(float)
BLADE_INSTANTIATE(double)
#undef BLADE_INSTANTIATE

}  // namespace blade
