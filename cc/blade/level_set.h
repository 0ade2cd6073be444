#ifndef BLADE_LEVEL_SET_H_
#define BLADE_LEVEL_SET_H_

#include <cstdint>

#include "cc/blade/simd.h"

namespace blade {

// A level set is dense [n, h, w], its image dense [n, channels, h, w]. "Rows" are the n * h rows of all level sets.
struct LevelSetShape {
  int64_t n, channels, h, w;
  constexpr int64_t rows() const { return n * h; }
  // Of a row, and of a level set: see LevelSetRowSums.
  constexpr int64_t sums() const { return 4 + 3 * channels; }
};

// For each of the rows [begin, end) of a level set phi, sums over its pixels: where phi > 0 the number of pixels; of
// H(phi) = 1/2 + arctan(phi) / pi, to 3e-8; of its gradient's length, H'(phi) |grad phi| by central differences,
// borders replicated; of (phi - before)^2; then for each channel of f where phi > 0; of H(phi) f; of H(phi) f^2. Taken
// in an order that does not depend on the level. Writes row's sums to `sums` + row * shape.sums().
template <typename F>
void LevelSetRowSums(const LevelSetShape& shape, SimdLevel level, const F* phi, const F* before, const F* f,
                     int64_t begin, int64_t end, double* sums);

// Those of the rows of each level set together, [n, shape.sums()].
void LevelSetSums(const LevelSetShape& shape, const double* of_rows, double* sums);

}  // namespace blade

#endif  // BLADE_LEVEL_SET_H_
