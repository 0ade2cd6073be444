#include "cc/blade/kernels.h"

namespace blade {
namespace {

template <typename F>
void Pack(const F* const* rows, int64_t r, int64_t n, F* packed) {
  PackColumns(rows, r, 0, n, packed);
}

template <typename F>
void UnpackAdd(const F* packed, int64_t r, int64_t n, F* const* rows) {
  UnpackAddColumns(packed, r, 0, n, rows);
}

template <typename F>
void Dot(const F* packed, int64_t r, const F* table, int64_t stride, int64_t taps, const int32_t* selection, int64_t n,
         F* out) {
  constexpr int64_t kLanes = 4;
  for (int64_t x = 0; x < n; ++x) {
    const F* patch = packed + x * r;
    const F* filter = table + selection[x] * stride;
    F sums[kLanes] = {};
    int64_t t = 0;
    for (; t + kLanes <= taps; t += kLanes) {
      for (int64_t lane = 0; lane < kLanes; ++lane) sums[lane] += filter[t + lane] * patch[t + lane];
    }
    F rest = 0;
    for (; t < taps; ++t) rest += filter[t] * patch[t];
    out[x] = (sums[0] + sums[2]) + (sums[1] + sums[3]) + rest;
  }
}

template <typename F>
void ScatterToPacked(const F* grad, const F* table, int64_t stride, int64_t taps, const int32_t* selection, int64_t n,
                     int64_t r, F* packed) {
  const int64_t length = StrandLength(n);
  for (int64_t i = 0; i < length; ++i) {
    for (int64_t x = i; x < n; x += length) {
      const F* filter = table + selection[x] * stride;
      F* patch = packed + x * r;
      const F g = grad[x];
      for (int64_t t = 0; t < taps; ++t) patch[t] += filter[t] * g;
    }
  }
}

template <typename F>
void ScatterToTable(const F* packed, int64_t r, const F* grad, const int32_t* selection, int64_t n, int64_t stride,
                    int64_t taps, const TapSums<F>& sums) {
  const int64_t length = StrandLength(n);
  for (int64_t i = 0; i < length; ++i) {
    for (int64_t x = i; x < n; x += length) {
      const F* patch = packed + x * r;
      const int64_t k = selection[x];
      F* filter = sums.table + k * stride;
      const F g = grad[x];
      for (int64_t t = 0; t < taps; ++t) filter[t] += patch[t] * g;
      if (++sums.terms[k] == kTermsInTable) MoveToTotal(k, stride, sums);
    }
  }
}

template <typename F>
constexpr Kernels<F> kPortable = {Pack<F>, UnpackAdd<F>, Dot<F>, ScatterToPacked<F>, ScatterToTable<F>};

}  // namespace

template <>
const Kernels<float>& GetKernels(SimdLevel level) {
#ifdef BLADE_X86
  static const Kernels<float> avx2 = WithAvx2(kPortable<float>);
  static const Kernels<float> avx512 = WithAvx512(avx2);
  if (level == SimdLevel::kAvx512) return avx512;
  if (level == SimdLevel::kAvx2) return avx2;
#endif
  static_cast<void>(level);
  return kPortable<float>;
}

template <>
const Kernels<double>& GetKernels(SimdLevel) {
  return kPortable<double>;
}

}  // namespace blade
