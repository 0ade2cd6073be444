#include <algorithm>
#include <vector>

#include "cc/blade/filter.h"
#include "cc/blade/pair.h"
#include "cc/blade/rows.h"
#include "cc/blade/simd.h"

namespace blade {
namespace {

// The rows [begin, end) of one image's gradient while they are being summed, one plane a channel, extended by `left`
// and `right` columns that are folded back in the end. A window of `capacity` rows that moves down is enough.
template <typename T>
class RowSums {
 public:
  using F = ComputeOf<T>;

  RowSums(const ImageShape& shape, int64_t capacity, int64_t left, int64_t right)
      : shape_(shape),
        capacity_(capacity),
        left_(left),
        right_(right),
        plane_(left + shape.w + right),
        sums_((capacity + 1) * shape.c * plane_),
        ignored_(sums_.get() + capacity * shape.c * plane_) {}

  // Column -left of channel 0; channels are plane() apart.
  F* Row(int64_t row) { return sums_.get() + row % capacity_ * shape_.c * plane_; }
  F* ignored() { return ignored_; }
  int64_t plane() const { return plane_; }

  // Folds the columns beyond the border back, writes the row, and makes its place ready for another one.
  void Finish(int64_t row, T* image_grad) {
    T* to = image_grad + row * shape_.w * shape_.c;
    for (int64_t c = 0; c < shape_.c; ++c) {
      F* plane = Row(row) + c * plane_;
      F* first = plane + left_;
      F* last = first + shape_.w - 1;
      for (int64_t i = 1; i <= right_; ++i) {
        if (i <= left_) *first += first[-i];
        *last += last[i];
      }
      StorePixels(first, shape_.w, shape_.c, to + c);
      std::fill_n(plane, plane_, F(0));
    }
  }

 private:
  ImageShape shape_;
  int64_t capacity_, left_, right_, plane_;
  AlignedArray<F> sums_;
  F* ignored_;
};

// FilterGradImageRows by PairKernels. Every row takes its sums from the pairs of rows in ascending order.
template <typename T, typename S>
int64_t GradImagePairs(const FilterBank<T>& bank, const ImageShape& shape, const S* selection, const T* grad,
                       int64_t begin, int64_t end, T* image_grad) {
  using F = ComputeOf<T>;
  const PairKernels<F>& kernels = *bank.pair();
  const int64_t k = bank.shape().k, w = shape.w;
  const F* const tables[] = {bank.pair_table(0), bank.pair_table(1)};
  GradRows<T> grads(shape, grad);
  RowSums<T> sums(shape, kPairRows, 2, 2);
  const PairOffsets offsets;
  const uint32_t* const offset[] = {offsets.row(0), offsets.row(1)};
  AlignedArray<F> packed(kPairRows * (kRun + 2 * kPairColumns)), runs(2 * kRun);
  while (begin < end) {
    // Rows [first, last) of one image, which begins at row `top`, from the rows [above, below) of `grad`.
    const int64_t top = begin / shape.h * shape.h, first = begin - top, last = std::min(end - top, shape.h);
    const int64_t above = std::max<int64_t>(first - 2, 0), below = std::min(last + 2, shape.h);
    int64_t finished = first;
    for (int64_t y = above / 2 * 2; y < below; y += 2) {
      const auto wanted = [&](int64_t j) { return above <= y + j && y + j < below; };
      F* rows[kPairRows];
      for (int64_t i = 0; i < kPairRows; ++i) {
        const int64_t to = Clamp(y + i - 2, shape.h);
        rows[i] = first <= to && to < last ? sums.Row(top + to) : sums.ignored();
      }
      for (int64_t x = 0; x < w; x += kRun) {
        const int64_t n = std::min(kRun, w - x);
        for (int64_t j = 0; j < 2; ++j) {
          const S* selected = wanted(j) ? selection + (top + y + j) * w + x : nullptr;
          if (!offsets.Load(kernels, selected, n, k, j))
            return FirstWrongRow(selection, top + std::max(y, above), top + std::min(y + 2, below), w, k);
          const int64_t next = top + y + j + 2;
          PrefetchRow(selection, next, top + below, w, x, n);
          PrefetchRow(grad, next, top + below, w * shape.c, x * shape.c, n * shape.c);
          PrefetchRow(image_grad, next - 2, top + last, w * shape.c, x * shape.c, n * shape.c);
        }
        for (int64_t c = 0; c < shape.c; ++c) {
          F* run[kPairRows];
          const F* values[2];
          for (int64_t i = 0; i < kPairRows; ++i) run[i] = rows[i] + c * sums.plane() + x;
          for (int64_t j = 0; j < 2; ++j) {
            // Zeros beyond the run.
            F* padded = runs.get() + j * kRun;
            values[j] = wanted(j) ? grads.Row(top + y + j, c) + x : padded;
            if (wanted(j) && n % kPairColumns == 0) continue;
            if (wanted(j)) std::copy_n(values[j], n, padded);
            std::fill(padded + (wanted(j) ? n : 0), padded + kRun, F(0));
            values[j] = padded;
          }
          kernels.scatter_to_packed(values, tables, offset, n, packed.get());
          kernels.unpack_add(packed.get(), n + 4, run);
        }
      }
      const int64_t complete = y + 2 < below ? y : last;
      for (; finished < complete; ++finished) sums.Finish(top + finished, image_grad);
    }
    begin = top + last;
  }
  return kSelectionInRange;
}

}  // namespace

template <typename T, typename S>
int64_t FilterGradImageRows(const FilterBank<T>& bank, const ImageShape& shape, const S* selection, const T* grad,
                            int64_t begin, int64_t end, T* image_grad) {
  using F = ComputeOf<T>;
  if (shape.w == 0) return kSelectionInRange;
  const ScopedFlushSubnormals flush;
  if (bank.pair() != nullptr) return GradImagePairs(bank, shape, selection, grad, begin, end, image_grad);
  const FilterShape& filters = bank.shape();
  const auto [k, r, s] = filters;
  const auto& kernels = bank.kernels();
  RowCache<T> cache(shape, grad, 1, 0, 0);
  RowSums<T> sums(shape, r, filters.left(), filters.right());
  AlignedArray<F> packed((kRun + s - 1) * r);
  std::vector<F*> rows(static_cast<size_t>(r)), run(static_cast<size_t>(r));
  std::vector<int32_t> wide;
  while (begin < end) {
    // Rows [begin, stop) of one image, which begins at row `top`; each takes its sums from the rows of `grad` in
    // ascending order.
    const int64_t top = begin / shape.h * shape.h;
    const int64_t stop = std::min(end, top + shape.h);
    const int64_t bottom = std::min(stop + filters.above(), top + shape.h);
    int64_t finished = begin;
    for (int64_t row = std::max(begin - filters.below(), top); row < bottom; ++row) {
      const int64_t wrong = FirstOutOfRange(selection + row * shape.w, shape.w, k);
      if (wrong < shape.w) return row * shape.w + wrong;
      const int32_t* selected = WideRow(selection + row * shape.w, shape.w, &wide);
      for (int64_t i = 0; i < r; ++i) {
        const int64_t to = top + Clamp(row - top + i - filters.above(), shape.h);
        rows[static_cast<size_t>(i)] = begin <= to && to < stop ? sums.Row(to) : sums.ignored();
      }
      const F* g = cache.Row(row);
      for (int64_t c = 0; c < shape.c; ++c) {
        for (int64_t x = 0; x < shape.w; x += kRun) {
          const int64_t n = std::min(kRun, shape.w - x);
          for (size_t i = 0; i < rows.size(); ++i) run[i] = rows[i] + c * sums.plane() + x;
          if (c == 0) {
            PrefetchRow(selection, row + 1, bottom, shape.w, x, n);
            PrefetchRow(grad, row + 1, bottom, shape.w * shape.c, x * shape.c, n * shape.c);
            PrefetchRow(image_grad, row + 1, stop, shape.w * shape.c, x * shape.c, n * shape.c);
          }
          std::fill_n(packed.get(), (n + s - 1) * r, F(0));
          kernels.scatter_to_packed(g + c * cache.plane() + x, bank.table(), bank.stride(), r * s, selected + x, n, r,
                                    packed.get());
          kernels.unpack_add(packed.get(), r, n + s - 1, run.data());
        }
      }
      const int64_t complete = row + 1 < bottom ? row - filters.above() + 1 : stop;
      for (; finished < complete; ++finished) sums.Finish(finished, image_grad);
    }
    begin = stop;
  }
  return kSelectionInRange;
}

#define BLADE_INSTANTIATE(T)                                                                                       \
  template int64_t FilterGradImageRows(const FilterBank<T>&, const ImageShape&, const int32_t*, const T*, int64_t, \
                                       int64_t, T*);                                                               \
  template int64_t FilterGradImageRows(const FilterBank<T>&, const ImageShape&, const uint8_t*, const T*, int64_t, \
                                       int64_t, T*);
BLADE_INSTANTIATE(Half)
BLADE_INSTANTIATE(BFloat16)
BLADE_INSTANTIATE(float)
BLADE_INSTANTIATE(double)
#undef BLADE_INSTANTIATE

}  // namespace blade
