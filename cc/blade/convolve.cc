#include "cc/blade/convolve.h"

#include <algorithm>
#include <vector>

#include "cc/blade/convolve_kernels.h"
#include "cc/blade/ring.h"
#include "cc/blade/rows.h"

namespace blade {
namespace {

// Where position i of an extended image lies in [0, size).
int64_t Inside(Border border, int64_t i, int64_t size) {
  if (border == Border::kReplicate) return Clamp(i, size);
  return (i % size + size) % size;
}

// Rows of the sums' sources, extended along x; rows around the output's stay until it moves on.
template <typename F>
class Sources {
 public:
  // Of images of `shape`, or transposed of those of which they keep the strides' pixels. By `before` and `after`
  // pixels: the border's, or, transposed, zeros, as between the pixels that were kept.
  Sources(const ConvolveParameters& parameters, const ImageShape& shape, const F* image, int64_t before, int64_t after)
      : parameters_(parameters),
        shape_(shape),
        image_(image),
        before_(before),
        after_(after),
        ring_(parameters.r, 1, (before + shape.w + after) * shape.c),
        held_(static_cast<size_t>(2 * parameters.r)) {}  // as many slots as a ring may have

  void StartImage(int64_t n) {
    number_ = n;
    std::fill(held_.begin(), held_.end(), kNone);
  }

  // Row y of the extended image, from its first value on; null for a row of zeros.
  const F* Row(int64_t y) {
    const auto [factor, offset] = parameters_.y;
    int64_t from = Inside(parameters_.border, y, shape_.h), h = shape_.h;
    if (parameters_.transposed) {
      if (from % factor != offset) return nullptr;
      from /= factor;
      h /= factor;
    }
    F* row = ring_.Row(y);
    int64_t& held = held_[static_cast<size_t>((row - ring_.Row(0)) / ring_.pitch())];
    if (held != y) parameters_.transposed ? Spread(number_ * h + from, row) : Read(number_ * h + from, row);
    held = y;
    return row;
  }

 private:
  static constexpr int64_t kNone = INT64_MAX;

  void Read(int64_t source, F* row) const {
    const int64_t c = shape_.c, w = shape_.w;
    const F* from = image_ + source * w * c;
    std::copy_n(from, w * c, row + before_ * c);
    const auto extend = [&](int64_t x) {
      std::copy_n(from + Inside(parameters_.border, x, w) * c, c, row + (before_ + x) * c);
    };
    for (int64_t x = -before_; x < 0; ++x) extend(x);
    for (int64_t x = w; x < w + after_; ++x) extend(x);
  }

  // All else in the row has been 0 from the beginning.
  void Spread(int64_t source, F* row) const {
    const auto [factor, offset] = parameters_.x;
    const int64_t c = shape_.c, n = shape_.w / factor;
    const F* from = image_ + source * n * c;
    F* to = row + (before_ + offset) * c;
    if (factor == 1) {
      std::copy_n(from, n * c, to);
      return;
    }
    for (int64_t x = 0; x < n; ++x) std::copy_n(from + x * c, c, to + x * factor * c);
  }

  ConvolveParameters parameters_;
  ImageShape shape_;
  const F* image_;
  int64_t before_, after_;
  Ring<F> ring_;
  std::vector<int64_t> held_;
  int64_t number_ = 0;
};

}  // namespace

template <typename F>
void ConvolveRows(const ConvolveParameters& parameters, const ImageShape& shape, SimdLevel level, const F* kernel,
                  const F* image, int64_t begin, int64_t end, F* out) {
  const auto [r, s, border, transposed, stride_y, stride_x] = parameters;
  const int64_t c = shape.c, h = shape.h, w = shape.w;
  if (w * c == 0) return;
  const ScopedFlushSubnormals flush;
  const ConvolveKernels<F>& kernels = KernelsAt<ConvolveKernels<F>>(level);
  // Row i of `taps` is what a source row is correlated with, and it lies i - above rows below the output.
  const int64_t above = transposed ? (r - 1) / 2 : r / 2, before = s / 2, after = s - 1 - before;
  std::vector<F> taps(kernel, kernel + r * s);
  if (!transposed) std::reverse(taps.begin(), taps.end());
  Sources<F> sources(parameters, shape, image, transposed ? s - 1 : before, transposed ? s - 1 : after);
  std::vector<const F*> rows, of_rows;
  const auto add = [&](int64_t y, int64_t i) {
    const F* row = sources.Row(y);
    if (row == nullptr) return;
    rows.push_back(row);
    of_rows.push_back(taps.data() + i * s);
  };
  // The adjoint of an extension adds up what falls together: first along y, for the borders' rows, then along x.
  const int64_t wide = transposed ? w + s - 1 : w;
  const Ring<F> buffer(1, 1, wide * c);
  const int64_t rows_out = transposed ? h : h / stride_y.factor, columns_out = transposed ? w : w / stride_x.factor;
  for (int64_t row = begin; row < end; ++row) {
    if (row == begin || row % rows_out == 0) sources.StartImage(row / rows_out);
    const int64_t y = transposed ? row % h : stride_y.offset + stride_y.factor * (row % rows_out);
    rows.clear();
    of_rows.clear();
    for (int64_t i = 0; i < r; ++i) {
      const int64_t at = y + i - above;
      if (!transposed || border == Border::kPeriodic || (at >= 0 && at < h)) add(at, i);
    }
    if (transposed && border == Border::kReplicate) {
      // Row v sees row y in the place of rows beyond the border.
      for (int64_t i = 0; i < r; ++i) {
        const int64_t reach = i - above;  // v - y of what sees y itself
        if (y == 0) {
          for (int64_t v = 0; v < std::min(reach, h); ++v) add(v, i);
        }
        if (y == h - 1) {
          for (int64_t v = std::max<int64_t>(h + reach, 0); v < h; ++v) add(v, i);
        }
      }
    }
    F* to = out + row * columns_out * c;
    F* sums = columns_out == wide ? to : buffer.Row(0);
    kernels.correlate(rows.data(), of_rows.data(), static_cast<int64_t>(rows.size()), s, c, wide * c, sums);
    if (sums == to) continue;
    if (!transposed) {
      const F* from = sums + stride_x.offset * c;
      for (int64_t x = 0; x < columns_out; ++x) std::copy_n(from + x * stride_x.factor * c, c, to + x * c);
      continue;
    }
    std::copy_n(sums + before * c, w * c, to);
    const auto fold = [&](int64_t x) {
      F* folded = to + Inside(border, x, w) * c;
      for (int64_t k = 0; k < c; ++k) folded[k] += sums[(x + before) * c + k];
    };
    for (int64_t x = -before; x < 0; ++x) fold(x);
    for (int64_t x = w; x < w + after; ++x) fold(x);
  }
}

#define BLADE_INSTANTIATE(F)                                                                                       \
  template void ConvolveRows(const ConvolveParameters&, const ImageShape&, SimdLevel, const F*, const F*, int64_t, \
                             int64_t, F*);
BLADE_INSTANTIATE(float)
BLADE_INSTANTIATE(double)
#undef BLADE_INSTANTIATE

}  // namespace blade
