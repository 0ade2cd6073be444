// The arithmetic of a step of fluxes, written once with the compiler's vectors. No include guard: one source file a
// level includes it.

#include "cc/blade/flux_kernels.h"
#include "cc/blade/lanes.h"
#include "cc/blade/pair_kernels.h"

namespace blade {
namespace {

// b where a is NaN.
template <typename Real>
BLADE_INLINE Real Max(const Real& a, const Real& b) {
  return a > b ? a : b;
}
template <typename Real>
BLADE_INLINE Real Min(const Real& a, const Real& b) {
  return a < b ? a : b;
}

template <typename F>
BLADE_TARGET void DoubleWell(const F* u, int64_t n, F* out) {
  const LanesOf<F> zero = {}, low = zero - F(0.5), high = zero + F(1.5);
  for (int64_t x = 0; x < n; x += kLanes<F>) {
    const LanesOf<F> v = Load(u + x), above = v < low ? low : v, within = above > high ? high : above;
    Save(F(2) * within * (within - F(1)) * (F(2) * within - F(1)), out + x);
  }
}

template <typename F>
BLADE_INLINE F Product(const F* patch, const F* filter, int64_t size) {
  LanesOf<F> sums = {};
  for (int64_t t = 0; t < size; t += kLanes<F>) sums += Load(patch + t) * Load(filter + t);
  F sum = 0;
  for (int64_t i = 0; i < kLanes<F>; ++i) sum += sums[i];
  return sum;
}

template <int kAxis, typename F>
BLADE_TARGET void Fluxes(const FluxFaces<F>& faces, int64_t banks, bool antisymmetric, int64_t n, F* out) {
  const int64_t size = banks * (antisymmetric ? 1 : 2) * kFluxLanes;
  F patch[2 * kFluxBanks * kFluxLanes] = {};
  for (int64_t x = 0; x < n; ++x) {
    for (int64_t b = 0; b < banks; ++b) {
      const F* from = faces.packed[b] + kPairRows * x;
      F* to = patch + size / banks * b;
      for (int64_t t = 0; t < kFluxTaps; ++t) {
        const F near = from[FluxPlace(kAxis, 0, t)];
        if (antisymmetric) {
          to[t] = from[FluxPlace(kAxis, 1, kFluxTaps - 1 - t)] - near;
        } else {
          to[t] = near;
          to[kFluxLanes + t] = from[FluxPlace(kAxis, 1, t)];
        }
      }
    }
    out[x] = Product(patch, faces.table + faces.lower[x] * size, size);
    if (faces.weight == nullptr) continue;
    out[x] += faces.weight[x] * (Product(patch, faces.table + faces.upper[x] * size, size) - out[x]);
  }
}

template <typename F>
BLADE_INLINE LanesOf<F> Part(const LanesOf<F>& room, const LanesOf<F>& wanted) {
  return (room + F(1e-30)) / (Max(wanted, room) + F(1e-30));
}

template <typename F>
BLADE_TARGET void Parts(const F* u, const F* before_x, const F* flux_x, const F* before_y, const F* flux_y, F dt, F low,
                        F high, int64_t n, F* into, F* out_of) {
  const LanesOf<F> zero = {};
  for (int64_t x = 0; x < n; x += kLanes<F>) {
    const LanesOf<F> here = Load(u + x), left = Load(before_x + x), right = Load(flux_x + x);
    const LanesOf<F> above = Load(before_y + x), below = Load(flux_y + x);
    const LanesOf<F> gained = (Max(right, zero) + Max(-left, zero)) + (Max(below, zero) + Max(-above, zero));
    const LanesOf<F> lost = (Max(-right, zero) + Max(left, zero)) + (Max(-below, zero) + Max(above, zero));
    Save(Part<F>(Max(high - here, zero), dt * gained), into + x);
    Save(Part<F>(Max(here - low, zero), dt * lost), out_of + x);
  }
}

template <typename F>
BLADE_TARGET void Limit(const F* flux, const F* into_here, const F* out_of_here, const F* into_there,
                        const F* out_of_there, int64_t n, F* limited) {
  const LanesOf<F> zero = {};
  for (int64_t x = 0; x < n; x += kLanes<F>) {
    const LanesOf<F> g = Load(flux + x);
    const LanesOf<F> towards = Min(Load(into_here + x), Load(out_of_there + x));
    const LanesOf<F> away = Min(Load(out_of_here + x), Load(into_there + x));
    Save(g * (g > zero ? towards : away), limited + x);
  }
}

template <typename F>
BLADE_TARGET void Update(const F* u, const F* before_x, const F* flux_x, const F* before_y, const F* flux_y, F dt,
                         int64_t n, F* out) {
  for (int64_t x = 0; x < n; x += kLanes<F>) {
    const LanesOf<F> rate = (Load(flux_x + x) - Load(before_x + x)) + (Load(flux_y + x) - Load(before_y + x));
    Save(Load(u + x) + dt * rate, out + x);
  }
}

// What a level defines that has fluxes of its own, for float.
template <int kAxis, int kBanks, bool kAntisymmetric, bool kSoft>
BLADE_TARGET void FluxesOf(const FluxFaces<float>& faces, int64_t n, float* out);

template <int kAxis, int kBanks>
void FluxesOfBanks(const FluxFaces<float>& faces, bool antisymmetric, int64_t n, float* out) {
  const bool soft = faces.weight != nullptr;
  if (antisymmetric && soft) return FluxesOf<kAxis, kBanks, true, true>(faces, n, out);
  if (antisymmetric) return FluxesOf<kAxis, kBanks, true, false>(faces, n, out);
  if (soft) return FluxesOf<kAxis, kBanks, false, true>(faces, n, out);
  FluxesOf<kAxis, kBanks, false, false>(faces, n, out);
}

template <int kAxis>
void FluxesByCase(const FluxFaces<float>& faces, int64_t banks, bool antisymmetric, int64_t n, float* out) {
  if (banks == 1) return FluxesOfBanks<kAxis, 1>(faces, antisymmetric, n, out);
  FluxesOfBanks<kAxis, 2>(faces, antisymmetric, n, out);
}

template <typename F>
constexpr FluxKernels<F> kFluxKernels = {DoubleWell<F>, {Fluxes<0, F>, Fluxes<1, F>}, Parts<F>, Limit<F>, Update<F>};

}  // namespace
}  // namespace blade
