#include "cc/blade/pairs_step.h"

#include <algorithm>
#include <cstdlib>
#include <deque>

#include "cc/blade/pairs_kernels.h"
#include "cc/blade/strip.h"

namespace blade {
namespace {

bool Equal(const PairList& known, const std::vector<Pair>& pairs) {
  const auto same = [](const Pair& p, const Pair& q) {
    return p.plane == q.plane && p.ay == q.ay && p.ax == q.ax && p.by == q.by && p.bx == q.bx;
  };
  return std::equal(known.pairs, known.pairs + known.count, pairs.begin(), pairs.end(), same);
}

template <typename F>
class Stepper {
 public:
  Stepper(const PairsPlan<F>& plan, const PairsBank<F>& bank, SimdLevel level, const ImageShape& shape)
      : plan_(plan),
        bank_(bank),
        kernels_(KernelsAt<PairsStepKernels<F>>(level)),
        shape_(shape),
        sides_(SidesOf(plan.pairs)),
        known_(Equal(kPairs28, plan.pairs)   ? 1
               : Equal(kPairs44, plan.pairs) ? 2
                                             : 0),
        conductances_(plan.partner_rows + 2 * plan.base_rows + 1, 2 * bank.planes(0) + bank.planes(2), shape.w),
        limits_(2 * plan.partner_rows + 1, 1, shape.w),
        pixels_(2 * plan.partner_rows + 1, 1, shape.w),
        inside_(1, 1, shape.w),
        lower_{Rows<int32_t>(), Rows<int32_t>(), Rows<int32_t>()},
        upper_(Rows<int32_t>()),
        weight_{Rows<F>(), Rows<F>(), Rows<F>()},
        out_(limits_.pitch()),
        active_(sides_.size()),
        c_(sides_.size()),
        partner_r_(sides_.size()),
        partner_u_(sides_.size()) {
    std::fill_n(inside_.Row(0), shape.w, F(1));
    for (int i = 0; i < 3; ++i) {
      const int64_t grid_h = shape.h - (plan.selections[i].center == SelectCenter::kFaceY);
      const int64_t grid_w = shape.w - (plan.selections[i].center == SelectCenter::kFaceX);
      for (int64_t left = 0; left < grid_w; left += kStrip)
        strips_[i].emplace_back(plan.selections[i], level, shape, std::max<int64_t>(grid_h, 1), grid_w);
    }
  }

  // Rows [first, last) of one image.
  void Run(const F* image, int64_t first, int64_t last, F dt, F bank_dt, F* output) {
    int64_t limits = std::max<int64_t>(first - plan_.partner_rows, 0);
    int64_t conductances = std::max<int64_t>(limits - plan_.base_rows, 0);
    selected_ = conductances;
    needed_ = std::min(last + plan_.partner_rows + plan_.base_rows, shape_.h);
    for (int i = 0; i < 3; ++i) {
      const int64_t grid_w = shape_.w - (plan_.selections[i].center == SelectCenter::kFaceX);
      int64_t left = 0;
      for (auto& strip : strips_[i]) {
        strip.Start(image, left, std::min(left + kStrip, grid_w), conductances);
        left += kStrip;
      }
    }
    for (int64_t y = first; y < last; ++y) {
      for (; limits <= std::min(y + plan_.partner_rows, shape_.h - 1); ++limits) {
        for (; conductances <= std::min(limits + plan_.base_rows, shape_.h - 1); ++conductances)
          MakeConductances(conductances);
        std::copy_n(image + limits * shape_.w, shape_.w, pixels_.Row(limits));
        MakeLimits(limits);
      }
      Exchange(y, dt, bank_dt, output + y * shape_.w);
    }
  }

 private:
  // Enough for the strips to be worth their turns.
  static constexpr int64_t kSelectedRows = 8;

  template <typename T>
  AlignedArray<T> Rows() const {
    return AlignedArray<T>(kSelectedRows * shape_.w + kRingPad);
  }

  // The selections of row y, and of those after it that their strips go through at the same time.
  void Select(int64_t y) {
    first_selected_ = y;
    selected_ = std::min(y + kSelectedRows, needed_);
    for (int i = 0; i < 3; ++i) {
      const SelectPlan<F>& plan = plan_.selections[i];
      const int64_t end = std::min(selected_, shape_.h - (plan.center == SelectCenter::kFaceY));
      const Selected<F, int32_t> selected = {lower_[i].get(), upper_.get(),
                                             plan.soft == SoftFeature::kNone ? nullptr : weight_[i].get(), y};
      for (auto& strip : strips_[i]) strip.Run(end, selected);
    }
  }

  void MakeConductances(int64_t y) {
    if (y == selected_) Select(y);
    const int64_t at = (y - first_selected_) * shape_.w;
    F* to = conductances_.Row(y);
    for (int i = 0; i < 3; to += bank_.planes(i) * conductances_.pitch(), ++i) {
      const bool soft = plan_.selections[i].soft != SoftFeature::kNone;
      kernels_.lookup(bank_.table(i), bank_.stride(i), bank_.planes(i), lower_[i].get() + at,
                      soft ? weight_[i].get() + at : nullptr, shape_.w, conductances_.pitch(), to);
    }
  }

  // Sets the pointers to the conductances of the sides in which row y takes part.
  void Gather(int64_t y) {
    count_ = 0;
    for (const PairSide& side : sides_) {
      const int64_t base = y - side.own_y, partner = base + side.other_y;
      if (base < 0 || base >= shape_.h || partner < 0 || partner >= shape_.h) continue;
      c_[count_] = conductances_.Row(base, side.plane) - side.own_x;
      active_[count_++] = &side;
    }
  }

  void MakeLimits(int64_t y) {
    Gather(y);
    for (size_t i = 0; i < count_; ++i) partner_r_[i] = inside_.Row(0) + active_[i]->step_x();
    F* limit = limits_.Row(y);
    kernels_.limit(c_.data(), partner_r_.data(), Sides(), shape_.w, limit);
    // No exchange with what is outside.
    std::fill_n(limit + shape_.w, kRingPad, F(0));
  }

  void Exchange(int64_t y, F dt, F bank_dt, F* output) {
    Gather(y);
    for (size_t i = 0; i < count_; ++i) {
      const int64_t partner = y + active_[i]->step_y(), shift = active_[i]->step_x();
      partner_r_[i] = limits_.Row(partner) + shift;
      partner_u_[i] = pixels_.Row(partner) + shift;
    }
    F* out = shape_.w % kRingPad == 0 ? output : out_.get();
    const size_t known = count_ == sides_.size() ? known_ : 0;
    kernels_.exchange[known](c_.data(), partner_r_.data(), partner_u_.data(), Sides(), limits_.Row(y), pixels_.Row(y),
                             dt, bank_dt, shape_.w, out);
    if (out != output) std::copy_n(out, shape_.w, output);
  }

  int64_t Sides() const { return static_cast<int64_t>(count_); }

  const PairsPlan<F>& plan_;
  const PairsBank<F>& bank_;
  const PairsStepKernels<F>& kernels_;
  const ImageShape shape_;
  const std::vector<PairSide> sides_;
  const size_t known_;  // of the exchanges
  std::deque<Strip<F, int32_t>> strips_[3];
  Ring<F> conductances_, limits_, pixels_, inside_;
  int64_t first_selected_ = 0, selected_ = 0, needed_ = 0;
  AlignedArray<int32_t> lower_[3], upper_;  // of the selected rows
  AlignedArray<F> weight_[3], out_;
  // Of the sides in which a row takes part, `count_` of them.
  size_t count_ = 0;
  std::vector<const PairSide*> active_;
  std::vector<const F*> c_, partner_r_, partner_u_;
};

}  // namespace

template <typename F>
PairsPlan<F>::PairsPlan(SelectParameters face, SelectParameters node, const std::vector<Pair>& p)
    : selections{SelectPlan<F>(face.At(SelectCenter::kFaceX)), SelectPlan<F>(face.At(SelectCenter::kFaceY)),
                 SelectPlan<F>(node.At(SelectCenter::kPixel))},
      pairs(p),
      base_rows(0),
      partner_rows(0) {
  for (const Pair& pair : pairs) {
    base_rows = std::max({base_rows, std::abs(pair.ay), std::abs(pair.by)});
    partner_rows = std::max(partner_rows, std::abs(pair.ay - pair.by));
  }
}

template <typename F>
PairsBank<F>::Bank::Bank(const SelectPlan<F>& selection, int64_t planes_, const F* entries)
    : planes(planes_),
      stride((planes + 3) / 4 * (selection.soft == SoftFeature::kNone ? 4 : 8)),
      table(selection.bins() * stride) {
  const ScopedFlushSubnormals flush;
  const bool soft = selection.soft != SoftFeature::kNone;
  for (int64_t k = 0; k < selection.bins(); ++k) {
    // The last bins along the soft feature are never `lower`: any difference will do.
    const int64_t upper = soft ? std::min(selection.Upper(k), selection.bins() - 1) : k;
    F* to = table.get() + k * stride;
    for (int64_t p = 0; p < planes; ++p) {
      F* value = to + (soft ? p / 4 * 8 + p % 4 : p);
      value[0] = entries[k * planes + p];
      if (soft) value[4] = entries[upper * planes + p] - value[0];
    }
  }
}

template <typename F>
PairsBank<F>::PairsBank(const PairsPlan<F>& plan, int64_t face_planes, const F* face, int64_t node_planes,
                        const F* node)
    : face_(plan.selections[0], face_planes, face), node_(plan.selections[2], node_planes, node) {}

template <typename F>
void PairsStepRows(const PairsPlan<F>& plan, const PairsBank<F>& bank, SimdLevel level, const ImageShape& shape,
                   const F* image, F dt, F bank_dt, int64_t begin, int64_t end, F* output) {
  if (shape.w == 0) return;
  const ScopedFlushSubnormals flush;
  Stepper<F> stepper(plan, bank, level, shape);
  const int64_t pixels = shape.h * shape.w;
  while (begin < end) {
    const int64_t n = begin / shape.h, first = begin - n * shape.h, last = std::min(end - n * shape.h, shape.h);
    stepper.Run(image + n * pixels, first, last, dt, bank_dt, output + n * pixels);
    begin = n * shape.h + last;
  }
}

#define BLADE_INSTANTIATE(F)                                                                                          \
  template struct PairsPlan<F>;                                                                                       \
  template class PairsBank<F>;                                                                                        \
  template void PairsStepRows(const PairsPlan<F>&, const PairsBank<F>&, SimdLevel, const ImageShape&, const F*, F, F, \
                              int64_t, int64_t, F*);
BLADE_INSTANTIATE(float)
BLADE_INSTANTIATE(double)
#undef BLADE_INSTANTIATE

}  // namespace blade
