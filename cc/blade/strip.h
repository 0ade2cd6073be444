#ifndef BLADE_STRIP_H_
#define BLADE_STRIP_H_

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "cc/blade/rows.h"
#include "cc/blade/select.h"
#include "cc/blade/select_kernels.h"

// What the selection and the step share.

namespace blade {

// Columns at a time: the ring of smoothed rows of a strip stays in the cache nearest to the processor.
constexpr int64_t kStrip = 256;

// Whole images, or rows from `origin` on of one: `upper` and `weight` are null for a selection that is not soft.
template <typename T, typename S>
struct Selected {
  S* lower;
  S* upper;
  T* weight;
  int64_t origin = 0;

  Selected Image(int64_t pixels) const {
    return {lower + pixels, upper ? upper + pixels : nullptr, weight ? weight + pixels : nullptr};
  }
  void Clear(int64_t begin, int64_t end) const {
    std::fill(lower + begin, lower + end, S(0));
    if (upper == nullptr) return;
    std::fill(upper + begin, upper + end, S(0));
    std::fill(weight + begin, weight + end, Storage<T>::Store(0));
  }
};

// One strip of columns [left, right) of one image: a ring of the rows of pixels that the differences need, and one of
// the tensors that the vertical Gaussian needs. The Gaussian runs along the rows first, then along the columns; for
// kFaceY the other way round.
template <typename T, typename S>
class Strip {
 public:
  using F = ComputeOf<T>;

  // The tensor's grid is [grid_h, grid_w].
  Strip(const SelectPlan<F>& plan, SimdLevel level, const ImageShape& shape, int64_t grid_h, int64_t grid_w)
      : plan_(plan),
        kernels_(KernelsAt<SelectKernels<F>>(level)),
        shape_(shape),
        grid_h_(grid_h),
        grid_w_(grid_w),
        columns_first_(plan.center == SelectCenter::kFaceY),
        radius_(plan.radius()),
        ring_(std::min(2 * radius_ + 1, grid_h)),
        pixel_plane_(kStrip + 2 * radius_ + 2 + kSelectSlack),
        wide_plane_(kStrip + 2 * radius_ + kSelectSlack),
        plane_(kStrip + kSelectSlack),
        ring_plane_(columns_first_ ? wide_plane_ : plane_),
        pixels_(3 * shape.c * pixel_plane_),
        row_(3 * wide_plane_),
        tensors_(ring_ * 3 * ring_plane_),
        values_(plan.has_intensity() ? ring_ * plane_ : 0),
        lower_(plane_),
        upper_(plane_),
        weight_(plane_),
        across_(static_cast<size_t>(2 * radius_ + 1)),
        down_(static_cast<size_t>(2 * radius_ + 1)) {
    for (int64_t k = 0; k <= 2 * radius_; ++k) across_[static_cast<size_t>(k)] = row_.get() + k;
  }

  // To the row of the grid from which Run is to go on.
  void Start(const T* image, int64_t left, int64_t right, int64_t begin) {
    image_ = image;
    left_ = left;
    right_ = right;
    next_ = begin;
    // The columns at which the tensor is needed and exists.
    first_ = std::max<int64_t>(left - radius_, 0);
    last_ = std::min(right + radius_, grid_w_);
    loaded_ = std::max<int64_t>(std::max<int64_t>(begin - radius_, 0) - 1, 0);
    made_ = std::max<int64_t>(begin - radius_, 0);
  }

  // From the row after the last one to row end - 1 of the grid.
  void Run(int64_t end, const Selected<T, S>& selected) {
    for (; next_ < end; ++next_) {
      const int64_t y = next_;
      for (const int64_t needed = std::min(y + radius_, grid_h_ - 1); made_ <= needed; ++made_) {
        for (; loaded_ <= std::min(made_ + 1, shape_.h - 1); ++loaded_) LoadRow(loaded_);
        MakeRow(made_);
      }
      for (int64_t k = -radius_; k <= radius_; ++k)
        down_[static_cast<size_t>(k + radius_)] = Tensors(Clamp(y + k, grid_h_));
      PrefetchRow(image_, y + radius_ + 3, shape_.h, shape_.w * shape_.c, left_ * shape_.c,
                  (right_ - left_) * shape_.c);
      PrefetchRow(selected.lower, y + 1 - selected.origin, end - selected.origin, shape_.w, left_, right_ - left_);
      SelectRow(y, selected);
    }
  }

 private:
  // Column first_ of channel 0.
  F* Pixels(int64_t y) const { return pixels_.get() + y % 3 * shape_.c * pixel_plane_ + 1; }
  F* Tensors(int64_t y) const { return tensors_.get() + y % ring_ * 3 * ring_plane_; }
  F* Values(int64_t y) const { return values_.get() + y % ring_ * plane_; }

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

  void MakeRow(int64_t y) {
    const PixelRows<F> rows = {Pixels(Clamp(y - 1, shape_.h)), Pixels(y), Pixels(Clamp(y + 1, shape_.h)), pixel_plane_,
                               shape_.c};
    const int64_t before = first_ - (left_ - radius_), count = last_ - first_;
    if (plan_.has_intensity())
      kernels_.intensity[static_cast<int>(plan_.center)](rows, left_ - first_, right_ - left_, Values(y));
    if (columns_first_) {
      kernels_.tensor(rows, count, {Tensors(y) + before, wide_plane_});
    } else {
      kernels_.tensor_along[static_cast<int>(plan_.center)](rows, before, count, plan_, right_ - left_,
                                                            {row_.get(), wide_plane_}, {Tensors(y), plane_});
    }
  }

  // Replicates what row_ has in columns [first_, last_).
  void ExtendRow() {
    const int64_t begin = first_ - (left_ - radius_), end = begin + last_ - first_;
    for (int64_t component = 0; component < 3; ++component) {
      F* plane = row_.get() + component * wide_plane_;
      std::fill(plane, plane + begin, plane[begin]);
      std::fill(plane + end, plane + (right_ - left_) + 2 * radius_, plane[end - 1]);
    }
  }

  void SelectRow(int64_t y, const Selected<T, S>& selected) {
    const int64_t n = right_ - left_, at = (y - selected.origin) * shape_.w + left_;
    const F* const* rows = down_.data() + radius_;
    if (columns_first_) {
      kernels_.smooth_across(rows, wide_plane_, plan_, n + 2 * radius_, {row_.get(), wide_plane_});
      ExtendRow();
      rows = across_.data() + radius_;
    }
    const F* values = plan_.has_intensity() ? Values(y) : nullptr;
    // Kernels write whole vectors.
    const bool whole = n % kSelectSlack == 0;
    S* lower = whole ? selected.lower + at : lower_.get();
    if constexpr (std::is_same_v<S, uint8_t>) {
      kernels_.select8(rows, ring_plane_, values, plan_, n, lower);
    } else if (plan_.soft == SoftFeature::kNone) {
      kernels_.select(rows, ring_plane_, values, plan_, n, lower);
    } else {
      S* upper = whole ? selected.upper + at : upper_.get();
      kernels_.select_soft(rows, ring_plane_, values, plan_, n, {lower, upper, weight_.get()});
      if (!whole) std::copy_n(upper, n, selected.upper + at);
      StorePixels(weight_.get(), n, 1, selected.weight + at);
    }
    if (!whole) std::copy_n(lower, n, selected.lower + at);
  }

  const SelectPlan<F>& plan_;
  const SelectKernels<F>& kernels_;
  const ImageShape shape_;
  const int64_t grid_h_, grid_w_;
  const bool columns_first_;
  const int64_t radius_, ring_, pixel_plane_, wide_plane_, plane_, ring_plane_;
  AlignedArray<F> pixels_, row_, tensors_, values_;
  AlignedArray<S> lower_, upper_;
  AlignedArray<F> weight_;
  std::vector<const F*> across_, down_;
  const T* image_ = nullptr;
  int64_t left_ = 0, right_ = 0, first_ = 0, last_ = 0, loaded_ = 0, made_ = 0, next_ = 0;
};

}  // namespace blade

#endif  // BLADE_STRIP_H_
