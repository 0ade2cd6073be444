#ifndef BLADE_PAIRS_STEP_H_
#define BLADE_PAIRS_STEP_H_

#include <cstdint>
#include <vector>

#include "cc/blade/aligned_array.h"
#include "cc/blade/exchange.h"
#include "cc/blade/select.h"
#include "cc/blade/shape.h"
#include "cc/blade/simd.h"

namespace blade {

// The greatest offset of a pair in columns; both of its offsets lie on different sides of 0, or at it, in each
// direction.
constexpr int64_t kGreatestPairReach = 7;

// The selections and the pairs of a step, made once, then read by all threads. Planes of the pairs are those of the
// x-faces, of the y-faces and of the pixels, one after the other.
template <typename F>
struct PairsPlan {
  // The centres of both parameters are of no account.
  PairsPlan(SelectParameters face, SelectParameters node, const std::vector<Pair>& pairs);

  SelectPlan<F> selections[3];  // at the x-faces, the y-faces and the pixels
  std::vector<Pair> pairs;
  int64_t base_rows, partner_rows;  // how far a pixel's conductances and its partners are from it
};

// Conductances as PairsStepKernels::lookup needs them.
template <typename F>
class PairsBank {
 public:
  // `face` and `node` are dense, [k, planes], with an entry for each bin of the selections.
  PairsBank(const PairsPlan<F>& plan, int64_t face_planes, const F* face, int64_t node_planes, const F* node);

  // Of selection i.
  int64_t planes(int64_t i) const { return bank(i).planes; }
  int64_t stride(int64_t i) const { return bank(i).stride; }
  const F* table(int64_t i) const { return bank(i).table.get(); }

 private:
  struct Bank {
    Bank(const SelectPlan<F>& selection, int64_t planes, const F* entries);
    int64_t planes, stride;
    AlignedArray<F> table;
  };
  const Bank& bank(int64_t i) const { return i < 2 ? face_ : node_; }
  Bank face_, node_;
};

// A step of explicit Euler of conservative pairs, row by row, which stay in the caches:
//
//   output = image + dt * (change / bank_dt), every operation rounded,
//
// where `change` is that of ExchangeRows (exchange.h) with the conductances of LookupRows (lookup.h) of the selections
// (select.h) of the image, bit for bit where they are finite. Writes rows [begin, end) of `output`, [n, h, w]; shape.c
// is 1. `output` must not be `image`. The selections stay within the bank's bins.
template <typename F>
void PairsStepRows(const PairsPlan<F>& plan, const PairsBank<F>& bank, SimdLevel level, const ImageShape& shape,
                   const F* image, F dt, F bank_dt, int64_t begin, int64_t end, F* output);

}  // namespace blade

#endif  // BLADE_PAIRS_STEP_H_
