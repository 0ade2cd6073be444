#ifndef BLADE_RING_H_
#define BLADE_RING_H_

#include <cstdint>

#include "cc/blade/aligned_array.h"

namespace blade {

// At least the last `capacity` rows of [planes, w], each extended by kRingPad values on both sides; column -before is
// aligned. Kernels read and write whole vectors, up to that many values beyond a row.
constexpr int64_t kRingPad = 16;

template <typename F>
class Ring {
 public:
  Ring(int64_t capacity, int64_t planes, int64_t w, int64_t before = 0)
      : last_(PowerOfTwo(capacity) - 1),
        planes_(planes),
        pitch_((w + kRingPad - 1) / kRingPad * kRingPad + 2 * kRingPad),
        data_((last_ + 1) * planes * pitch_ + before),
        first_(data_.get() + kRingPad + before) {}

  int64_t pitch() const { return pitch_; }
  // Column 0; planes are pitch() apart.
  F* Row(int64_t y, int64_t plane = 0) const { return first_ + ((y & last_) * planes_ + plane) * pitch_; }

 private:
  // Row is called so often that a division would count.
  static int64_t PowerOfTwo(int64_t n) {
    int64_t power = 1;
    while (power < n) power *= 2;
    return power;
  }

  int64_t last_, planes_, pitch_;
  AlignedArray<F> data_;
  F* first_;
};

}  // namespace blade

#endif  // BLADE_RING_H_
