#ifndef BLADE_PAIR_H_
#define BLADE_PAIR_H_

#include <algorithm>
#include <cstdint>
#include <optional>

#include "cc/blade/filter.h"
#include "cc/blade/rows.h"

// What the filter, its gradients and the step share where they process two rows at a time (pair_kernels.h). The rows of
// an image are paired from its top, whatever rows a caller asks for: results do not depend on that.

namespace blade {

// The rows of an image that the footprints of two of its rows cover, one plane a channel. Without a copy where T is the
// type of computation and there is one channel.
template <typename T>
class PairWindow {
 public:
  using F = ComputeOf<T>;

  PairWindow(const ImageShape& shape, const T* image) : shape_(shape), image_(image) {
    if (!kDirect || shape.c != 1) cache_.emplace(shape, image, kPairRows, 0, 0);
  }

  // `rows` of channel c for rows y and y + 1 of the image that begins at row `top`.
  void Rows(int64_t top, int64_t y, int64_t c, const F** rows) {
    for (int64_t i = 0; i < kPairRows; ++i) {
      const int64_t row = top + Clamp(y + i - 2, shape_.h);
      if constexpr (kDirect) {
        if (!cache_) {
          rows[i] = image_ + row * shape_.w;
          continue;
        }
      }
      rows[i] = cache_->Row(row) + c * cache_->plane();
    }
  }

 private:
  static constexpr bool kDirect = std::is_same_v<T, F>;
  ImageShape shape_;
  const T* image_;
  std::optional<RowCache<T>> cache_;
};

// Rows of a gradient, one plane a channel, likewise.
template <typename T>
class GradRows {
 public:
  using F = ComputeOf<T>;

  GradRows(const ImageShape& shape, const T* grad) : shape_(shape), grad_(grad) {
    if (!kDirect || shape.c != 1) cache_.emplace(shape, grad, 2, 0, 0);
  }

  const F* Row(int64_t row, int64_t c) {
    if constexpr (kDirect) {
      if (!cache_) return grad_ + row * shape_.w;
    }
    return cache_->Row(row) + c * cache_->plane();
  }

 private:
  static constexpr bool kDirect = std::is_same_v<T, F>;
  ImageShape shape_;
  const T* grad_;
  std::optional<RowCache<T>> cache_;
};

// The filters' offsets of runs of two rows of pixels.
class PairOffsets {
 public:
  PairOffsets() : data_(2 * kRun) {}

  uint32_t* row(int64_t j) const { return data_.get() + j * kRun; }

  // False if a value of the n selections of row j is outside [0, k). `selection` is null for a row that is not wanted.
  template <typename F>
  bool Load(const PairKernels<F>& kernels, const int32_t* selection, int64_t n, int64_t k, int64_t j) const {
    return LoadWith(kernels.offsets, selection, n, k, j);
  }
  template <typename F>
  bool Load(const PairKernels<F>& kernels, const uint8_t* selection, int64_t n, int64_t k, int64_t j) const {
    return LoadWith(kernels.offsets8, selection, n, k, j);
  }

 private:
  template <typename S>
  bool LoadWith(bool (*offsets)(const S*, int64_t, int64_t, uint32_t*), const S* selection, int64_t n, int64_t k,
                int64_t j) const {
    if (selection != nullptr) return offsets(selection, n, k, row(j));
    std::fill_n(row(j), kRun, static_cast<uint32_t>(k * kPairStride * static_cast<int64_t>(sizeof(float))));
    return true;
  }
  AlignedArray<uint32_t> data_;
};

// Calls work(top, y, first, last) for each pair of rows y, y + 1 of the image that begins at row `top`, of which rows
// [first, last) of that image are among rows [begin, end) of all images together.
template <typename Work>
void ForEachPair(int64_t h, int64_t begin, int64_t end, const Work& work) {
  while (begin < end) {
    const int64_t top = begin / h * h, first = begin - top, last = std::min(end - top, h);
    for (int64_t y = first / 2 * 2; y < last; y += 2) {
      if (!work(top, y, std::max(y, first), std::min(y + 2, last))) return;
    }
    begin = top + last;
  }
}

}  // namespace blade

#endif  // BLADE_PAIR_H_
