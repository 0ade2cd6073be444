// The arithmetic of resampling, written once with the compiler's vectors. No include guard: one source file a level
// includes it.

#include <algorithm>
#include <cmath>

#include "cc/blade/lanes.h"
#include "cc/blade/resample.h"
#include "cc/blade/resample_kernels.h"

namespace blade {
namespace {

using Real = LanesOf<float>;
typedef float Quad __attribute__((vector_size(kResampleQuad * sizeof(float))));

BLADE_INLINE Quad LoadQuad(const float* from) {
  Quad to;
  std::memcpy(&to, from, sizeof(to));
  return to;
}

template <typename V>
BLADE_INLINE void Place(V v, int32_t start, int32_t size, int32_t* pixel, float* rest) {
  const V limit = static_cast<V>(size);
  v = v < -limit ? -limit : v > limit ? limit : v;
  const V whole = std::nearbyint(v);
  const int32_t at = start + static_cast<int32_t>(whole);
  const int32_t inside = at < 0 ? 0 : at > size - 1 ? size - 1 : at;
  // Not of start + v, whose rounding grows with the image.
  const V below = static_cast<V>(-at), above = static_cast<V>(size - 1 - at), part = v - whole;
  const V kept = part < below ? below : part > above ? above : part;
  *pixel = inside;
  *rest = static_cast<float>(kept + static_cast<V>(at - inside));
}

template <typename V>
BLADE_TARGET void Places(const V* displacement, int64_t y, int64_t h, int64_t w, const ResamplePlaces& places) {
  const V most = static_cast<V>(kUnknownDisplacement);
  for (int64_t x = 0; x < w; ++x) {
    const V u = displacement[2 * x], v = displacement[2 * x + 1];
    const bool known = std::abs(u) <= most && std::abs(v) <= most;
    places.known[x] = known;
    Place(known ? u : V(0), static_cast<int32_t>(x), static_cast<int32_t>(w), places.x + x, places.dx + x);
    Place(known ? v : V(0), static_cast<int32_t>(y), static_cast<int32_t>(h), places.y + x, places.dy + x);
  }
}

// Of a batch, [monomials, kResampleBatch].
BLADE_TARGET void Monomials(const float* dx, const float* dy, int64_t order, bool constant, float* powers,
                            float* monomials) {
  constexpr int64_t n = kResampleBatch;
  float *px = powers, *py = powers + (order + 1) * n;
  std::fill_n(px, n, 1.0f);
  std::fill_n(py, n, 1.0f);
  for (int64_t k = n; k < (order + 1) * n; k += kLanes<float>) {
    Save(Load(px + k - n) * Load(dx + k % n), px + k);
    Save(Load(py + k - n) * Load(dy + k % n), py + k);
  }
  for (int64_t degree = constant ? 0 : 1; degree <= order; ++degree) {
    for (int64_t j = 0; j <= degree; ++j, monomials += n) {
      const float *x = px + (degree - j) * n, *y = py + j * n;
      for (int64_t i = 0; i < n; i += kLanes<float>) Save(Load(x + i) * Load(y + i), monomials + i);
    }
  }
}

// The filter that the monomials make of theirs, kResampleLanes taps kGroups times, or any number of times if 0.
template <int64_t kGroups>
BLADE_INLINE void Combine(const ResampleBatch& batch, int64_t i, float* filter) {
  constexpr int64_t kVectors = std::max<int64_t>(kGroups, 1) * kResampleLanes / kLanes<float>;
  const float* weights = batch.weights + i;
  for (int64_t t = 0; t < batch.padded; t += kVectors * kLanes<float>) {
    Real sums[kVectors] = {};
    const float* from = batch.filters[i] + t;
    for (int64_t k = 0; k < batch.monomials; ++k, from += batch.padded) {
      for (int64_t v = 0; v < kVectors; ++v) sums[v] += weights[k * kResampleBatch] * Load(from + v * kLanes<float>);
    }
    for (int64_t v = 0; v < kVectors; ++v) Save(sums[v], filter + t + v * kLanes<float>);
    if constexpr (kGroups > 0) return;
  }
}

// Below, footprints of kTaps x kTaps, or any if 0.
template <int64_t kTaps>
constexpr int64_t kGroups = (kTaps * kTaps + kResampleLanes - 1) / kResampleLanes;

// Of one channel. Patches are made contiguous some pixels before they are read.
template <int64_t kTaps>
BLADE_INLINE void SumsOfOne(const ResampleBatch& batch, float* out) {
  float* const filter = batch.scratch + kResampleBatch * batch.padded;
  const int64_t rows = kTaps > 0 ? kTaps : batch.r, columns = kTaps > 0 ? kTaps : batch.s;
  for (int64_t i = 0; i < batch.count; ++i) {
    float* patch = batch.scratch + i * batch.padded;
    for (int64_t r = 0; r < rows; ++r)
      std::memcpy(patch + r * columns, batch.patches[i] + r * batch.pitches[i],
                  static_cast<size_t>(columns) * sizeof(float));
  }
  for (int64_t i = 0; i < batch.count; ++i) {
    Combine<kGroups<kTaps>>(batch, i, filter);
    const float* patch = batch.scratch + i * batch.padded;
    Quad sums[kResampleLanes / kResampleQuad] = {};
    for (int64_t t = 0; t < batch.padded; t += kResampleLanes) {
      for (int64_t v = 0; v < kResampleLanes / kResampleQuad; ++v) {
        const int64_t at = t + v * kResampleQuad;
        sums[v] += LoadQuad(filter + at) * LoadQuad(patch + at);
      }
    }
    const Quad sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    out[i] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  }
}

// Of up to a quad of channels.
template <int64_t kTaps>
BLADE_INLINE void SumsOfQuad(const ResampleBatch& batch, float* out) {
  float* const filter = batch.scratch + kResampleBatch * batch.padded;
  const int64_t rows = kTaps > 0 ? kTaps : batch.r, columns = kTaps > 0 ? kTaps : batch.s;
  for (int64_t i = 0; i < batch.count; ++i) {
    Combine<kGroups<kTaps>>(batch, i, filter);
    Quad sums[2] = {};  // two chains
    for (int64_t r = 0; r < rows; ++r) {
      const float *row = batch.patches[i] + r * batch.pitches[i], *taps = filter + r * columns;
      for (int64_t s = 0; s < columns; ++s) sums[(r + s) % 2] += taps[s] * LoadQuad(row + s * batch.c);
    }
    const Quad sum = sums[0] + sums[1];
    for (int64_t c = 0; c < batch.c; ++c) out[i * batch.c + c] = sum[c];
  }
}

BLADE_INLINE void SumsOfAny(const ResampleBatch& batch, float* out) {
  float* const filter = batch.scratch + kResampleBatch * batch.padded;
  std::fill_n(out, batch.count * batch.c, 0.0f);
  for (int64_t i = 0; i < batch.count; ++i) {
    Combine<0>(batch, i, filter);
    for (int64_t t = 0; t < batch.r * batch.s; ++t) {
      const float* pixel = batch.patches[i] + t / batch.s * batch.pitches[i] + t % batch.s * batch.c;
      for (int64_t c = 0; c < batch.c; ++c) out[i * batch.c + c] += filter[t] * pixel[c];
    }
  }
}

BLADE_TARGET void AllSums(const ResampleBatch& batch, float* out) {
  const bool five = batch.r == 5 && batch.s == 5;
  if (batch.c == 1) return five ? SumsOfOne<5>(batch, out) : SumsOfOne<0>(batch, out);
  if (batch.c > kResampleQuad) return SumsOfAny(batch, out);
  five ? SumsOfQuad<5>(batch, out) : SumsOfQuad<0>(batch, out);
}

constexpr ResampleKernels kResampleKernels = {Places<float>, Places<double>, Monomials, AllSums};

}  // namespace

BLADE_DEFINE_KERNELS(ResampleKernels, kResampleKernels)

}  // namespace blade
