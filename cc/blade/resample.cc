#include "cc/blade/resample.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "cc/blade/resample_kernels.h"
#include "cc/blade/rows.h"

namespace blade {
namespace {

constexpr int64_t Padded(int64_t taps) { return (taps + kResampleLanes - 1) / kResampleLanes * kResampleLanes; }

// A footprint that reaches beyond the image, or whose last pixel is the row's last, which whole quads would pass.
void CopyClamped(const FilterShape& filter, const ImageShape& shape, const float* image, int64_t x, int64_t y,
                 float* patch) {
  for (int64_t r = 0; r < filter.r; ++r) {
    const float* row = image + Clamp(y - filter.above() + r, shape.h) * shape.w * shape.c;
    for (int64_t s = 0; s < filter.s; ++s, patch += shape.c)
      std::copy_n(row + Clamp(x - filter.left() + s, shape.w) * shape.c, shape.c, patch);
  }
}

}  // namespace

ResampleBank::ResampleBank(const FilterShape& shape, int64_t monomials, const float* filters)
    : shape_(shape), monomials_(monomials), padded_(Padded(shape.taps())), data_(shape.k * monomials * padded_) {
  for (int64_t m = 0; m < monomials; ++m) {
    for (int64_t k = 0; k < shape.k; ++k, filters += shape.taps())
      std::copy_n(filters, shape.taps(), data_.get() + (k * monomials + m) * padded_);
  }
}

template <typename V, typename S>
void ResampleRows(const ResampleBank& bank, const ResampleParameters& parameters, const ImageShape& shape,
                  SimdLevel level, const float* image, const float* coefficients, const S* selection,
                  const V* displacement, int64_t begin, int64_t end, float* out) {
  const int64_t c = shape.c, h = shape.h, w = shape.w, monomials = bank.monomials();
  if (w * c == 0) return;
  const ScopedFlushSubnormals flush;
  const ResampleKernels& kernels = KernelsAt<ResampleKernels>(level);
  const FilterShape& filter = bank.shape();
  const size_t width = static_cast<size_t>(w);
  std::vector<int32_t> xs(width), ys(width);
  std::vector<float> dx(width + kResampleBatch), dy(dx);  // whole batches are read
  std::vector<uint8_t> known(width);
  const ResamplePlaces places = {xs.data(), ys.data(), dx.data(), dy.data(), known.data()};
  const AlignedArray<float> scratch((kResampleBatch + 1) * bank.padded()), weights(kResampleBatch * monomials);
  const AlignedArray<float> powers(2 * (parameters.order + 1) * kResampleBatch);
  const int64_t copied = filter.taps() * c + kResampleQuad;
  const AlignedArray<float> copies(kResampleBatch * copied), sums(kResampleBatch * c);
  ResampleBatch batch = {0, monomials, bank.padded(), filter.r, filter.s, c, {}, {}, {}, weights.get(), scratch.get()};
  // A quad of fewer channels passes the end of a footprint's last pixel.
  const int64_t right = filter.right() + (c > 1 && c < kResampleQuad ? 1 : 0);
  for (int64_t row = begin; row < end; ++row) {
    const int64_t first = row / h * h * w, y = row % h;
    const float *of_image = image + first * c, *of_coefficients = coefficients + first * c;
    const V* v = displacement + 2 * row * w;
    if constexpr (std::is_same_v<V, float>) {
      kernels.places_float(v, y, h, w, places);
    } else {
      kernels.places_double(v, y, h, w, places);
    }
    for (int64_t x = 0; x < w; x += kResampleBatch) {
      batch.count = std::min(kResampleBatch, w - x);
      kernels.monomials(dx.data() + x, dy.data() + x, parameters.order, parameters.constant, powers.get(),
                        weights.get());
      for (int64_t i = 0; i < batch.count; ++i) {
        const size_t at = static_cast<size_t>(x + i);
        const int64_t px = xs[at], py = ys[at], pixel = py * w + px;
        batch.filters[i] = bank.Filters(static_cast<int64_t>(selection[first + pixel]));
        if (py >= filter.above() && py + filter.below() < h && px >= filter.left() && px + right < w) {
          batch.patches[i] = of_coefficients + (pixel - filter.above() * w - filter.left()) * c;
          batch.pitches[i] = w * c;
        } else {
          float* copy = copies.get() + i * copied;
          CopyClamped(filter, shape, of_coefficients, px, py, copy);
          batch.patches[i] = copy;
          batch.pitches[i] = filter.s * c;
        }
      }
      kernels.sums(batch, sums.get());
      for (int64_t i = 0; i < batch.count; ++i) {
        const size_t at = static_cast<size_t>(x + i);
        const float* base = of_image + (ys[at] * w + xs[at]) * c;
        float* to = out + (row * w + x + i) * c;
        for (int64_t k = 0; k < c; ++k) to[k] = known[at] ? base[k] + sums.get()[i * c + k] : parameters.fill;
      }
    }
  }
}

#define BLADE_INSTANTIATE(V, S)                                                                            \
  template void ResampleRows(const ResampleBank&, const ResampleParameters&, const ImageShape&, SimdLevel, \
                             const float*, const float*, const S*, const V*, int64_t, int64_t, float*);
BLADE_INSTANTIATE(float, int32_t)
BLADE_INSTANTIATE(float, uint8_t)
BLADE_INSTANTIATE(double, int32_t)
BLADE_INSTANTIATE(double, uint8_t)
#undef BLADE_INSTANTIATE

}  // namespace blade
