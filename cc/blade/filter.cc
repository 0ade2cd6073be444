#include "cc/blade/filter.h"

#include <algorithm>
#include <vector>

#include "cc/blade/pair_filter.h"
#include "cc/blade/rows.h"
#include "cc/blade/simd.h"

namespace blade {
namespace {

// With the footprint known to the compiler the copy is 25 loads and stores, which small images would notice otherwise.
template <int64_t kR, int64_t kS, typename T>
void CopyFilters(const FilterShape& shape, const T* filters, int64_t stride, ComputeOf<T>* table) {
  const int64_t r = kR > 0 ? kR : shape.r, s = kS > 0 ? kS : shape.s;
  for (int64_t k = 0; k < shape.k; ++k) {
    for (int64_t i = 0; i < r; ++i) {
      for (int64_t j = 0; j < s; ++j) table[k * stride + j * r + i] = Storage<T>::Load(filters[(k * r + i) * s + j]);
    }
  }
}

template <typename T>
void CopyPairFilters(const FilterShape& shape, const T* filters, ComputeOf<T>* tables) {
  const int64_t size = (shape.k + 1) * kPairStride;
  for (int64_t k = 0; k < shape.k; ++k) {
    for (int64_t r = 0; r < 5; ++r) {
      for (int64_t s = 0; s < 5; ++s)
        tables[k * kPairStride + PairTap(r, s)] = Storage<T>::Load(filters[(k * 5 + r) * 5 + s]);
    }
  }
  std::copy_n(tables, size - 1, tables + size + 1);
}

}  // namespace

template <typename T>
FilterBank<T>::FilterBank(const FilterShape& shape, const T* filters, SimdLevel level)
    : shape_(shape),
      kernels_(&GetKernels<F>(level)),
      pair_(PairKernelsOf<F>(shape, level)),
      stride_(FilterStride(shape)),
      table_(pair_ != nullptr ? 2 * (shape.k + 1) * kPairStride : shape.k * stride_) {
  if (pair_ != nullptr) {
    CopyPairFilters(shape, filters, table_.get());
  } else if (shape.r == 5 && shape.s == 5) {
    CopyFilters<5, 5>(shape, filters, stride_, table_.get());
  } else {
    CopyFilters<0, 0>(shape, filters, stride_, table_.get());
  }
}

template <typename T, typename S>
int64_t FilterRows(const FilterBank<T>& bank, const ImageShape& shape, const T* image, const S* selection,
                   int64_t begin, int64_t end, T* output) {
  using F = ComputeOf<T>;
  if (shape.w == 0) return kSelectionInRange;
  const ScopedFlushSubnormals flush;
  if (bank.pair() != nullptr)
    return PairFilter<T>(bank, shape, image).Run(selection, begin, end, /*dt=*/nullptr, output);
  const FilterShape& filters = bank.shape();
  const auto [k, r, s] = filters;
  const auto& kernels = bank.kernels();
  RowCache<T> cache(shape, image, r, filters.left(), filters.right());
  AlignedArray<F> packed((kRun + s - 1) * r);
  std::vector<const F*> rows(static_cast<size_t>(r)), run(static_cast<size_t>(r));
  std::vector<int32_t> wide;
  F out[kRun];
  for (int64_t row = begin; row < end; ++row) {
    const int64_t wrong = FirstOutOfRange(selection + row * shape.w, shape.w, k);
    if (wrong < shape.w) return row * shape.w + wrong;
    const int32_t* selected = WideRow(selection + row * shape.w, shape.w, &wide);
    const int64_t y = row % shape.h;
    for (int64_t i = 0; i < r; ++i)
      rows[static_cast<size_t>(i)] = cache.Row(row - y + Clamp(y + i - filters.above(), shape.h));
    for (int64_t c = 0; c < shape.c; ++c) {
      for (int64_t x = 0; x < shape.w; x += kRun) {
        const int64_t n = std::min(kRun, shape.w - x);
        for (size_t i = 0; i < rows.size(); ++i) run[i] = rows[i] + c * cache.plane() + x;
        if (c == 0) {
          PrefetchRow(selection, row + 1, end, shape.w, x, n);
          PrefetchRow(image, row + filters.below() + 1, shape.rows(), shape.w * shape.c, x * shape.c, n * shape.c);
          PrefetchRow(output, row + 1, end, shape.w * shape.c, x * shape.c, n * shape.c);
        }
        kernels.pack(run.data(), r, n + s - 1, packed.get());
        kernels.dot(packed.get(), r, bank.table(), bank.stride(), r * s, selected + x, n, out);
        StorePixels(out, n, shape.c, output + (row * shape.w + x) * shape.c + c);
      }
    }
  }
  return kSelectionInRange;
}

#define BLADE_INSTANTIATE(T)                                                                                       \
  template class FilterBank<T>;                                                                                    \
  template int64_t FilterRows(const FilterBank<T>&, const ImageShape&, const T*, const int32_t*, int64_t, int64_t, \
                              T*);                                                                                 \
  template int64_t FilterRows(const FilterBank<T>&, const ImageShape&, const T*, const uint8_t*, int64_t, int64_t, T*);
BLADE_INSTANTIATE(Half)
BLADE_INSTANTIATE(BFloat16)
BLADE_INSTANTIATE(float)
BLADE_INSTANTIATE(double)
#undef BLADE_INSTANTIATE

}  // namespace blade
