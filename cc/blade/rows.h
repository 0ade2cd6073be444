#ifndef BLADE_ROWS_H_
#define BLADE_ROWS_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "cc/blade/aligned_array.h"
#include "cc/blade/half.h"
#include "cc/blade/shape.h"
#include "cc/blade/three.h"

namespace blade {

// Pixels that the kernels process at a time: their packed copy shares a 32 KiB cache with 216 filters of 5x5.
constexpr int64_t kRun = 256;

inline int64_t Clamp(int64_t i, int64_t size) { return std::min(std::max<int64_t>(i, 0), size - 1); }

// Asks for values [begin, begin + n) of row `row`, if there is one. The arrays together exceed the near caches, and
// each row would begin by waiting for memory.
template <typename T>
void PrefetchRow(const T* image, int64_t row, int64_t rows, int64_t width, int64_t begin, int64_t n) {
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
  if (row >= rows) return;
  const T* from = image + row * width + begin;
  for (int64_t i = 0; i < n; i += kLine) __builtin_prefetch(from + i);
  asm volatile("");  // Without, GCC takes this function for one without effect, and drops the calls.
}

// The position in [0, n) of the first value outside [0, k), or n.
inline int64_t FirstOutOfRange(const uint8_t* selection, int64_t n, int64_t k) {
  return k > 255 ? n : std::find_if(selection, selection + n, [k](uint8_t value) { return value >= k; }) - selection;
}
inline int64_t FirstOutOfRange(const int32_t* selection, int64_t n, int64_t k) {
  // A value is outside where it, or its distance from the last valid one, is negative: a form that always vectorises.
  const uint32_t last = static_cast<uint32_t>(std::min<int64_t>(k, int64_t{1} << 31)) - 1;
  uint32_t any = 0;
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t value = static_cast<uint32_t>(selection[i]);
    any |= value | (last - value);
  }
  if (any >> 31 == 0) return n;
  return std::find_if(selection, selection + n, [k](int32_t value) { return value < 0 || value >= k; }) - selection;
}

// planes[c * plane + x] = row[x * channels + c], x in [0, n).
template <typename T>
void LoadPixels(const T* row, int64_t n, int64_t channels, int64_t plane, ComputeOf<T>* planes) {
  if constexpr (std::is_same_v<T, ComputeOf<T>>) {
    if (channels == 1) {
      std::memcpy(planes, row, static_cast<size_t>(n) * sizeof(T));
      return;
    }
  }
  if constexpr (std::is_same_v<T, float>) {
    if (channels == 3) return SplitThree(row, n, plane, planes);
  }
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t x = 0; x < n; ++x) planes[c * plane + x] = Storage<T>::Load(row[x * channels + c]);
  }
}

// The first wrong position in rows [begin, end) of a selection that has one.
template <typename S>
int64_t FirstWrongRow(const S* selection, int64_t begin, int64_t end, int64_t width, int64_t k) {
  return begin * width + FirstOutOfRange(selection + begin * width, (end - begin) * width, k);
}

// A row of a selection as int32: the row itself, or a copy in `buffer`.
inline const int32_t* WideRow(const int32_t* row, int64_t, std::vector<int32_t>*) { return row; }
inline const int32_t* WideRow(const uint8_t* row, int64_t n, std::vector<int32_t>* buffer) {
  buffer->assign(row, row + n);
  return buffer->data();
}

// The inverse: row[x * channels] = values[x], for the row of one channel.
template <typename T>
void StorePixels(const ComputeOf<T>* values, int64_t n, int64_t channels, T* row) {
  if constexpr (std::is_same_v<T, ComputeOf<T>>) {
    if (channels == 1) {
      std::memcpy(row, values, static_cast<size_t>(n) * sizeof(T));
      return;
    }
  }
  for (int64_t x = 0; x < n; ++x) row[x * channels] = Storage<T>::Store(values[x]);
}

// The inverse of LoadPixels.
template <typename T>
void JoinPixels(const ComputeOf<T>* planes, int64_t plane, int64_t n, int64_t channels, T* row) {
  if constexpr (std::is_same_v<T, float>) {
    if (channels == 3) return JoinThree(planes, plane, n, row);
  }
  for (int64_t c = 0; c < channels; ++c) StorePixels(planes + c * plane, n, channels, row + c);
}

// output = image + dt * output, the product and the sum rounded to T.
template <typename T>
void UpdatePixels(const T* image, T dt, int64_t n, T* output) {
  using F = ComputeOf<T>;
  const F factor = Storage<T>::Load(dt);
  for (int64_t i = 0; i < n; ++i) {
    const T change = Storage<T>::Store(factor * Storage<T>::Load(output[i]));
    output[i] = Storage<T>::Store(Storage<T>::Load(image[i]) + Storage<T>::Load(change));
  }
}

// Rows of an image in the type of computation, one plane a channel, extended by `left` and `right` replicated pixels.
// Keeps the last `capacity` rows, enough for any window of that height that moves down.
template <typename T>
class RowCache {
 public:
  using F = ComputeOf<T>;

  RowCache(const ImageShape& shape, const T* image, int64_t capacity, int64_t left, int64_t right)
      : shape_(shape),
        image_(image),
        left_(left),
        right_(right),
        plane_(left + shape.w + right),
        data_(capacity * shape.c * plane_),
        held_(static_cast<size_t>(capacity), -1) {}

  // Column -left of channel 0 of row `row`, a row of all images together; channels are plane() apart.
  const F* Row(int64_t row) {
    const int64_t slot = row % static_cast<int64_t>(held_.size());
    F* planes = data_.get() + slot * shape_.c * plane_;
    if (held_[static_cast<size_t>(slot)] != row) {
      Load(row, planes);
      held_[static_cast<size_t>(slot)] = row;
    }
    return planes;
  }

  int64_t plane() const { return plane_; }

 private:
  void Load(int64_t row, F* planes) {
    LoadPixels(image_ + row * shape_.w * shape_.c, shape_.w, shape_.c, plane_, planes + left_);
    for (int64_t c = 0; c < shape_.c; ++c) {
      F* plane = planes + c * plane_;
      std::fill_n(plane, left_, plane[left_]);
      std::fill_n(plane + left_ + shape_.w, right_, plane[left_ + shape_.w - 1]);
    }
  }

  ImageShape shape_;
  const T* image_;
  int64_t left_, right_, plane_;
  AlignedArray<F> data_;
  std::vector<int64_t> held_;
};

}  // namespace blade

#endif  // BLADE_ROWS_H_
