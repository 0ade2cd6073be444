#include "cc/blade/lookup.h"

#include <vector>

#include "cc/blade/rows.h"

namespace blade {
namespace {

template <typename F>
using Interpolate = void (*)(const F* column, const int32_t* lower, const int32_t* upper, const F* weight, int64_t n,
                             F* out);

template <typename F>
inline __attribute__((always_inline)) void InterpolateLoop(const F* __restrict column, const int32_t* __restrict lower,
                                                           const int32_t* __restrict upper, const F* __restrict weight,
                                                           int64_t n, F* __restrict out) {
  for (int64_t x = 0; x < n; ++x) {
    const F first = column[lower[x]];
    out[x] = first + weight[x] * (column[upper[x]] - first);
  }
}

template <typename F>
void Portable(const F* column, const int32_t* lower, const int32_t* upper, const F* weight, int64_t n, F* out) {
  InterpolateLoop(column, lower, upper, weight, n, out);
}

#ifdef BLADE_X86
// With gather instructions.
template <typename F>
__attribute__((target("avx512f,avx512vl"))) void Avx512(const F* column, const int32_t* lower, const int32_t* upper,
                                                        const F* weight, int64_t n, F* out) {
  InterpolateLoop(column, lower, upper, weight, n, out);
}
#endif

template <typename F>
Interpolate<F> Choose(SimdLevel level) {
#ifdef BLADE_X86
  if (level == SimdLevel::kAvx512) return Avx512<F>;
#endif
  static_cast<void>(level);
  return Portable<F>;
}

// The first wrong value of a row, as LookupRows reports it.
int64_t Check(const LookupShape& shape, const int32_t* lower, const int32_t* upper, int64_t row) {
  const int64_t from = row * shape.w;
  const int64_t in_lower = FirstOutOfRange(lower + from, shape.w, shape.k);
  if (in_lower < shape.w) return 2 * from + in_lower;
  const int64_t in_upper = FirstOutOfRange(upper + from, shape.w, shape.k);
  return in_upper < shape.w ? 2 * from + shape.w + in_upper : kSelectionInRange;
}

}  // namespace

template <typename F>
int64_t LookupRows(const LookupShape& shape, SimdLevel level, const F* table, const int32_t* lower,
                   const int32_t* upper, const F* weight, int64_t begin, int64_t end, F* out) {
  const ScopedFlushSubnormals flush;
  const Interpolate<F> interpolate = Choose<F>(level);
  // One column of the table after the other stays in the nearest cache.
  std::vector<F> columns(static_cast<size_t>(shape.planes * shape.k));
  for (int64_t k = 0; k < shape.k; ++k)
    for (int64_t p = 0; p < shape.planes; ++p)
      columns[static_cast<size_t>(p * shape.k + k)] = table[k * shape.planes + p];
  for (int64_t row = begin; row < end; ++row) {
    const int64_t wrong = Check(shape, lower, upper, row);
    if (wrong != kSelectionInRange) return wrong;
    const int64_t n = row / shape.h, y = row % shape.h, from = row * shape.w;
    for (int64_t p = 0; p < shape.planes; ++p)
      interpolate(columns.data() + p * shape.k, lower + from, upper + from, weight + from, shape.w,
                  out + ((n * shape.planes + p) * shape.h + y) * shape.w);
  }
  return kSelectionInRange;
}

template <typename F>
int64_t LookupGradRows(const LookupShape& shape, const F* table, const int32_t* lower, const int32_t* upper,
                       const F* weight, const F* grad, int64_t begin, int64_t end, double* sums, F* weight_grad) {
  const ScopedFlushSubnormals flush;
  const int64_t planes = shape.planes;
  std::fill_n(sums, shape.k * planes, 0.0);
  for (int64_t row = begin; row < end; ++row) {
    const int64_t wrong = Check(shape, lower, upper, row);
    if (wrong != kSelectionInRange) return wrong;
    const int64_t n = row / shape.h, y = row % shape.h, from = row * shape.w;
    const F* g = grad + (n * planes * shape.h + y) * shape.w;
    for (int64_t x = 0; x < shape.w; ++x) {
      const int64_t low = lower[from + x] * planes, high = upper[from + x] * planes;
      const double w = static_cast<double>(weight[from + x]);
      F slope = 0;
      for (int64_t p = 0; p < planes; ++p) {
        const F value = g[p * shape.h * shape.w + x];
        sums[low + p] += (1 - w) * static_cast<double>(value);
        sums[high + p] += w * static_cast<double>(value);
        slope += (table[high + p] - table[low + p]) * value;
      }
      weight_grad[from + x] = slope;
    }
  }
  return kSelectionInRange;
}

#define BLADE_INSTANTIATE(F)                                                                                        \
  template int64_t LookupRows(const LookupShape&, SimdLevel, const F*, const int32_t*, const int32_t*, const F*,    \
                              int64_t, int64_t, F*);                                                                \
  template int64_t LookupGradRows(const LookupShape&, const F*, const int32_t*, const int32_t*, const F*, const F*, \
                                  int64_t, int64_t, double*, F*);
BLADE_INSTANTIATE(float)
BLADE_INSTANTIATE(double)
#undef BLADE_INSTANTIATE

}  // namespace blade
