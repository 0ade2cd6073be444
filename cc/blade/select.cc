#include "cc/blade/select.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <utility>

#include "cc/blade/rows.h"
#include "cc/blade/select_kernels.h"

namespace blade {
namespace {

// Columns at a time: the ring of smoothed rows of a strip stays in the cache nearest to the processor.
constexpr int64_t kStrip = 256;

std::string ValidateThresholds(const char* name, const std::vector<float>& thresholds, float greatest,
                               const char* range) {
  bool valid = true;
  for (size_t i = 0; i < thresholds.size(); ++i) {
    const float t = thresholds[i];
    valid = valid && std::isfinite(t) && t >= 0 && t <= greatest && (i == 0 || t > thresholds[i - 1]);
  }
  if (valid) return "";
  std::ostringstream message;
  message << name << ": expected finite, strictly ascending numbers " << range << ", got [";
  for (size_t i = 0; i < thresholds.size(); ++i) message << (i > 0 ? ", " : "") << thresholds[i];
  message << "]";
  return message.str();
}

}  // namespace

std::string ValidateSelect(const SelectParameters& p) {
  std::ostringstream message;
  if (p.orientations < 1) {
    message << "orientations: expected at least 1, got " << p.orientations;
    return message.str();
  }
  std::string error =
      ValidateThresholds("strength_thresholds", p.strength_thresholds, std::numeric_limits<float>::max(), ">= 0");
  if (error.empty()) error = ValidateThresholds("coherence_thresholds", p.coherence_thresholds, 1.0f, "in [0, 1]");
  if (!error.empty()) return error;
  constexpr float kGreatestRho = 1e4f;
  if (!(p.rho >= 0 && p.rho <= kGreatestRho)) {
    message << "rho: expected a number in [0, " << kGreatestRho << "], got " << p.rho;
    return message.str();
  }
  const double filters = static_cast<double>(p.orientations) * static_cast<double>(p.strength_thresholds.size() + 1) *
                         static_cast<double>(p.coherence_thresholds.size() + 1);
  if (filters > std::numeric_limits<int32_t>::max()) {
    message << "orientations: expected at most 2147483647 combinations of features, got " << filters;
    return message.str();
  }
  return "";
}

template <typename F>
SelectPlan<F>::SelectPlan(const SelectParameters& p)
    : orientations(p.orientations), folded(p.orientations % 4 == 0), low_edges(0) {
  const double rho = static_cast<double>(p.rho);
  const int64_t radius = static_cast<int64_t>(std::ceil(3 * rho));
  std::vector<double> gaussian;
  double sum = 0;
  for (int64_t k = 0; k <= radius; ++k) {
    const double x = static_cast<double>(k);
    gaussian.push_back(k == 0 ? 1.0 : std::exp(-x * x / (2 * rho * rho)));
    sum += k == 0 ? gaussian.back() : 2 * gaussian.back();
  }
  for (double w : gaussian) weights.push_back(static_cast<F>(w / sum));

  const double n = static_cast<double>(orientations);
  const double phase = orientations % 2 == 0 ? 0.5 : 0.25;
  for (int64_t j = 0; j < (folded ? orientations / 4 : orientations); ++j) {
    const double position = static_cast<double>(j) + phase;
    const double angle = 2 * 3.14159265358979323846 * position / n;
    edge_cos.push_back(static_cast<F>(std::cos(angle)));
    edge_sin.push_back(static_cast<F>(std::sin(angle)));
    if (2 * position < n) ++low_edges;
  }
  for (float threshold : p.strength_thresholds) {
    const double t = static_cast<double>(threshold);
    strength.push_back(static_cast<F>(2 * t * t));
  }
  for (float threshold : p.coherence_thresholds) {
    const double q = static_cast<double>(threshold);
    const double k = 2 * q / (1 + q * q);
    coherence.push_back(static_cast<F>(k * k));
  }
}

template struct SelectPlan<float>;
template struct SelectPlan<double>;

namespace {

// One strip of columns [left, right) of one image: a ring of the rows of pixels that the differences need, and one of
// the smoothed tensors that the vertical Gaussian needs.
template <typename T>
class Strip {
 public:
  using F = ComputeOf<T>;

  Strip(const SelectPlan<F>& plan, SimdLevel level, const ImageShape& shape)
      : plan_(plan),
        kernels_(GetSelectKernels<F>(level)),
        shape_(shape),
        radius_(plan.radius()),
        ring_(std::min(2 * radius_ + 1, shape.h)),
        pixel_plane_(kStrip + 2 * radius_ + 2 + kSelectSlack),
        tensor_plane_(kStrip + 2 * radius_ + kSelectSlack),
        smooth_plane_(kStrip + kSelectSlack),
        pixels_(3 * shape.c * pixel_plane_),
        tensor_(3 * tensor_plane_),
        smooth_(ring_ * 3 * smooth_plane_),
        out_(kStrip + kSelectSlack),
        window_(static_cast<size_t>(2 * radius_ + 1)) {}

  // Rows [begin, end) of the image, of which `selection` is the whole.
  void Run(const T* image, int64_t left, int64_t right, int64_t begin, int64_t end, int32_t* selection) {
    image_ = image;
    left_ = left;
    right_ = right;
    // The columns at which the tensor is needed and exists.
    first_ = std::max<int64_t>(left - radius_, 0);
    last_ = std::min(right + radius_, shape_.w);
    int64_t loaded = std::max<int64_t>(std::max<int64_t>(begin - radius_, 0) - 1, 0);
    int64_t smoothed = std::max<int64_t>(begin - radius_, 0);
    for (int64_t y = begin; y < end; ++y) {
      for (const int64_t needed = std::min(y + radius_, shape_.h - 1); smoothed <= needed; ++smoothed) {
        for (; loaded <= std::min(smoothed + 1, shape_.h - 1); ++loaded) LoadRow(loaded);
        SmoothRow(smoothed);
      }
      for (int64_t k = -radius_; k <= radius_; ++k)
        window_[static_cast<size_t>(k + radius_)] = Smooth(Clamp(y + k, shape_.h));
      PrefetchRow(image_, y + radius_ + 3, shape_.h, shape_.w * shape_.c, left * shape_.c, (right - left) * shape_.c);
      PrefetchRow(selection, y + 1, end, shape_.w, left, right - left);
      kernels_.select(window_.data() + radius_, smooth_plane_, plan_, right - left, out_.get());
      std::copy_n(out_.get(), right - left, selection + y * shape_.w + left);
    }
  }

 private:
  // Column first_ of channel 0.
  F* Pixels(int64_t y) const { return pixels_.get() + y % 3 * shape_.c * pixel_plane_ + 1; }
  F* Smooth(int64_t y) const { return smooth_.get() + y % ring_ * 3 * smooth_plane_; }

  void LoadRow(int64_t y) {
    F* planes = Pixels(y);
    const int64_t from = std::max<int64_t>(first_ - 1, 0), to = std::min(last_ + 1, shape_.w);
    LoadPixels(image_ + (y * shape_.w + from) * shape_.c, to - from, shape_.c, pixel_plane_, planes + from - first_);
    for (int64_t c = 0; c < shape_.c; ++c) {
      F* plane = planes + c * pixel_plane_;
      if (first_ == 0) plane[-1] = plane[0];
      if (last_ == shape_.w) plane[last_ - first_] = plane[last_ - first_ - 1];
    }
  }

  void SmoothRow(int64_t y) {
    F* first = tensor_.get() + first_ - (left_ - radius_);
    kernels_.tensor(Pixels(Clamp(y - 1, shape_.h)), Pixels(y), Pixels(Clamp(y + 1, shape_.h)), pixel_plane_, shape_.c,
                    last_ - first_, {first, tensor_plane_});
    for (int64_t component = 0; component < 3; ++component) {
      F* plane = tensor_.get() + component * tensor_plane_;
      F* begin = plane + first_ - (left_ - radius_);
      F* end = begin + (last_ - first_);
      std::fill(plane, begin, *begin);
      std::fill(end, plane + (right_ - left_) + 2 * radius_, *(end - 1));
    }
    kernels_.smooth({tensor_.get() + radius_, tensor_plane_}, plan_, right_ - left_, {Smooth(y), smooth_plane_});
  }

  const SelectPlan<F>& plan_;
  const SelectKernels<F>& kernels_;
  const ImageShape shape_;
  const int64_t radius_, ring_, pixel_plane_, tensor_plane_, smooth_plane_;
  AlignedArray<F> pixels_, tensor_, smooth_;
  AlignedArray<int32_t> out_;
  std::vector<const F*> window_;
  const T* image_ = nullptr;
  int64_t left_ = 0, right_ = 0, first_ = 0, last_ = 0;
};

}  // namespace

template <typename T>
void SelectRows(const SelectPlan<ComputeOf<T>>& plan, SimdLevel level, const ImageShape& shape, const T* image,
                int64_t begin, int64_t end, int32_t* selection) {
  if (shape.w == 0) return;
  const ScopedFlushSubnormals flush;
  Strip<T> strip(plan, level, shape);
  while (begin < end) {
    const int64_t n = begin / shape.h;
    const int64_t stop = std::min(end, (n + 1) * shape.h);
    for (int64_t left = 0; left < shape.w; left += kStrip) {
      strip.Run(image + n * shape.h * shape.w * shape.c, left, std::min(left + kStrip, shape.w), begin - n * shape.h,
                stop - n * shape.h, selection + n * shape.h * shape.w);
    }
    begin = stop;
  }
}

#define BLADE_INSTANTIATE(T)                                                                                          \
  template void SelectRows(const SelectPlan<ComputeOf<T>>&, SimdLevel, const ImageShape&, const T*, int64_t, int64_t, \
                           int32_t*);
BLADE_INSTANTIATE(Half)
BLADE_INSTANTIATE(BFloat16)
BLADE_INSTANTIATE(float)
BLADE_INSTANTIATE(double)
#undef BLADE_INSTANTIATE

}  // namespace blade
