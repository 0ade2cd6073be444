#ifndef BLADE_KERNELS_H_
#define BLADE_KERNELS_H_

#include <cstdint>

#include "cc/blade/simd.h"

namespace blade {

// Sums of many products: a few at a time in F, then in double. Both tables have the layout of the filters; terms[k]
// counts the pixels that table[k] contains.
template <typename F>
struct TapSums {
  F* table;
  double* total;
  int32_t* terms;
};
constexpr int32_t kTermsInTable = 64;

// Moves table[k] to total[k].
template <typename F>
void MoveToTotal(int64_t k, int64_t stride, const TapSums<F>& sums) {
  F* table = sums.table + k * stride;
  double* total = sums.total + k * stride;
  for (int64_t t = 0; t < stride; ++t) {
    total[t] += static_cast<double>(table[t]);
    table[t] = 0;
  }
  sums.terms[k] = 0;
}

// The inner loops of the filter and of its two gradients, over a run of pixels of one row and one channel.
//
// All three work on a packed copy of the R image rows that the row's footprints cover, interleaved column by column:
// packed[x * R + r] is row r at column x. The footprint of pixel x is then the R * S contiguous values from x * R on,
// tap (r, s) at s * R + r. Filters are stored in that order too, `stride` values apart, aligned to 64 bytes, stride a
// multiple of 16, zeros between R * S and stride. Nothing that a footprint does not contain is ever multiplied into a
// result, so a NaN or an infinity stays within its stencil.
//
// `taps` is R * S, at least 1. selection[i] * stride must lie within the table. The order of all sums depends on R, S,
// n and the level alone.
template <typename F>
struct Kernels {
  // packed[x * R + r] = rows[r][x], 0 <= x < n.
  void (*pack)(const F* const* rows, int64_t r, int64_t n, F* packed);

  // rows[r][x] += packed[x * R + r], 0 <= x < n, one r after the other: pointers in `rows` may be equal.
  void (*unpack_add)(const F* packed, int64_t r, int64_t n, F* const* rows);

  // out[x] = sum_t table[selection[x]][t] * packed[x * R + t], 0 <= x < n.
  void (*dot)(const F* packed, int64_t r, const F* table, int64_t stride, int64_t taps, const int32_t* selection,
              int64_t n, F* out);

  // packed[x * R + t] += table[selection[x]][t] * grad[x], 0 <= x < n.
  void (*scatter_to_packed)(const F* grad, const F* table, int64_t stride, int64_t taps, const int32_t* selection,
                            int64_t n, int64_t r, F* packed);

  // sums.table[selection[x]][t] += packed[x * R + t] * grad[x], 0 <= x < n. Leaves anything between taps and stride.
  void (*scatter_to_table)(const F* packed, int64_t r, const F* grad, const int32_t* selection, int64_t n,
                           int64_t stride, int64_t taps, const TapSums<F>& sums);
};

// The kernels of `level`. Of double there is the portable level alone.
template <typename F>
const Kernels<F>& GetKernels(SimdLevel level);

#ifdef BLADE_X86
// `kernels` with those replaced that the level does better.
Kernels<float> WithAvx2(Kernels<float> kernels);
Kernels<float> WithAvx512(Kernels<float> kernels);
#endif

// The two simplest ones, also for the columns [begin, n) that a vector is too long for.
template <typename F>
void PackColumns(const F* const* rows, int64_t r, int64_t begin, int64_t n, F* packed) {
  for (int64_t i = 0; i < r; ++i) {
    for (int64_t x = begin; x < n; ++x) packed[x * r + i] = rows[i][x];
  }
}

template <typename F>
void UnpackAddColumns(const F* packed, int64_t r, int64_t begin, int64_t n, F* const* rows) {
  for (int64_t i = 0; i < r; ++i) {
    for (int64_t x = begin; x < n; ++x) rows[i][x] += packed[x * r + i];
  }
}

// Consecutive pixels write to overlapping places, and a load that overlaps a store still in flight stalls. The scatter
// kernels therefore visit n pixels in kStrands interleaved runs: for i in [0, StrandLength(n)), for j in [0, kStrands),
// pixel j * StrandLength(n) + i where that is below n.
constexpr int64_t kStrands = 16;
constexpr int64_t StrandLength(int64_t n) { return (n + kStrands - 1) / kStrands; }

}  // namespace blade

#endif  // BLADE_KERNELS_H_
