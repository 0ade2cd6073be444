#ifndef BLADE_PAIRS_KERNELS_H_
#define BLADE_PAIRS_KERNELS_H_

#include <cstddef>
#include <cstdint>

#include "cc/blade/exchange.h"
#include "cc/blade/ring.h"
#include "cc/blade/simd.h"

namespace blade {

// Rows are those of a Ring.

// The pairs of 28 and of 44 neighbours (blade_tf/pairs.py), for which a level may have kernels of their own.
struct PairList {
  size_t count;
  Pair pairs[24];
};
constexpr int64_t kGreatestStep = 4;  // from a pixel to its partner, in rows
inline constexpr PairList kPairs28 = {16,
                                      {{0, 0, 0, 0, 1},
                                       {1, -1, 0, 1, 1},
                                       {2, 1, 0, -1, 1},
                                       {3, 0, -1, 0, 2},
                                       {4, 0, 0, 1, 0},
                                       {5, 0, -1, 1, 1},
                                       {6, 0, 1, 1, -1},
                                       {7, -1, 0, 2, 0},
                                       {8, 0, -1, 0, 1},
                                       {9, -1, 0, 1, 0},
                                       {10, -1, -1, 1, 1},
                                       {11, 1, -1, -1, 1},
                                       {12, 0, 0, 1, 1},
                                       {12, -1, -1, 0, 0},
                                       {13, 0, 0, -1, 1},
                                       {13, 1, -1, 0, 0}}};
inline constexpr PairList kPairs44 = {
    24, {{0, 0, 0, 0, 1},    {1, -1, 0, 1, 1},   {2, 1, 0, -1, 1},   {3, 0, -1, 0, 2},   {4, -1, -1, 1, 2},
         {5, 1, -1, -1, 2},  {6, 0, 0, 1, 0},    {7, 0, -1, 1, 1},   {8, 0, 1, 1, -1},   {9, -1, 0, 2, 0},
         {10, -1, -1, 2, 1}, {11, -1, 1, 2, -1}, {12, 0, -1, 0, 1},  {13, -1, 0, 1, 0},  {14, -1, -1, 1, 1},
         {15, 1, -1, -1, 1}, {16, -1, -2, 1, 2}, {17, 1, -2, -1, 2}, {18, -2, -1, 2, 1}, {19, 2, -1, -2, 1},
         {20, 0, 0, 1, 1},   {20, -1, -1, 0, 0}, {21, 0, 0, -1, 1},  {21, 1, -1, 0, 0}}};

// The inner loops of PairsStepRows over n pixels of a row.
template <typename F>
struct PairsStepKernels {
  // out[p * pitch + x] = table[index[x], p]; unless `weight` is null, plus weight[x] difference[index[x], p]. `table`
  // is [k, stride], the planes in aligned groups of four; with weights, the differences of a group follow it.
  void (*lookup)(const F* table, int64_t stride, int64_t planes, const int32_t* index, const F* weight, int64_t n,
                 int64_t pitch, F* out);

  // limit[x] = 1 / max(sum over the sides of c[side][x] inside[side][x], 1), where `inside` is 1 or 0.
  void (*limit)(const F* const* c, const F* const* inside, int64_t sides, int64_t n, F* limit);

  // out[x] = u[x] + dt (change / bank_dt), change = sum over the sides of c min(r[x], partner_r) (partner_u - u[x]).
  // For any sides; for all SidesOf kPairs28; for those of kPairs44.
  void (*exchange[3])(const F* const* c, const F* const* partner_r, const F* const* partner_u, int64_t sides,
                      const F* r, const F* u, F dt, F bank_dt, int64_t n, F* out);
};

BLADE_DECLARE_KERNELS(PairsStepKernels<float>)
BLADE_DECLARE_KERNELS(PairsStepKernels<double>)

}  // namespace blade

#endif  // BLADE_PAIRS_KERNELS_H_
