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
        window_(shape, image),
        packed_(kPairRows * (kRun + kPairColumns)),
        planes_(kDirect && shape.c == 1 ? kRun : 2 * shape.c * kRun) {}

  // Writes rows [begin, end) of `output`: what the filters give, or, if dt is not null, image + dt times that, rounded
  // twice. Returns as FilterRows does.
  template <typename S>
  int64_t Run(const S* selection, int64_t begin, int64_t end, const T* dt, T* output) {
    const PairKernels<F>& kernels = *bank_.pair();
    const int64_t k = bank_.shape().k, w = shape_.w, channels = shape_.c;
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
        for (int64_t c = 0; c < channels; ++c) {
          const F* rows[kPairRows];
          F* out[2];
          window_.Rows(top, y, c, rows);
          for (int64_t j = 0; j < 2; ++j) {
            const int64_t at = (top + y + j) * w + x;
            out[j] = planes_.get();
            if constexpr (kDirect) {
              if (channels == 1 && wanted(j)) out[j] = output + at;
            }
            if (!kDirect || channels > 1) out[j] += (j * channels + c) * kRun;
          }
          kernels.pack(rows, x - 2, n + 4, w, packed_.get());
          kernels.dot(packed_.get(), tables, offset, n, out);
        }
        for (int64_t j = 0; j < 2; ++j) {
          if (!wanted(j)) continue;
          const int64_t at = ((top + y + j) * w + x) * channels;
          if (!kDirect || channels > 1) JoinPixels(planes_.get() + j * channels * kRun, kRun, n, channels, output + at);
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
  PairWindow<T> window_;
  const PairOffsets offsets_;
  AlignedArray<F> packed_, planes_;
};

}  // namespace blade

#endif  // BLADE_PAIR_FILTER_H_
