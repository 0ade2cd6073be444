#ifndef BLADE_SHAPE_H_
#define BLADE_SHAPE_H_

#include <cstdint>

namespace blade {

// An image is dense [n, h, w, c], a selection dense [n, h, w]. "Rows" below are the n * h rows of all images together.
struct ImageShape {
  int64_t n, h, w, c;
  constexpr int64_t rows() const { return n * h; }
};

// A filter bank is dense [k, r, s], r and s at least 1. A footprint has its pixel in the middle, or left of or above
// the middle where the size is even.
struct FilterShape {
  int64_t k, r, s;
  constexpr int64_t taps() const { return r * s; }
  constexpr int64_t above() const { return (r - 1) / 2; }
  constexpr int64_t below() const { return r / 2; }
  constexpr int64_t left() const { return (s - 1) / 2; }
  constexpr int64_t right() const { return s / 2; }
};

// What the row functions return where every value of the selection is in [0, k).
constexpr int64_t kSelectionInRange = -1;

}  // namespace blade

#endif  // BLADE_SHAPE_H_
