#ifndef BLADE_PAIR_KERNELS_H_
#define BLADE_PAIR_KERNELS_H_

#include <cstdint>

#include "cc/blade/simd.h"

namespace blade {

// The inner loops of the filter and of its two gradients for footprints of 5x5, over a run of columns of two adjacent
// rows of pixels at once.
//
// They work on a packed copy of the six image rows that the footprints of both rows cover: packed[6 x + i] is row i at
// column x. The footprint of a pixel of the first row is then in the 32 values from 6 x on, tap (r, s) at 6 s + r, and
// that of the second row in the same 32 values, tap (r, s) at 6 s + r + 1: two rows share the loads. Filters are stored
// likewise, kPairStride values apart, in two tables, one a row, zeros in the gaps; in sums over a footprint the gaps
// are left out, so that a NaN or an infinity there stays outside.
//
// `offsets` say where in a table, in bytes, each pixel's filter begins. A table of filters ends with one more, number
// k, of zeros, for pixels that do not count. Arrays of n pixels are readable, and `packed` and `offsets` writable, up
// to the next multiple of kPairColumns columns. Results depend on the level and on a pixel's column within the run, not
// on the pixels around it.
constexpr int64_t kPairRows = 6, kPairStride = 32, kPairTaps = 25, kPairColumns = 16;
constexpr int64_t PairTap(int64_t r, int64_t s) { return 6 * s + r; }
// In tables for three channels at once: whole rows in one or the other half.
constexpr int64_t ThreeTap(int64_t r, int64_t s) { return r < 3 ? 5 * r + s : 16 + 5 * (r - 3) + s; }

template <typename F>
struct PairKernels {
  // offsets[i] of selection[i], of filter k beyond n; false if one is outside [0, k), then anything.
  bool (*offsets)(const int32_t* selection, int64_t n, int64_t k, uint32_t* offsets);
  bool (*offsets8)(const uint8_t* selection, int64_t n, int64_t k, uint32_t* offsets);

  // packed[6 x + i] = rows[i][first + x] for 0 <= x < n, columns clamped to [0, width).
  void (*pack)(const F* const* rows, int64_t first, int64_t n, int64_t width, F* packed);

  // rows[i][x] += packed[6 x + i], 0 <= x < n, one row after the other: pointers in `rows` may be equal.
  void (*unpack_add)(const F* packed, int64_t n, F* const* rows);

  // out[j][x] = sum of the products of the footprint of pixel x of row j and its filter.
  void (*dot)(const F* packed, const F* const* tables, const uint32_t* const* offsets, int64_t n, F* const* out);

  // Of three channels, without a packed copy: rows[i] is row i of `width` pixels, `first` the column where the first
  // pixel's footprint begins, `table` one of ThreeTap for both rows, out[j] has room for n pixels. Null where the level
  // has none.
  void (*dot_three)(const F* const* rows, int64_t first, int64_t n, int64_t width, const F* table,
                    const uint32_t* const* offsets, F* const* out);

  // output = image + dt * output, two roundings.
  void (*update)(const F* image, F dt, int64_t n, F* output);

  // packed = the sum over the pixels of their filters times grad, n + 4 columns. `grad` is zero beyond n.
  void (*scatter_to_packed)(const F* const* grad, const F* const* tables, const uint32_t* const* offsets, int64_t n,
                            F* packed);

  // tables[j * k + selection] += footprint times grad at each pixel of row j. `grad` is null for a row that is left
  // out. Leaves anything in the gaps.
  void (*scatter_to_tables)(const F* packed, const F* const* grad, const uint32_t* const* offsets, int64_t n, int64_t k,
                            F* tables);

  // Adds both tables to the totals, in the first one's layout, and clears them.
  void (*move_to_totals)(int64_t k, F* tables, double* totals);
};

// Null where the level has none.
template <typename F>
const PairKernels<F>* GetPairKernels(SimdLevel level);

#ifdef BLADE_X86
extern const PairKernels<float> kAvx2Pair, kAvx512Pair;
void DotThreeAvx512(const float* const* rows, int64_t first, int64_t n, int64_t width, const float* table,
                    const uint32_t* const* offsets, float* const* out);
#endif

}  // namespace blade

#endif  // BLADE_PAIR_KERNELS_H_
