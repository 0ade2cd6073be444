#include "cc/blade/flux_step.h"

#include <algorithm>
#include <deque>

#include "cc/blade/kernels.h"
#include "cc/blade/rows.h"
#include "cc/blade/strip.h"

namespace blade {
namespace {

constexpr int64_t kBefore = 2, kAfter = 3;  // rows and columns of a footprint from its near pixel on
constexpr int64_t kAcross = 5;              // across its long side
constexpr int64_t kSteps[] = {kAcross, 3};  // rows that are packed for x-faces, and on either side of y-faces

SelectParameters At(SelectParameters parameters, SelectCenter center) {
  parameters.center = center;
  return parameters;
}

// The last `capacity` rows of `planes` planes, extended by kFluxPad values on both sides.
template <typename F>
class Ring {
 public:
  Ring(int64_t capacity, int64_t planes, int64_t w)
      : capacity_(capacity),
        planes_(planes),
        pitch_((w + kFluxPad - 1) / kFluxPad * kFluxPad + 2 * kFluxPad),
        data_(capacity * planes * pitch_) {}

  int64_t pitch() const { return pitch_; }
  // Column 0.
  F* Row(int64_t y, int64_t plane = 0) const {
    return data_.get() + (y % capacity_ * planes_ + plane) * pitch_ + kFluxPad;
  }

 private:
  int64_t capacity_, planes_, pitch_;
  AlignedArray<F> data_;
};

template <typename F>
class Stepper {
 public:
  Stepper(const FluxPlan<F>& plan, const FluxBank<F>& bank, SimdLevel level, const ImageShape& shape,
          const std::optional<FluxLimits<F>>& limits)
      : plan_(plan),
        bank_(bank),
        kernels_(GetFluxKernels<F>(level)),
        pack_(GetKernels<F>(level).pack),
        shape_(shape),
        limits_(limits),
        pixels_(kBefore + 1 + kAfter, 1 + bank.banks(), shape.w),
        packed_x_(1, bank.banks(), kSteps[0] * (Columns() + kFluxPad)),
        packed_y_(kAfter + 1, bank.banks(), kSteps[1] * (Columns() + kFluxPad)),
        fluxes_{{2, 1, shape.w}, {2, 1, shape.w}},
        limited_{{1, 1, shape.w}, {2, 1, shape.w}},
        parts_(2, 2, shape.w),
        none_(1, 1, shape.w),
        lower_(pixels_.pitch()),
        upper_(pixels_.pitch()),
        weight_(pixels_.pitch()),
        out_(pixels_.pitch()) {
    for (int i = 0; i < 2; ++i) {
      for (int64_t left = 0; left < Faces(i); left += kStrip)
        strips_[i].emplace_back(plan.selections[i], level, shape, std::max<int64_t>(shape.h - i, 1), Faces(i));
    }
  }

  // Rows [first, last) of one image.
  void Run(const F* image, int64_t first, int64_t last, F dt, F* output) {
    // The limits of a row's fluxes depend on those of its neighbours.
    const int64_t halo = limits_ ? 1 : 0, begin = std::max<int64_t>(first - 1 - halo, 0);
    image_ = image;
    loaded_ = std::max<int64_t>(begin - kBefore, 0);
    packed_ = begin;
    for (int i = 0; i < 2; ++i) {
      int64_t left = 0;
      for (auto& strip : strips_[i]) {
        strip.Start(image, left, std::min(left + kStrip, Faces(i)), begin);
        left += kStrip;
      }
    }
    for (int64_t y = begin; y < last + halo; ++y) {
      if (y < shape_.h) MakeFluxes(y);
      if (y - halo < begin) continue;
      if (limits_) LimitFluxes(y - halo, y - halo == begin);
      if (y - halo >= first) Update(y - halo, dt, output + (y - halo) * shape_.w);
    }
  }

 private:
  int64_t Columns() const { return kBefore + shape_.w + kAfter; }
  // Of a row.
  int64_t Faces(int i) const { return i == 0 ? shape_.w - 1 : shape_.w; }

  // Plane 0 is u, plane 1 + b the function that bank b filters.
  void LoadRow(int64_t y) {
    std::copy_n(image_ + y * shape_.w, shape_.w, pixels_.Row(y));
    for (int64_t b = 0; b < bank_.banks(); ++b) {
      F* row = pixels_.Row(y, 1 + b);
      if (plan_.functions[static_cast<size_t>(b)] == FluxFunction::kDoubleWell) {
        kernels_.double_well(pixels_.Row(y), shape_.w, row);
      } else {
        std::copy_n(pixels_.Row(y), shape_.w, row);
      }
      std::fill_n(row - kBefore, kBefore, row[0]);
      std::fill_n(row + shape_.w, kAfter, row[shape_.w - 1]);
    }
  }

  // `rows` rows from y on, replicated at the image's borders.
  void Pack(int64_t y, int64_t b, int64_t rows, F* packed) {
    const F* from[kAcross];
    for (int64_t i = 0; i < rows; ++i) from[i] = pixels_.Row(Clamp(y + i, shape_.h), 1 + b) - kBefore;
    pack_(from, rows, Columns(), packed);
  }

  // Makes the fluxes through the faces after the pixels of row y: no face is after the last one.
  void MakeFluxes(int64_t y) {
    for (; loaded_ <= std::min(y + kAfter, shape_.h - 1); ++loaded_) LoadRow(loaded_);
    FluxFaces<F> x_faces = {}, y_faces = {};
    for (; packed_ <= y + kAfter; ++packed_) {
      for (int64_t b = 0; b < bank_.banks(); ++b) Pack(packed_ - kBefore, b, kSteps[1], packed_y_.Row(packed_, b));
    }
    for (int64_t b = 0; b < bank_.banks(); ++b) {
      Pack(y - kBefore, b, kSteps[0], packed_x_.Row(0, b));
      x_faces.near[b] = packed_x_.Row(0, b);
      x_faces.far[b] = packed_x_.Row(0, b) + kFluxTaps;
      y_faces.near[b] = packed_y_.Row(y, b);
      y_faces.far[b] = packed_y_.Row(y + kAfter, b);
    }
    MakeFluxes(0, y, x_faces);
    if (y + 1 < shape_.h) {
      MakeFluxes(1, y, y_faces);
    } else {
      std::fill_n(fluxes_[1].Row(y), shape_.w, F(0));
    }
  }

  void MakeFluxes(int i, int64_t y, FluxFaces<F> faces) {
    const bool soft = plan_.selections[i].soft != SoftFeature::kNone;
    const Selected<F, int32_t> selected = {lower_.get(), upper_.get(), soft ? weight_.get() : nullptr, y};
    for (auto& strip : strips_[i]) strip.Run(y + 1, selected);
    faces.table = bank_.table(i);
    faces.lower = selected.lower;
    faces.upper = selected.upper;
    faces.weight = selected.weight;
    F* flux = fluxes_[i].Row(y);
    kernels_.fluxes[i](faces, bank_.banks(), bank_.antisymmetric(), Faces(i), flux);
    std::fill_n(flux + Faces(i), kFluxPad, F(0));
  }

  // Of row y; the parts of row y + 1 are then known, but for the last row.
  void LimitFluxes(int64_t y, bool first) {
    if (first) MakeParts(y);
    if (y + 1 < shape_.h) MakeParts(y + 1);
    const F *into = parts_.Row(y, 0), *out_of = parts_.Row(y, 1);
    F *x = limited_[0].Row(y), *y_faces = limited_[1].Row(y);
    kernels_.limit(fluxes_[0].Row(y), into, out_of, into + 1, out_of + 1, shape_.w, x);
    std::fill_n(x + Faces(0), kFluxPad, F(0));
    if (y + 1 < shape_.h) {
      kernels_.limit(fluxes_[1].Row(y), into, out_of, parts_.Row(y + 1, 0), parts_.Row(y + 1, 1), shape_.w, y_faces);
    } else {
      std::fill_n(y_faces, shape_.w, F(0));
    }
  }

  void MakeParts(int64_t y) {
    const F *x = fluxes_[0].Row(y), *above = y > 0 ? fluxes_[1].Row(y - 1) : none_.Row(0);
    kernels_.parts(pixels_.Row(y), x - 1, x, above, fluxes_[1].Row(y), limits_->dt, limits_->low, limits_->high,
                   shape_.w, parts_.Row(y, 0), parts_.Row(y, 1));
  }

  void Update(int64_t y, F dt, F* output) {
    const Ring<F>* fluxes = limits_ ? limited_ : fluxes_;
    const F *x = fluxes[0].Row(y), *above = y > 0 ? fluxes[1].Row(y - 1) : none_.Row(0);
    F* out = shape_.w % kFluxPad == 0 ? output : out_.get();
    kernels_.update(pixels_.Row(y), x - 1, x, above, fluxes[1].Row(y), dt, shape_.w, out);
    if (out != output) std::copy_n(out, shape_.w, output);
  }

  const FluxPlan<F>& plan_;
  const FluxBank<F>& bank_;
  const FluxKernels<F>& kernels_;
  void (*const pack_)(const F* const* rows, int64_t r, int64_t n, F* packed);
  const ImageShape shape_;
  const std::optional<FluxLimits<F>>& limits_;
  std::deque<Strip<F, int32_t>> strips_[2];
  Ring<F> pixels_, packed_x_, packed_y_, fluxes_[2], limited_[2], parts_, none_;
  AlignedArray<int32_t> lower_, upper_;
  AlignedArray<F> weight_, out_;
  const F* image_ = nullptr;
  int64_t loaded_ = 0, packed_ = 0;
};

// In the order in which the rows are packed: down the columns of an x-face's filter, along the rows of that of a
// y-face.
int64_t Tap(int i, int64_t r, int64_t s) { return i == 0 ? s * 5 + r : r * 3 + s; }

}  // namespace

template <typename F>
FluxPlan<F>::FluxPlan(const SelectParameters& parameters, const std::vector<FluxFunction>& f)
    : selections{SelectPlan<F>(At(parameters, SelectCenter::kFaceX)),
                 SelectPlan<F>(At(parameters, SelectCenter::kFaceY))},
      functions(f) {}

template <typename F>
FluxBank<F>::FluxBank(int64_t k, int64_t banks, int64_t columns, const F* filters_x, const F* filters_y)
    : banks_(banks), antisymmetric_(columns == 3), size_(k * banks * columns / 3 * kFluxLanes), tables_(2 * size_) {
  for (int i = 0; i < 2; ++i) {
    const F* from = i == 0 ? filters_x : filters_y;
    F* to = tables_.get() + i * size_;
    for (int64_t filter = 0; filter < k * banks; ++filter) {
      for (int64_t r = 0; r < 5; ++r) {
        for (int64_t s = 0; s < columns; ++s, ++from) to[s / 3 * kFluxLanes + Tap(i, r, s % 3)] = *from;
      }
      to += columns / 3 * kFluxLanes;
    }
  }
}

template <typename F>
void FluxStepRows(const FluxPlan<F>& plan, const FluxBank<F>& bank, SimdLevel level, const ImageShape& shape,
                  const F* image, F dt, const std::optional<FluxLimits<F>>& limits, int64_t begin, int64_t end,
                  F* output) {
  if (shape.w == 0) return;
  const ScopedFlushSubnormals flush;
  Stepper<F> stepper(plan, bank, level, shape, limits);
  const int64_t pixels = shape.h * shape.w;
  while (begin < end) {
    const int64_t n = begin / shape.h, first = begin - n * shape.h, last = std::min(end - n * shape.h, shape.h);
    stepper.Run(image + n * pixels, first, last, dt, output + n * pixels);
    begin = n * shape.h + last;
  }
}

#define BLADE_INSTANTIATE(F)                                                                                    \
  template struct FluxPlan<F>;                                                                                  \
  template class FluxBank<F>;                                                                                   \
  template void FluxStepRows(const FluxPlan<F>&, const FluxBank<F>&, SimdLevel, const ImageShape&, const F*, F, \
                             const std::optional<FluxLimits<F>>&, int64_t, int64_t, F*);
BLADE_INSTANTIATE(float)
BLADE_INSTANTIATE(double)
#undef BLADE_INSTANTIATE

}  // namespace blade
