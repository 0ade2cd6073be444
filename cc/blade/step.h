#ifndef BLADE_STEP_H_
#define BLADE_STEP_H_

#include <cstdint>

#include "cc/blade/filter.h"
#include "cc/blade/select.h"

namespace blade {

// A step of explicit Euler (eqs 2.1-2.6), bit for bit what SelectRows, FilterRows and the update make one after the
// other, but block by block of rows, which stay in the caches:
//
//   output = image + dt * BLADE(image), the product and the sum rounded to T.
//
// Writes rows [begin, end) of `output` and of `selection`; their values are in the bank's range: the plan, which is not
// soft and centred on pixels, has at most bank.shape().k filters. `output` must not be `image`. S is int32_t or, for at
// most 256 filters, uint8_t.
template <typename T, typename S>
void StepRows(const SelectPlan<ComputeOf<T>>& plan, const FilterBank<T>& bank, SimdLevel level, const ImageShape& shape,
              const T* image, T dt, int64_t begin, int64_t end, T* output, S* selection);

}  // namespace blade

#endif  // BLADE_STEP_H_
