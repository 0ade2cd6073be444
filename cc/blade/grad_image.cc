#include <algorithm>
#include <vector>

#include "cc/blade/filter.h"
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

}  // namespace

template <typename T>
int64_t FilterGradImageRows(const FilterBank<T>& bank, const ImageShape& shape, const int32_t* selection, const T* grad,
                            int64_t begin, int64_t end, T* image_grad) {
  using F = ComputeOf<T>;
  if (shape.w == 0) return kSelectionInRange;
  const ScopedFlushSubnormals flush;
  const FilterShape& filters = bank.shape();
  const auto [k, r, s] = filters;
  const auto& kernels = bank.kernels();
  RowCache<T> cache(shape, grad, 1, 0, 0);
  RowSums<T> sums(shape, r, filters.left(), filters.right());
  AlignedArray<F> packed((kRun + s - 1) * r);
  std::vector<F*> rows(static_cast<size_t>(r)), run(static_cast<size_t>(r));
  while (begin < end) {
    // Rows [begin, stop) of one image, which begins at row `top`; each takes its sums from the rows of `grad` in
    // ascending order.
    const int64_t top = begin / shape.h * shape.h;
    const int64_t stop = std::min(end, top + shape.h);
    const int64_t bottom = std::min(stop + filters.above(), top + shape.h);
    int64_t finished = begin;
    for (int64_t row = std::max(begin - filters.below(), top); row < bottom; ++row) {
      const int32_t* selected = selection + row * shape.w;
      const int64_t wrong = FirstOutOfRange(selected, shape.w, k);
      if (wrong < shape.w) return row * shape.w + wrong;
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
                                       int64_t, T*);
BLADE_INSTANTIATE(Half)
BLADE_INSTANTIATE(BFloat16)
BLADE_INSTANTIATE(float)
BLADE_INSTANTIATE(double)
#undef BLADE_INSTANTIATE

}  // namespace blade
