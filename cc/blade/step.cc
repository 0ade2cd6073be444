#include "cc/blade/step.h"

#include <algorithm>
#include <deque>
#include <optional>

#include "cc/blade/pair_filter.h"
#include "cc/blade/strip.h"

namespace blade {
namespace {

// Rows at a time: few enough for the caches, enough for the strips of the selection to be worth their turns.
constexpr int64_t kBlockRows = 8;

}  // namespace

template <typename T, typename S>
void StepRows(const SelectPlan<ComputeOf<T>>& plan, const FilterBank<T>& bank, SimdLevel level, const ImageShape& shape,
              const T* image, T dt, int64_t begin, int64_t end, T* output, S* selection) {
  if (shape.w == 0) return;
  const ScopedFlushSubnormals flush;
  std::deque<Strip<T, S>> strips;
  for (int64_t left = 0; left < shape.w; left += kStrip) strips.emplace_back(plan, level, shape, shape.h, shape.w);
  std::optional<PairFilter<T>> pairs;
  if (bank.pair() != nullptr) pairs.emplace(bank, shape, image);
  while (begin < end) {
    const int64_t top = begin / shape.h * shape.h, last = std::min(end - top, shape.h);
    const Selected<T, S> selected = {selection + top * shape.w, nullptr, nullptr};
    int64_t left = 0;
    for (Strip<T, S>& strip : strips) {
      strip.Start(image + top * shape.w * shape.c, left, std::min(left + kStrip, shape.w), begin - top);
      left += kStrip;
    }
    for (int64_t y = begin - top; y < last;) {
      const int64_t stop = std::min((y / kBlockRows + 1) * kBlockRows, last);
      for (Strip<T, S>& strip : strips) strip.Run(stop, selected);
      if (pairs) {
        pairs->Run(selection, top + y, top + stop, &dt, output);
      } else {
        const int64_t from = (top + y) * shape.w * shape.c;
        FilterRows(bank, shape, image, selection, top + y, top + stop, output);
        UpdatePixels(image + from, dt, (stop - y) * shape.w * shape.c, output + from);
      }
      y = stop;
    }
    begin = top + last;
  }
}

#define BLADE_INSTANTIATE(T, S)                                                                               \
  template void StepRows(const SelectPlan<ComputeOf<T>>&, const FilterBank<T>&, SimdLevel, const ImageShape&, \
                         const T*, T, int64_t, int64_t, T*, S*);
BLADE_INSTANTIATE(Half, int32_t)
BLADE_INSTANTIATE(Half, uint8_t)
BLADE_INSTANTIATE(BFloat16, int32_t)
BLADE_INSTANTIATE(BFloat16, uint8_t)
BLADE_INSTANTIATE(float, int32_t)
BLADE_INSTANTIATE(float, uint8_t)
BLADE_INSTANTIATE(double, int32_t)
BLADE_INSTANTIATE(double, uint8_t)
#undef BLADE_INSTANTIATE

}  // namespace blade
