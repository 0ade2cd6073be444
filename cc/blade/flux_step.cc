#include "cc/blade/flux_step.h"

#include <algorithm>
#include <deque>

#include "cc/blade/pair_kernels.h"
#include "cc/blade/rows.h"
#include "cc/blade/strip.h"

namespace blade {
namespace {

constexpr int64_t kBefore = 2, kAfter = 3;  // rows and columns of a footprint from its near pixel on
static_assert(kBefore + 1 + kAfter == kPairRows);
constexpr int64_t kColumns = kRun + kBefore + kAfter;  // of a packed run of faces

// PairKernels::pack where the level has none.
template <typename F>
void Pack(const F* const* rows, int64_t first, int64_t n, int64_t width, F* packed) {
  for (int64_t x = 0; x < n; ++x) {
    for (int64_t i = 0; i < kPairRows; ++i) packed[kPairRows * x + i] = rows[i][Clamp(first + x, width)];
  }
}

template <typename F>
class Stepper {
 public:
  Stepper(const FluxPlan<F>& plan, const FluxBank<F>& bank, SimdLevel level, const ImageShape& shape,
          const std::optional<FluxLimits<F>>& limits)
      : plan_(plan),
        bank_(bank),
        kernels_(KernelsAt<FluxKernels<F>>(level)),
        pack_(GetPairKernels<F>(level) != nullptr ? GetPairKernels<F>(level)->pack : Pack<F>),
        shape_(shape),
        limits_(limits),
        double_well_(std::count(plan.functions.begin(), plan.functions.end(), FluxFunction::kDoubleWell) > 0),
        pixels_(kPairRows, 2, shape.w, kBefore),
        fluxes_{{2, 1, shape.w}, {2, 1, shape.w}},
        limited_{{1, 1, shape.w}, {2, 1, shape.w}},
        parts_(2, 2, shape.w),
        none_(1, 1, shape.w),
        packed_(bank.banks() * kPackedRun),
        lower_(2 * pixels_.pitch()),
        upper_(2 * pixels_.pitch()),
        weight_(2 * pixels_.pitch()),
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
  static constexpr int64_t kPackedRun = (kColumns + kPairColumns - 1) / kPairColumns * kPairColumns * kPairRows;

  // Of a row.
  int64_t Faces(int i) const { return i == 0 ? shape_.w - 1 : shape_.w; }

  // Plane 0 is u, plane 1 W'(u), with replicated borders.
  void LoadRow(int64_t y) {
    std::copy_n(image_ + y * shape_.w, shape_.w, pixels_.Row(y));
    if (double_well_) kernels_.double_well(pixels_.Row(y), shape_.w, pixels_.Row(y, 1));
    for (F* row : {pixels_.Row(y), pixels_.Row(y, 1)}) {
      std::fill_n(row - kBefore, kBefore, row[0]);
      std::fill_n(row + shape_.w, kAfter, row[shape_.w - 1]);
    }
  }

  // The fluxes through the faces after the pixels of row y: no face is after the last one.
  void MakeFluxes(int64_t y) {
    for (; loaded_ <= std::min(y + kAfter, shape_.h - 1); ++loaded_) LoadRow(loaded_);
    const int axes = y + 1 < shape_.h ? 2 : 1;
    for (int i = 0; i < axes; ++i) {
      for (auto& strip : strips_[i]) strip.Run(y + 1, SelectedFaces(i, y));
    }
    const F* rows[kFluxBanks][kPairRows];
    for (int64_t b = 0; b < bank_.banks(); ++b) {
      const bool plane = plan_.functions[static_cast<size_t>(b)] == FluxFunction::kDoubleWell;
      for (int64_t i = 0; i < kPairRows; ++i)
        rows[b][i] = pixels_.Row(Clamp(y - kBefore + i, shape_.h), plane) - kBefore;
    }
    for (int64_t x = 0; x < shape_.w; x += kRun) {
      const int64_t n = std::min(kRun, shape_.w - x);
      for (int64_t b = 0; b < bank_.banks(); ++b)
        pack_(rows[b], x, n + kBefore + kAfter, pixels_.pitch(), packed_.get() + b * kPackedRun);
      for (int i = 0; i < axes; ++i) {
        const Selected<F, int32_t> selected = SelectedFaces(i, y);
        FluxFaces<F> faces = {{},
                              bank_.table(i),
                              selected.lower + x,
                              selected.upper + x,
                              selected.weight != nullptr ? selected.weight + x : nullptr};
        for (int64_t b = 0; b < bank_.banks(); ++b) faces.packed[b] = packed_.get() + b * kPackedRun;
        kernels_.fluxes[i](faces, bank_.banks(), bank_.antisymmetric(), n, fluxes_[i].Row(y) + x);
      }
    }
    std::fill_n(fluxes_[0].Row(y) + Faces(0), kRingPad, F(0));
    F* below = fluxes_[1].Row(y);
    std::fill(axes == 2 ? below + shape_.w : below, below + shape_.w + kRingPad, F(0));
  }

  Selected<F, int32_t> SelectedFaces(int i, int64_t y) const {
    const bool soft = plan_.selections[i].soft != SoftFeature::kNone;
    const int64_t at = i * pixels_.pitch();
    return {lower_.get() + at, upper_.get() + at, soft ? weight_.get() + at : nullptr, y};
  }

  // Of row y; the parts of row y + 1 are then known, but for the last row.
  void LimitFluxes(int64_t y, bool first) {
    if (first) MakeParts(y);
    if (y + 1 < shape_.h) MakeParts(y + 1);
    const F *into = parts_.Row(y, 0), *out_of = parts_.Row(y, 1);
    F *x = limited_[0].Row(y), *y_faces = limited_[1].Row(y);
    kernels_.limit(fluxes_[0].Row(y), into, out_of, into + 1, out_of + 1, shape_.w, x);
    std::fill_n(x + Faces(0), kRingPad, F(0));
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
    F* out = shape_.w % kRingPad == 0 ? output : out_.get();
    kernels_.update(pixels_.Row(y), x - 1, x, above, fluxes[1].Row(y), dt, shape_.w, out);
    if (out != output) std::copy_n(out, shape_.w, output);
  }

  const FluxPlan<F>& plan_;
  const FluxBank<F>& bank_;
  const FluxKernels<F>& kernels_;
  void (*const pack_)(const F* const* rows, int64_t first, int64_t n, int64_t width, F* packed);
  const ImageShape shape_;
  const std::optional<FluxLimits<F>>& limits_;
  std::deque<Strip<F, int32_t>> strips_[2];
  const bool double_well_;
  Ring<F> pixels_, fluxes_[2], limited_[2], parts_, none_;
  AlignedArray<F> packed_;
  AlignedArray<int32_t> lower_, upper_;  // of the x-faces, then of the y-faces
  AlignedArray<F> weight_, out_;
  const F* image_ = nullptr;
  int64_t loaded_ = 0;
};

// Of coefficient [r, s], in the order of FluxPlace: down the columns of an x-face's filter, along the rows of that of a
// y-face, whose transpose has the rows' pixels one below the other.
int64_t Tap(int axis, int64_t r, int64_t s) { return axis == 0 ? s * 5 + r : r * 6 + s; }

}  // namespace

template <typename F>
FluxPlan<F>::FluxPlan(const SelectParameters& parameters, const std::vector<FluxFunction>& f)
    : selections{SelectPlan<F>(parameters.At(SelectCenter::kFaceX)),
                 SelectPlan<F>(parameters.At(SelectCenter::kFaceY))},
      functions(f) {}

template <typename F>
FluxBank<F>::FluxBank(int64_t k, int64_t banks, int64_t columns, const F* filters_x, const F* filters_y)
    : banks_(banks), antisymmetric_(columns == 3), size_(k * banks * columns / 3 * kFluxLanes), tables_(2 * size_) {
  for (int axis = 0; axis < 2; ++axis) {
    const F* from = axis == 0 ? filters_x : filters_y;
    F* to = tables_.get() + axis * size_;
    for (int64_t filter = 0; filter < k * banks; ++filter, from += 5 * columns, to += columns / 3 * kFluxLanes) {
      for (int64_t r = 0; r < 5; ++r) {
        for (int64_t s = 0; s < 6; ++s) {
          const int64_t side = Tap(axis, r, s) / kFluxTaps, tap = Tap(axis, r, s) % kFluxTaps;
          if (!antisymmetric_) {
            to[side * kFluxLanes + tap] = from[r * 6 + s];
          } else if (side == 0) {
            to[tap] = s < 3 ? from[r * 3 + s] : -from[(4 - r) * 3 + 5 - s];
          }
        }
      }
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
