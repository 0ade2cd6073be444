#ifndef BLADE_PAIR_FILTER_H_
#define BLADE_PAIR_FILTER_H_

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "cc/blade/pair.h"

namespace blade {

// FilterRows by PairKernels, and the update of a step.
template <typename T>
class PairFilter {
 public:
  using F = ComputeOf<T>;

  PairFilter(const FilterBank<T>& bank, const ImageShape& shape, const T* image)
      : bank_(bank),
        shape_(shape),
        image_(image),
        values_(shape.c == 3 && bank.pair()->dot_three != nullptr ? 3 : 1),
        window_({shape.n, shape.h, shape.w * values_, shape.c / values_}, image),
        threes_(values_ == 3 ? (bank.shape().k + 1) * kPairStride : 0),
        packed_(kPairRows * (kRun + kPairColumns)),
        planes_(2 * shape.c * kRun) {
    for (int64_t k = 0; values_ == 3 && k < bank.shape().k; ++k) {
      for (int64_t r = 0; r < 5; ++r) {
        for (int64_t s = 0; s < 5; ++s)
          threes_.get()[k * kPairStride + ThreeTap(r, s)] = bank.pair_table(0)[k * kPairStride + PairTap(r, s)];
      }
    }
  }

  // Writes rows [begin, end) of `output`: what the filters give, or, if dt is not null, image + dt times that, rounded
  // twice. Returns as FilterRows does.
  template <typename S>
  int64_t Run(const S* selection, int64_t begin, int64_t end, const T* dt, T* output) {
    const PairKernels<F>& kernels = *bank_.pair();
    const int64_t k = bank_.shape().k, w = shape_.w, channels = shape_.c, planes = channels / values_;
    const bool direct = kDirect && planes == 1;
    const F* const tables[] = {bank_.pair_table(0), bank_.pair_table(1)};
    const uint32_t* const offset[] = {offsets_.row(0), offsets_.row(1)};
    int64_t wrong = kSelectionInRange;
    ForEachPair(shape_.h, begin, end, [&](int64_t top, int64_t y, int64_t first, int64_t last) {
      const auto wanted = [&](int64_t j) { return first <= y + j && y + j < last; };
      for (int64_t x = 0; x < w; x += kRun) {
        const int64_t n = std::min(kRun, w - x);
        for (int64_t j = 0; j < 2; ++j) {
          const int64_t row = top + y + j, next = row + 2;
          if (!offsets_.Load(kernels, wanted(j) ? selection + row * w + x : nullptr, n, k, j)) {
            wrong = FirstWrongRow(selection, top + first, top + last, w, k);
            return false;
          }

          PrefetchRow(selection, next, end, w, x, n);
          PrefetchRow(image_, next + 2, shape_.rows(), w * channels, x * channels, n * channels);
          PrefetchRow(output, next, end, w * channels, x * channels, n * channels);
        }
        for (int64_t plane = 0; plane < planes; ++plane) {
          const F* rows[kPairRows];
          F* out[2];
          window_.Rows(top, y, plane, rows);
          for (int64_t j = 0; j < 2; ++j) {
            out[j] = planes_.get() + (j * planes + plane) * values_ * kRun;
            if constexpr (kDirect) {
              if (direct && wanted(j)) out[j] = output + ((top + y + j) * w + x) * channels;
            }
          }
          if (values_ == 3) {
            kernels.dot_three(rows, x - 2, n, w, threes_.get(), offset, out);
          } else {
            kernels.pack(rows, x - 2, n + 4, w, packed_.get());
            kernels.dot(packed_.get(), tables, offset, n, out);
          }
        }
        for (int64_t j = 0; j < 2; ++j) {
          if (!wanted(j)) continue;
          const int64_t at = ((top + y + j) * w + x) * channels;
          if (!direct) {
            const int64_t stride = values_ * kRun;
            JoinPixels(planes_.get() + j * planes * stride, stride, n * values_, planes, output + at);
          }
          if (dt == nullptr) continue;
          if constexpr (kDirect) {
            kernels.update(image_ + at, *dt, n * channels, output + at);
          } else {
            UpdatePixels(image_ + at, *dt, n * channels, output + at);
          }
        }
      }
      return true;
    });
    return wrong;
  }

 private:
  static constexpr bool kDirect = std::is_same_v<T, F>;

  const FilterBank<T>& bank_;
  const ImageShape shape_;
  const T* image_;
  // Of a column of a plane: three where the kernels take three channels side by side, as they are in the image.
  const int64_t values_;
  PairWindow<T> window_;
  AlignedArray<F> threes_;
  const PairOffsets offsets_;
  AlignedArray<F> packed_, planes_;
};

}  // namespace blade

#endif  // BLADE_PAIR_FILTER_H_
