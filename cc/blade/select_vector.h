// The selection's arithmetic, written once with the compiler's vectors. No include guard: one source file a level
// includes it, having defined BLADE_TARGET (a function attribute) and kVectorBytes. -ffp-contract=off keeps the levels
// equal, bit for bit.

#include <cmath>
#include <cstring>
#include <vector>

#include "cc/blade/select_kernels.h"

namespace blade {
namespace {

#define BLADE_INLINE inline BLADE_TARGET __attribute__((always_inline))

template <typename F>
struct Vector;
template <>
struct Vector<float> {
  typedef float Real __attribute__((vector_size(kVectorBytes)));
  typedef int32_t Int __attribute__((vector_size(kVectorBytes)));
  using IntLane = int32_t;
};
template <>
struct Vector<double> {
  typedef double Real __attribute__((vector_size(kVectorBytes)));
  typedef int64_t Int __attribute__((vector_size(kVectorBytes)));
  using IntLane = int64_t;
};

template <typename F>
constexpr int64_t kLanes = kVectorBytes / static_cast<int64_t>(sizeof(F));

template <typename F>
BLADE_INLINE void Load(const F* from, typename Vector<F>::Real& to) {
  std::memcpy(&to, from, sizeof(to));
}

template <typename F>
BLADE_INLINE void Save(const typename Vector<F>::Real& from, F* to) {
  std::memcpy(to, &from, sizeof(from));
}

template <SelectCenter kCenter, typename F>
BLADE_TARGET void Tensor(const PixelRows<F>& pixels, int64_t n, TensorRow<F> out) {
  using Real = typename Vector<F>::Real;
  const F half = F(0.5), quarter = F(0.25);
  const PixelRows<F> rows = pixels;
  for (int64_t x = 0; x < n; x += kLanes<F>) {
    Real j11 = {}, j12 = {}, j22 = {};
    for (int64_t c = 0; c < rows.channels; ++c) {
      const int64_t at = c * rows.plane + x;
      const F *above = rows.above + at, *here = rows.here + at, *below = rows.below + at;
      Real gx, gy;
      if constexpr (kCenter == SelectCenter::kPixel) {
        Real left, right, up, down;
        Load(here - 1, left);
        Load(here + 1, right);
        Load(above, up);
        Load(below, down);
        gx = half * (right - left);
        gy = half * (down - up);
      } else {
        // The face is between pixels a and b, the normal from a to b; two neighbours of each along the tangent.
        Real a, b, before_a, after_a, before_b, after_b;
        Load(here, a);
        if constexpr (kCenter == SelectCenter::kFaceX) {
          Load(here + 1, b);
          Load(above, before_a);
          Load(below, after_a);
          Load(above + 1, before_b);
          Load(below + 1, after_b);
        } else {
          Load(below, b);
          Load(here - 1, before_a);
          Load(here + 1, after_a);
          Load(below - 1, before_b);
          Load(below + 1, after_b);
        }
        gx = b - a;
        gy = quarter * ((after_a - before_a) + (after_b - before_b));
      }
      j11 += gx * gx;
      j12 += gx * gy;
      j22 += gy * gy;
    }
    Save(j11, out.data + x);
    Save(j12, out.data + out.plane + x);
    Save(j22, out.data + 2 * out.plane + x);
  }
}

template <typename F>
BLADE_INLINE typename Vector<F>::Real Mean(const F* pixels, int64_t plane, int64_t channels) {
  typename Vector<F>::Real sum = {}, value;
  for (int64_t c = 0; c < channels; ++c) {
    Load(pixels + c * plane, value);
    sum += value;
  }
  return sum * static_cast<F>(1.0 / static_cast<double>(channels));
}

template <SelectCenter kCenter, typename F>
BLADE_TARGET void Intensity(const PixelRows<F>& pixels, int64_t first, int64_t n, F* out) {
  const F half = F(0.5);
  const F* here = pixels.here + first;
  const F* other = kCenter == SelectCenter::kFaceX ? here + 1 : pixels.below + first;
  for (int64_t x = 0; x < n; x += kLanes<F>) {
    typename Vector<F>::Real value = Mean(here + x, pixels.plane, pixels.channels);
    if constexpr (kCenter != SelectCenter::kPixel) {
      value = half * (value + Mean(other + x, pixels.plane, pixels.channels));
    }
    Save(value, out + x);
  }
}

// Columns of a row as the rows of a window: [k] is that moved by k.
template <typename F>
struct Along {
  const F* row;
  BLADE_INLINE const F* operator[](int64_t k) const { return row + k; }
};

// The Gaussian over rows[-radius .. radius] at one place.
template <typename F, typename Window>
BLADE_INLINE typename Vector<F>::Real Gaussian(Window rows, int64_t at, const F* weights, int64_t radius) {
  typename Vector<F>::Real sum, before, after;
  Load(rows[0] + at, sum);
  sum = weights[0] * sum;
  for (int64_t k = 1; k <= radius; ++k) {
    Load(rows[-k] + at, before);
    Load(rows[k] + at, after);
    sum = sum + weights[k] * (before + after);
  }
  return sum;
}

// kRadius is the radius where the compiler knows it, otherwise 0.
template <int64_t kRadius, typename F, typename Window>
BLADE_TARGET void SmoothRadius(Window rows, int64_t plane, const SelectPlan<F>& plan, int64_t n, TensorRow<F> out) {
  const F* weights = plan.weights.data();
  const int64_t radius = kRadius > 0 ? kRadius : plan.radius();
  for (int64_t component = 0; component < 3; ++component) {
    F* to = out.data + component * out.plane;
    for (int64_t x = 0; x < n; x += kLanes<F>) Save(Gaussian<F>(rows, component * plane + x, weights, radius), to + x);
  }
}

template <typename F, typename Window>
void Smooth(Window rows, int64_t plane, const SelectPlan<F>& plan, int64_t n, TensorRow<F> out) {
  return plan.radius() == 3 ? SmoothRadius<3>(rows, plane, plan, n, out) : SmoothRadius<0>(rows, plane, plan, n, out);
}

template <typename F>
void SmoothAlong(TensorRow<F> tensor, const SelectPlan<F>& plan, int64_t n, TensorRow<F> out) {
  Smooth(Along<F>{tensor.data}, tensor.plane, plan, n, out);
}

template <typename F>
void SmoothAcross(const F* const* rows, int64_t plane, const SelectPlan<F>& plan, int64_t n, TensorRow<F> out) {
  Smooth(rows, plane, plan, n, out);
}

template <typename F>
BLADE_INLINE void StoreIndex(const typename Vector<F>::Int& index, int32_t* out) {
  if constexpr (sizeof(index[0]) == sizeof(int32_t)) {
    std::memcpy(out, &index, sizeof(index));
  } else {
    for (int64_t lane = 0; lane < kLanes<F>; ++lane) out[lane] = static_cast<int32_t>(index[lane]);
  }
}

template <typename F>
BLADE_INLINE typename Vector<F>::Real Root(const typename Vector<F>::Real& x) {
  F lanes[kLanes<F>];
  typename Vector<F>::Real root;
  Save(x, lanes);
  for (F& lane : lanes) lane = std::sqrt(lane);
  Load(lanes, root);
  return root;
}

// What the bins of one vector of pixels are made of.
template <typename F>
struct Point {
  using Real = typename Vector<F>::Real;
  Real c, s, r2, trace, trace2;

  BLADE_INLINE Point(const F* const* rows, int64_t plane, int64_t x, const F* weights, int64_t radius) {
    const Real j11 = Gaussian<F>(rows, x, weights, radius), j12 = Gaussian<F>(rows, plane + x, weights, radius),
               j22 = Gaussian<F>(rows, 2 * plane + x, weights, radius);
    c = j11 - j22;
    s = j12 + j12;
    r2 = c * c + s * s;
    trace = j11 + j22;
    trace2 = trace * trace;
  }

  // u |u| of a strength's bound.
  BLADE_INLINE Real StrengthBound(F bound) const {
    const Real u = bound - trace;
    return u * (u < Real{} ? -u : u);
  }
};

template <typename F>
struct Numbers {
  const F* data;
  int64_t size;
  BLADE_INLINE explicit Numbers(const std::vector<F>& v) : data(v.data()), size(static_cast<int64_t>(v.size())) {}
  BLADE_INLINE F operator[](int64_t i) const { return data[i]; }
};

// A plan's constants as local values, which stores of results cannot change. A comparison is -1 where it holds.
template <typename F>
struct HardBins {
  using Real = typename Vector<F>::Real;
  using Int = typename Vector<F>::Int;
  using Lane = typename Vector<F>::IntLane;

  const int folds;
  const Lane orientations, strengths;
  const int64_t low_edges;
  const Numbers<F> edge_cos, edge_sin, strength, coherence;

  BLADE_INLINE explicit HardBins(const SelectPlan<F>& plan)
      : folds(plan.folds),
        orientations(static_cast<Lane>(plan.orientations)),
        strengths(static_cast<Lane>(plan.strengths)),
        low_edges(plan.low_edges),
        edge_cos(plan.edge_cos),
        edge_sin(plan.edge_sin),
        strength(plan.strength),
        coherence(plan.coherence) {}

  // strength + strengths * coherence
  BLADE_INLINE Int Rest(const Point<F>& p) const {
    Int bins = {};
    for (int64_t j = 0; j < coherence.size; ++j) bins -= p.r2 > coherence[j] * p.trace2;
    bins *= strengths;
    for (int64_t j = 0; j < strength.size; ++j) bins -= p.r2 > p.StrengthBound(strength[j]);
    return bins;
  }

  BLADE_INLINE Int Orientation(const Point<F>& p) const {
    const Real zero = {};
    Real c = p.c, s = p.s;
    const Int lower = s < zero;
    Int orientation = {};
    if (folds > 0) {
      c = lower ? -c : c;
      s = lower ? -s : s;
      const Int left = c < zero;
      const Real turned = left ? s : c;
      s = left ? -c : s;
      c = turned;
      orientation = (lower & (orientations / 2)) + (left & (orientations / 4));
      for (int64_t j = 0; j < edge_cos.size; ++j) orientation -= s * edge_cos[j] > c * edge_sin[j];
    } else {
      for (int64_t j = 0; j < low_edges; ++j) orientation -= lower | (s * edge_cos[j] > c * edge_sin[j]);
      for (int64_t j = low_edges; j < edge_cos.size; ++j) orientation -= lower & (s * edge_cos[j] > c * edge_sin[j]);
    }
    return orientation & (orientation != orientations);
  }
};

// The lower bin along the soft feature, and the weight of the upper one: not yet clamped, NaN for a flat pixel.
template <typename F>
struct SoftBins {
  using Real = typename Vector<F>::Real;
  using Int = typename Vector<F>::Int;
  using Lane = typename Vector<F>::IntLane;

  const HardBins<F>& hard;
  const SoftFeature soft;
  const Numbers<F> bound, origin, scale, middle_cos, middle_sin, arc;

  BLADE_INLINE SoftBins(const SelectPlan<F>& plan, const HardBins<F>& hard_bins)
      : hard(hard_bins),
        soft(plan.soft),
        bound(plan.bound),
        origin(plan.origin),
        scale(plan.scale),
        middle_cos(plan.middle_cos),
        middle_sin(plan.middle_sin),
        arc(plan.arc) {}

  BLADE_INLINE Int Orientation(const Point<F>& p, Real* weight) const {
    const Real zero = {};
    Real c = p.c, s = p.s, mc = zero + middle_cos[0], ms = zero + middle_sin[0];
    const Int lower = (s < zero) | ((s == zero) & (c < zero));
    Int bin = {};
    if (hard.folds > 0) {
      c = lower ? -c : c;
      s = lower ? -s : s;
      bin = lower & (hard.orientations / 2);
    }
    if (hard.folds > 1) {
      const Int left = (c <= zero) & (s > zero);
      const Real turned = left ? s : c;
      s = left ? -c : s;
      c = turned;
      bin += left & (hard.orientations / 4);
    }
    for (int64_t j = 0; j < hard.edge_cos.size; ++j) {
      const Int crossed = s * hard.edge_cos[j] > c * hard.edge_sin[j];
      const Int passed = hard.folds > 0 ? crossed : j < hard.low_edges ? lower | crossed : lower & crossed;
      bin -= passed;
      mc = passed ? zero + middle_cos[j + 1] : mc;
      ms = passed ? zero + middle_sin[j + 1] : ms;
    }
    const Real tangent = (s * mc - c * ms) / (Root<F>(p.r2) + (c * mc + s * ms)), square = tangent * tangent;
    Real sum = zero + arc[arc.size - 1];
    for (int64_t k = arc.size - 2; k >= 0; --k) sum = sum * square + arc[k];
    *weight = tangent * sum + F(0.5);
    return bin;
  }

  BLADE_INLINE Int Other(const Point<F>& p, const F* values, int64_t x, Real* weight) const {
    const F half = F(0.5);
    const Real zero = {};
    Real value;
    if (soft == SoftFeature::kStrength) {
      value = Root<F>(half * (p.trace + Root<F>(p.r2)));
    } else if (soft == SoftFeature::kCoherence) {
      const Real rest = p.trace2 - p.r2;
      value = Root<F>(p.r2) / (p.trace + Root<F>(rest > zero ? rest : zero));
    } else {
      Load(values + x, value);
    }
    Int bin = {};
    Real from = zero + origin[0], slope = zero + scale[0];
    for (int64_t j = 1; j < bound.size; ++j) {
      const Int passed = soft == SoftFeature::kStrength    ? p.r2 >= p.StrengthBound(bound[j])
                         : soft == SoftFeature::kCoherence ? (p.r2 > zero) & (p.r2 >= bound[j] * p.trace2)
                                                           : value >= bound[j];
      bin -= passed;
      from = passed ? zero + origin[j] : from;
      slope = passed ? zero + scale[j] : slope;
    }
    *weight = (value - from) * slope;
    return bin;
  }
};

// Adds the intensity's part to n indices.
template <typename F>
BLADE_TARGET void AddIntensity(const F* values, const SelectPlan<F>& plan, int64_t n, int32_t* index) {
  using Int = typename Vector<F>::Int;
  using Lane = typename Vector<F>::IntLane;
  const Lane stride = static_cast<Lane>(plan.orientations * plan.strengths * plan.coherences);
  const Numbers<F> thresholds(plan.intensity);
  for (int64_t x = 0; x < n; x += kLanes<F>) {
    typename Vector<F>::Real value;
    Int bins = {};
    Load(values + x, value);
    for (int64_t j = 0; j < thresholds.size; ++j) bins -= value > thresholds[j];
    bins *= stride;
    for (int64_t lane = 0; lane < kLanes<F>; ++lane) index[x + lane] += static_cast<int32_t>(bins[lane]);
  }
}

template <int64_t kRadius, typename F>
BLADE_TARGET void SelectRadius(const F* const* rows, int64_t plane, const SelectPlan<F>& plan, int64_t n,
                               int32_t* out) {
  const F* weights = plan.weights.data();
  const int64_t radius = kRadius > 0 ? kRadius : plan.radius();
  const HardBins<F> bins(plan);
  for (int64_t x = 0; x < n; x += kLanes<F>) {
    const Point<F> p(rows, plane, x, weights, radius);
    StoreIndex<F>(bins.Orientation(p) + bins.orientations * bins.Rest(p), out + x);
  }
}

template <typename F>
void Select(const F* const* rows, int64_t plane, const F* values, const SelectPlan<F>& plan, int64_t n, int32_t* out) {
  if (plan.radius() == 3) {
    SelectRadius<3>(rows, plane, plan, n, out);
  } else {
    SelectRadius<0>(rows, plane, plan, n, out);
  }
  if (!plan.intensity.empty()) AddIntensity(values, plan, n, out);
}

template <typename F>
BLADE_TARGET void SelectSoft(const F* const* rows, int64_t plane, const F* values, const SelectPlan<F>& plan, int64_t n,
                             const SoftRow<F>& out) {
  using Real = typename Vector<F>::Real;
  using Int = typename Vector<F>::Int;
  using Lane = typename Vector<F>::IntLane;
  const F* weights = plan.weights.data();
  const int64_t radius = plan.radius();
  const HardBins<F> hard(plan);
  const SoftBins<F> soft(plan, hard);
  const SoftRow<F> to = out;
  const Lane stride = static_cast<Lane>(plan.soft_stride);
  const bool circular = plan.soft == SoftFeature::kOrientation;
  const Real zero = {}, one = zero + F(1);
  for (int64_t x = 0; x < n; x += kLanes<F>) {
    const Point<F> p(rows, plane, x, weights, radius);
    Real weight;
    Int index = hard.orientations * hard.Rest(p), bin, next;
    if (circular) {
      bin = soft.Orientation(p, &weight);
      next = (bin + 1) & (bin + 1 != hard.orientations);
    } else {
      bin = soft.Other(p, values, x, &weight);
      next = bin + 1;
      index += hard.Orientation(p);
    }
    weight = weight > zero ? weight : zero;
    weight = weight < one ? weight : one;
    StoreIndex<F>(index + stride * bin, to.lower + x);
    StoreIndex<F>(index + stride * next, to.upper + x);
    Save(weight, to.weight + x);
  }
  if (plan.intensity.empty()) return;
  AddIntensity(values, plan, n, to.lower);
  AddIntensity(values, plan, n, to.upper);
}

template <typename F>
constexpr SelectKernels<F> kSelectKernels = {
    {Tensor<SelectCenter::kPixel, F>, Tensor<SelectCenter::kFaceX, F>, Tensor<SelectCenter::kFaceY, F>},
    {Intensity<SelectCenter::kPixel, F>, Intensity<SelectCenter::kFaceX, F>, Intensity<SelectCenter::kFaceY, F>},
    SmoothAlong<F>,
    SmoothAcross<F>,
    Select<F>,
    SelectSoft<F>};

}  // namespace
}  // namespace blade
