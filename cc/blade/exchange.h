#ifndef BLADE_EXCHANGE_H_
#define BLADE_EXCHANGE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "cc/blade/shape.h"
#include "cc/blade/simd.h"

// Conservative, convex exchange between pairs of pixels.
//
// A pair (plane, ay, ax, by, bx) couples, for each pixel p = (y, x), the pixels a = p + (ay, ax) and b = p + (by, bx)
// with the conductance c = conductance[n, plane, p]; where a or b lies outside of the image there is none. With
//
//   D[i] = sum of the conductances of all couplings that end at i,   R[i] = 1 / max(D[i], 1),
//
//   change[i] = sum over couplings (i, j) of c min(R[i], R[j]) (u[j] - u[i]).
//
// What one pixel gains the other loses, bit for bit; and where c >= 0, u + t change is a convex combination of pixels
// for 0 <= t <= 1, since the coefficients of a pixel's partners sum to at most D[i] R[i] <= 1.
//
// All arrays are planar and dense: images [n, channels, h, w], conductances [n, planes, h, w], limits R [n, h, w]. Rows
// [begin, end) are those of all n images together; functions may run at the same time on disjoint ranges, and results
// depend neither on them nor on the level. Subnormal numbers count as zero.

namespace blade {

struct Pair {
  int64_t plane, ay, ax, by, bx;
};

// One direction of a pair: the pixel at `own`, relative to the pair's own pixel, exchanges with the one at `other`.
struct PairSide {
  int64_t plane, own_y, own_x, other_y, other_x;
  bool is_a;  // whether `own` is a

  constexpr int64_t step_y() const { return other_y - own_y; }
  constexpr int64_t step_x() const { return other_x - own_x; }
};

constexpr PairSide SideOf(const Pair& pair, bool is_a) {
  return is_a ? PairSide{pair.plane, pair.ay, pair.ax, pair.by, pair.bx, true}
              : PairSide{pair.plane, pair.by, pair.bx, pair.ay, pair.ax, false};
}

// The sides of all pairs in the order of all sums over couplings: by the partners' rows from above to below, then by
// pairs, a first.
std::vector<PairSide> SidesOf(const std::vector<Pair>& pairs);

struct ExchangeShape {
  int64_t n, channels, planes, h, w;
  int64_t rows() const { return n * h; }
};

// Five numbers a pair. Returns an error, empty for none.
std::string ParsePairs(const std::vector<int64_t>& numbers, std::vector<Pair>* pairs);

// Writes R.
template <typename F>
void ExchangeLimitRows(const ExchangeShape& shape, const std::vector<Pair>& pairs, SimdLevel level,
                       const F* conductance, int64_t begin, int64_t end, F* limit);

// Writes `change`. It is linear in the image, and its own adjoint.
template <typename F>
void ExchangeRows(const ExchangeShape& shape, const std::vector<Pair>& pairs, SimdLevel level, const F* image,
                  const F* conductance, const F* limit, int64_t begin, int64_t end, F* change);

// With g = dL/dchange: writes dL/dD, [n, h, w].
template <typename F>
void ExchangeGradSumRows(const ExchangeShape& shape, const std::vector<Pair>& pairs, SimdLevel level, const F* image,
                         const F* conductance, const F* limit, const F* grad, int64_t begin, int64_t end, F* sum_grad);

// Writes dL/dconductance from dL/dD.
template <typename F>
void ExchangeGradConductanceRows(const ExchangeShape& shape, const std::vector<Pair>& pairs, SimdLevel level,
                                 const F* image, const F* limit, const F* grad, const F* sum_grad, int64_t begin,
                                 int64_t end, F* conductance_grad);

}  // namespace blade

#endif  // BLADE_EXCHANGE_H_
