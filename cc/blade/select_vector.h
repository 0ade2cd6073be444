// The selection's arithmetic, written once with the compiler's vectors. No include guard: one source file a level
// includes it.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "cc/blade/level.h"
#include "cc/blade/select_kernels.h"

namespace blade {
namespace {

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
using RealOf = typename Vector<F>::Real;
template <typename F>
using IntOf = typename Vector<F>::Int;

template <typename F>
constexpr int64_t kLanes = kVectorBytes / static_cast<int64_t>(sizeof(F));

// Comparisons, and what is done where they hold; Join: lanes kShift .. of a, then the first kShift ones of b;
// Rearranged: lane i is lane index[i] of x.
#ifdef BLADE_AVX512
template <typename F>
constexpr bool kIsFloat = sizeof(F) == 4;
template <typename F>
using MaskOf = std::conditional_t<kIsFloat<F>, __mmask16, __mmask8>;

template <typename F>
BLADE_INLINE MaskOf<F> Greater(const RealOf<F>& a, const RealOf<F>& b) {
  if constexpr (kIsFloat<F>) return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
  if constexpr (!kIsFloat<F>) return _mm512_cmp_pd_mask(a, b, _CMP_GT_OQ);
}
template <typename F>
BLADE_INLINE MaskOf<F> AtLeast(const RealOf<F>& a, const RealOf<F>& b) {
  if constexpr (kIsFloat<F>) return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ);
  if constexpr (!kIsFloat<F>) return _mm512_cmp_pd_mask(a, b, _CMP_GE_OQ);
}
template <typename F>
BLADE_INLINE IntOf<F> AddWhere(MaskOf<F> mask, const IntOf<F>& index, const IntOf<F>& step) {
  const __m512i a = reinterpret_cast<__m512i>(index), b = reinterpret_cast<__m512i>(step);
  if constexpr (kIsFloat<F>) return reinterpret_cast<IntOf<F>>(_mm512_mask_add_epi32(a, mask, a, b));
  if constexpr (!kIsFloat<F>) return reinterpret_cast<IntOf<F>>(_mm512_mask_add_epi64(a, mask, a, b));
}
template <typename F>
BLADE_INLINE RealOf<F> Choose(MaskOf<F> mask, const RealOf<F>& a, const RealOf<F>& b) {
  if constexpr (kIsFloat<F>) return _mm512_mask_blend_ps(mask, b, a);
  if constexpr (!kIsFloat<F>) return _mm512_mask_blend_pd(mask, b, a);
}
template <typename F>
BLADE_INLINE RealOf<F> NegateWhere(MaskOf<F> mask, const RealOf<F>& x) {
  if constexpr (kIsFloat<F>) return _mm512_mask_xor_ps(x, mask, x, _mm512_set1_ps(-0.0f));
  if constexpr (!kIsFloat<F>) return _mm512_mask_xor_pd(x, mask, x, _mm512_set1_pd(-0.0));
}
template <typename F>
BLADE_INLINE IntOf<F> ZeroWhereEqual(const IntOf<F>& a, const IntOf<F>& b) {
  const __m512i x = reinterpret_cast<__m512i>(a), y = reinterpret_cast<__m512i>(b);
  if constexpr (kIsFloat<F>)
    return reinterpret_cast<IntOf<F>>(_mm512_maskz_mov_epi32(_mm512_cmpneq_epi32_mask(x, y), x));
  if constexpr (!kIsFloat<F>)
    return reinterpret_cast<IntOf<F>>(_mm512_maskz_mov_epi64(_mm512_cmpneq_epi64_mask(x, y), x));
}
template <int kShift, typename F>
BLADE_INLINE RealOf<F> Join(const RealOf<F>& a, const RealOf<F>& b) {
  const __m512i low = reinterpret_cast<__m512i>(a), high = reinterpret_cast<__m512i>(b);
  if constexpr (kShift == 0) {
    return a;
  } else if constexpr (kIsFloat<F>) {
    return reinterpret_cast<RealOf<F>>(_mm512_alignr_epi32(high, low, kShift));
  } else {
    return reinterpret_cast<RealOf<F>>(_mm512_alignr_epi64(high, low, kShift));
  }
}
template <typename F>
BLADE_INLINE RealOf<F> Rearranged(const RealOf<F>& x, const IntOf<F>& index) {
  if constexpr (kIsFloat<F>) return _mm512_permutexvar_ps(reinterpret_cast<__m512i>(index), x);
  if constexpr (!kIsFloat<F>) return _mm512_permutexvar_pd(reinterpret_cast<__m512i>(index), x);
}
#else
template <typename F>
using MaskOf = IntOf<F>;

template <typename F>
BLADE_INLINE MaskOf<F> Greater(const RealOf<F>& a, const RealOf<F>& b) {
  return a > b;
}
template <typename F>
BLADE_INLINE MaskOf<F> AtLeast(const RealOf<F>& a, const RealOf<F>& b) {
  return a >= b;
}
template <typename F>
BLADE_INLINE IntOf<F> AddWhere(const MaskOf<F>& mask, const IntOf<F>& index, const IntOf<F>& step) {
  return index + (mask & step);
}
template <typename F>
BLADE_INLINE RealOf<F> Choose(const MaskOf<F>& mask, const RealOf<F>& a, const RealOf<F>& b) {
  return mask ? a : b;
}
template <typename F>
BLADE_INLINE RealOf<F> NegateWhere(const MaskOf<F>& mask, const RealOf<F>& x) {
  const IntOf<F> sign = IntOf<F>{} + std::numeric_limits<typename Vector<F>::IntLane>::min();
  return reinterpret_cast<RealOf<F>>(reinterpret_cast<IntOf<F>>(x) ^ (mask & sign));
}
template <typename F>
BLADE_INLINE IntOf<F> ZeroWhereEqual(const IntOf<F>& a, const IntOf<F>& b) {
  return a & (a != b);
}
#endif
#ifdef BLADE_AVX2
template <int kShift, typename F>
BLADE_INLINE RealOf<F> Join(const RealOf<F>& a, const RealOf<F>& b) {
  const __m256i low = reinterpret_cast<__m256i>(a), high = reinterpret_cast<__m256i>(b);
  const __m256i middle = _mm256_permute2x128_si256(low, high, 0x21);
  constexpr int kBytes = kShift * static_cast<int>(sizeof(F));
  if constexpr (kBytes == 0) {
    return a;
  } else if constexpr (kBytes == 16) {
    return reinterpret_cast<RealOf<F>>(middle);
  } else if constexpr (kBytes < 16) {
    return reinterpret_cast<RealOf<F>>(_mm256_alignr_epi8(middle, low, kBytes));
  } else {
    return reinterpret_cast<RealOf<F>>(_mm256_alignr_epi8(high, middle, kBytes - 16));
  }
}
template <typename F>
BLADE_INLINE RealOf<F> Rearranged(const RealOf<F>& x, const IntOf<F>& index) {
  static_assert(sizeof(F) == 4);
  return _mm256_permutevar8x32_ps(x, reinterpret_cast<__m256i>(index));
}
#endif

// Whether the level has Rearranged.
#if defined(BLADE_AVX512)
template <typename F>
constexpr bool kRearranges = true;
#elif defined(BLADE_AVX2)
template <typename F>
constexpr bool kRearranges = sizeof(F) == 4;
#else
template <typename F>
constexpr bool kRearranges = false;
#endif
#if !defined(BLADE_AVX512) && !defined(BLADE_AVX2)
template <typename F>
RealOf<F> Rearranged(const RealOf<F>& x, const IntOf<F>& index);
#endif

template <typename F>
BLADE_INLINE void Load(const F* from, typename Vector<F>::Real& to) {
  std::memcpy(&to, from, sizeof(to));
}

template <typename F>
BLADE_INLINE void Save(const typename Vector<F>::Real& from, F* to) {
  std::memcpy(to, &from, sizeof(from));
}

template <typename F>
struct TensorAt {
  typename Vector<F>::Real j[3];
};

// J at columns [x, x + kLanes).
template <SelectCenter kCenter, typename F>
BLADE_INLINE TensorAt<F> Tensor(const PixelRows<F>& rows, int64_t x) {
  using Real = typename Vector<F>::Real;
  const F half = F(0.5), quarter = F(0.25);
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
  return {{j11, j12, j22}};
}

template <SelectCenter kCenter, typename F>
BLADE_TARGET void TensorRows(const PixelRows<F>& pixels, int64_t n, TensorRow<F> out) {
  const PixelRows<F> rows = pixels;
  for (int64_t x = 0; x < n; x += kLanes<F>) {
    const TensorAt<F> tensor = Tensor<kCenter>(rows, x);
    for (int64_t component = 0; component < 3; ++component)
      Save(tensor.j[component], out.data + component * out.plane + x);
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

// The radii of rho up to 2/3, 1 and 5/3 as the first argument of a template, 0 for others.
#define BLADE_BY_RADIUS(Function, radius, ...)        \
  do {                                                \
    if (radius == 2) return Function<2>(__VA_ARGS__); \
    if (radius == 3) return Function<3>(__VA_ARGS__); \
    if (radius == 5) return Function<5>(__VA_ARGS__); \
    return Function<0>(__VA_ARGS__);                  \
  } while (false)

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
  BLADE_BY_RADIUS(SmoothRadius, plan.radius(), rows, plane, plan, n, out);
}

// Replicates what columns [begin, end) have in [0, n).
template <typename F>
void ExtendRow(TensorRow<F> row, int64_t begin, int64_t end, int64_t n) {
  for (int64_t component = 0; component < 3; ++component) {
    F* plane = row.data + component * row.plane;
    std::fill(plane, plane + begin, plane[begin]);
    std::fill(plane + end, plane + n, plane[end - 1]);
  }
}

#if defined(BLADE_AVX512) || defined(BLADE_AVX2)
// The extended row's columns [x, x + kLanes), for x ascending in steps of kLanes.
template <SelectCenter kCenter, typename F>
struct ExtendedTensor {
  const PixelRows<F> rows;
  const int64_t before, count;
  TensorAt<F> edge;  // all lanes those of the last column

  // Where `right` columns or more are there, none is replicated that matters. AtEdge sees the last column.
  BLADE_INLINE TensorAt<F> At(int64_t x, int64_t right) {
    if (x >= before && (before + count >= right || x + kLanes<F> < before + count))
      return Tensor<kCenter>(rows, x - before);
    return AtEdge(x);
  }

  BLADE_TARGET __attribute__((noinline)) TensorAt<F> AtEdge(int64_t x) {
    const int64_t begin = before > x ? before - x : 0, all = before + count - x;
    const int64_t end = all < kLanes<F> ? (all > 0 ? all : 0) : kLanes<F>;
    if (end <= begin) return edge;
    using Lane = typename Vector<F>::IntLane;
    TensorAt<F> tensor = Tensor<kCenter>(rows, x + begin - before);
    IntOf<F> index, last = IntOf<F>{} + static_cast<Lane>(end - begin - 1);
    for (int64_t i = 0; i < kLanes<F>; ++i) index[i] = static_cast<Lane>(i);
    index -= static_cast<Lane>(begin);
    index = index > 0 ? index : IntOf<F>{};
    index = index < last ? index : last;
    for (int64_t component = 0; component < 3; ++component) {
      edge.j[component] = Rearranged<F>(tensor.j[component], last);
      tensor.j[component] = Rearranged<F>(tensor.j[component], index);
    }
    return tensor;
  }
};

template <int kRadius, int k, typename F>
BLADE_INLINE typename Vector<F>::Real AddNeighbours(const typename Vector<F>::Real& sum,
                                                    const typename Vector<F>::Real& a,
                                                    const typename Vector<F>::Real& b, const F* weights) {
  if constexpr (k > kRadius) {
    return sum;
  } else {
    const typename Vector<F>::Real next = sum + weights[k] * (Join<kRadius - k, F>(a, b) + Join<kRadius + k, F>(a, b));
    return AddNeighbours<kRadius, k + 1, F>(next, a, b, weights);
  }
}

// Without a copy of J in memory, from where shifted vectors would be loaded at twice the price.
template <SelectCenter kCenter, int kRadius, typename F>
BLADE_TARGET void TensorAlongRadius(const PixelRows<F>& pixels, int64_t before, int64_t count,
                                    const SelectPlan<F>& plan, int64_t n, TensorRow<F> out) {
  if constexpr (2 * kRadius < kLanes<F>) {
    F weights[kRadius + 1];
    for (int k = 0; k <= kRadius; ++k) weights[k] = plan.weights[static_cast<size_t>(k)];
    ExtendedTensor<kCenter, F> row = {pixels, before, count, {}};
    TensorAt<F> a = row.At(0, n + 2 * kRadius);
    for (int64_t x = 0; x < n; x += kLanes<F>) {
      const TensorAt<F> b = row.At(x + kLanes<F>, n + 2 * kRadius);
      for (int64_t component = 0; component < 3; ++component) {
        const typename Vector<F>::Real middle = weights[0] * Join<kRadius, F>(a.j[component], b.j[component]);
        Save(AddNeighbours<kRadius, 1, F>(middle, a.j[component], b.j[component], weights),
             out.data + component * out.plane + x);
      }
      a = b;
    }
  }
}
#endif

// J along a row of `count` columns, extended on both sides by its first and last values: column x of the row so
// extended is column x - before of the row.
template <SelectCenter kCenter, typename F>
void TensorAlong(const PixelRows<F>& pixels, int64_t before, int64_t count, const SelectPlan<F>& plan, int64_t n,
                 TensorRow<F> scratch, TensorRow<F> out) {
#if defined(BLADE_AVX512) || defined(BLADE_AVX2)
  const int64_t lanes = kLanes<F>;
  if (plan.radius() == 2 && lanes > 4) return TensorAlongRadius<kCenter, 2>(pixels, before, count, plan, n, out);
  if (plan.radius() == 3 && lanes > 6) return TensorAlongRadius<kCenter, 3>(pixels, before, count, plan, n, out);
  if (plan.radius() == 5 && lanes > 10) return TensorAlongRadius<kCenter, 5>(pixels, before, count, plan, n, out);
  if (plan.radius() == 6 && lanes > 12) return TensorAlongRadius<kCenter, 6>(pixels, before, count, plan, n, out);
#endif
  TensorRows<kCenter>(pixels, count, {scratch.data + before, scratch.plane});
  ExtendRow(scratch, before, before + count, n + 2 * plan.radius());
  Smooth(Along<F>{scratch.data + plan.radius()}, scratch.plane, plan, n, out);
}

template <typename F>
void SmoothAcross(const F* const* rows, int64_t plane, const SelectPlan<F>& plan, int64_t n, TensorRow<F> out) {
  Smooth(rows, plane, plan, n, out);
}

template <typename F, typename S>
BLADE_INLINE void StoreIndex(const typename Vector<F>::Int& index, S* out) {
  typedef S Narrow __attribute__((vector_size(kLanes<F> * sizeof(S))));
  const Narrow narrow = __builtin_convertvector(index, Narrow);
  std::memcpy(out, &narrow, sizeof(narrow));
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

template <typename F>
BLADE_INLINE typename Vector<F>::Real Magnitude(const typename Vector<F>::Real& x) {
  typename Vector<F>::Int bits;
  std::memcpy(&bits, &x, sizeof(bits));
  bits &= std::numeric_limits<typename Vector<F>::IntLane>::max();
  typename Vector<F>::Real magnitude;
  std::memcpy(&magnitude, &bits, sizeof(bits));
  return magnitude;
}

// What the bins of one vector of pixels are made of.
template <typename F>
struct Point {
  using Real = typename Vector<F>::Real;
  Real c, s, r2, trace, trace2;

  Point() = default;

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
    return u * Magnitude<F>(u);
  }
};

template <typename F>
struct Numbers {
  const F* data;
  int64_t size;
  BLADE_INLINE explicit Numbers(const std::vector<F>& v) : data(v.data()), size(static_cast<int64_t>(v.size())) {}
  BLADE_INLINE F operator[](int64_t i) const { return data[i]; }
};

// A plan's constants as local values, which stores of results cannot change.
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

  // The parts of strength and coherence; kThresholds is the number of each where the compiler knows it, otherwise 0.
  template <int kThresholds>
  BLADE_INLINE Int Rest(const Point<F>& p) const {
    const Int per_strength = Int{} + orientations, per_coherence = per_strength * strengths;
    Int by_coherence = {}, by_strength = {};
    for (int64_t j = 0; j < (kThresholds > 0 ? kThresholds : coherence.size); ++j)
      by_coherence = AddWhere<F>(Greater<F>(p.r2, coherence[j] * p.trace2), by_coherence, per_coherence);
    for (int64_t j = 0; j < (kThresholds > 0 ? kThresholds : strength.size); ++j)
      by_strength = AddWhere<F>(Greater<F>(p.r2, p.StrengthBound(strength[j])), by_strength, per_strength);
    return by_coherence + by_strength;
  }

  // kEdges is the number of edges of folded orientations where the compiler knows it, otherwise 0.
  template <int kEdges>
  BLADE_INLINE Int Orientation(const Point<F>& p) const {
    const Real zero = {};
    const Int one = Int{} + 1;
    const auto lower = Greater<F>(zero, p.s);
    Int orientation = {};
    if (kEdges > 0 || folds > 0) {
      Real c = NegateWhere<F>(lower, p.c), s = NegateWhere<F>(lower, p.s);
      const auto left = Greater<F>(zero, c);
      const Real turned = Choose<F>(left, s, c);
      s = Choose<F>(left, -c, s);
      orientation = AddWhere<F>(lower, orientation, Int{} + orientations / 2);
      Int quarter = AddWhere<F>(left, Int{}, Int{} + orientations / 4);
      const int64_t edges = kEdges > 0 ? kEdges : edge_cos.size;
#pragma GCC unroll 8
      for (int64_t j = 0; j < edges; ++j) {
        const auto crossed = Greater<F>(s * edge_cos[j], turned * edge_sin[j]);
        (j % 2 == 0 ? orientation : quarter) = AddWhere<F>(crossed, j % 2 == 0 ? orientation : quarter, one);
      }
      orientation += quarter;
    } else {
      for (int64_t j = 0; j < edge_cos.size; ++j) {
        const auto crossed = Greater<F>(p.s * edge_cos[j], p.c * edge_sin[j]);
        orientation = AddWhere<F>(j < low_edges ? lower | crossed : lower & crossed, orientation, one);
      }
    }
    return ZeroWhereEqual<F>(orientation, Int{} + orientations);
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
  const bool tables;  // origin and scale fit into a vector each
  Real origins = {}, scales = {};

  BLADE_INLINE SoftBins(const SelectPlan<F>& plan, const HardBins<F>& hard_bins)
      : hard(hard_bins),
        soft(plan.soft),
        bound(plan.bound),
        origin(plan.origin),
        scale(plan.scale),
        middle_cos(plan.middle_cos),
        middle_sin(plan.middle_sin),
        arc(plan.arc),
        tables(kRearranges<F> && plan.bound.size() <= static_cast<size_t>(kLanes<F>)) {
    if (!tables) return;
    for (int64_t j = 0; j < bound.size; ++j) {
      origins[j] = origin[j];
      scales[j] = scale[j];
    }
  }

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
    const Int one = Int{} + 1;
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
      const auto passed = soft == SoftFeature::kStrength ? AtLeast<F>(p.r2, p.StrengthBound(bound[j]))
                          : soft == SoftFeature::kCoherence
                              ? (Greater<F>(p.r2, zero) & AtLeast<F>(p.r2, bound[j] * p.trace2))
                              : AtLeast<F>(value, zero + bound[j]);
      bin = AddWhere<F>(passed, bin, one);
      if (tables) continue;
      from = Choose<F>(passed, zero + origin[j], from);
      slope = Choose<F>(passed, zero + scale[j], slope);
    }
    if constexpr (kRearranges<F>) {
      if (tables) {
        from = Rearranged<F>(origins, bin);
        slope = Rearranged<F>(scales, bin);
      }
    }
    *weight = (value - from) * slope;
    return bin;
  }
};

// Adds the intensity's part to n indices.
template <typename F, typename S>
BLADE_TARGET void AddIntensity(const F* values, const SelectPlan<F>& plan, int64_t n, S* index) {
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
    for (int64_t lane = 0; lane < kLanes<F>; ++lane) index[x + lane] = static_cast<S>(index[x + lane] + bins[lane]);
  }
}

// Of a usual plan, 24 orientations and 3 of the other features, 6 edges and 2 thresholds; otherwise zeros.
template <int64_t kRadius, int kEdges, int kThresholds, typename F, typename S>
BLADE_TARGET void SelectWith(const F* const* rows, int64_t plane, const SelectPlan<F>& plan, int64_t n, S* out) {
  const F* weights = plan.weights.data();
  const int64_t radius = kRadius > 0 ? kRadius : plan.radius();
  const HardBins<F> bins(plan);
  // First all sums, then all comparisons: each chain alone is short enough for several to be under way at a time.
  constexpr int64_t kPoints = 8;
  Point<F> points[kPoints];
  for (int64_t x = 0; x < n;) {
    const int64_t count = std::min(kPoints, (n - x + kLanes<F> - 1) / kLanes<F>);
    for (int64_t i = 0; i < count; ++i) points[i] = Point<F>(rows, plane, x + i * kLanes<F>, weights, radius);
    for (int64_t i = 0; i < count; ++i, x += kLanes<F>)
      StoreIndex<F>(bins.template Orientation<kEdges>(points[i]) + bins.template Rest<kThresholds>(points[i]), out + x);
  }
}

template <int64_t kRadius, typename F, typename S>
void SelectRadius(const F* const* rows, int64_t plane, const SelectPlan<F>& plan, int64_t n, S* out) {
  if (plan.orientations == 24 && plan.strengths == 3 && plan.coherences == 3)
    return SelectWith<kRadius, 6, 2>(rows, plane, plan, n, out);
  SelectWith<kRadius, 0, 0>(rows, plane, plan, n, out);
}

template <typename F, typename S>
void SelectSums(const F* const* rows, int64_t plane, const SelectPlan<F>& plan, int64_t n, S* out) {
  BLADE_BY_RADIUS(SelectRadius, plan.radius(), rows, plane, plan, n, out);
}

template <typename F, typename S>
void Select(const F* const* rows, int64_t plane, const F* values, const SelectPlan<F>& plan, int64_t n, S* out) {
  SelectSums(rows, plane, plan, n, out);
  if (!plan.intensity.empty()) AddIntensity(values, plan, n, out);
}

template <int64_t kRadius, typename F>
BLADE_TARGET void SelectSoftRadius(const F* const* rows, int64_t plane, const F* values, const SelectPlan<F>& plan,
                                   int64_t n, const SoftRow<F>& out) {
  using Real = typename Vector<F>::Real;
  using Int = typename Vector<F>::Int;
  using Lane = typename Vector<F>::IntLane;
  const F* weights = plan.weights.data();
  const int64_t radius = kRadius > 0 ? kRadius : plan.radius();
  const HardBins<F> hard(plan);
  const SoftBins<F> soft(plan, hard);
  const SoftRow<F> to = out;
  const Lane stride = static_cast<Lane>(plan.soft_stride);
  const bool circular = plan.soft == SoftFeature::kOrientation;
  const Real zero = {}, one = zero + F(1);
  for (int64_t x = 0; x < n; x += kLanes<F>) {
    const Point<F> p(rows, plane, x, weights, radius);
    Real weight;
    Int index = hard.template Rest<0>(p), bin, next;
    if (circular) {
      bin = soft.Orientation(p, &weight);
      next = (bin + 1) & (bin + 1 != hard.orientations);
    } else {
      bin = soft.Other(p, values, x, &weight);
      next = bin + 1;
      index += hard.template Orientation<0>(p);
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
void SelectSoft(const F* const* rows, int64_t plane, const F* values, const SelectPlan<F>& plan, int64_t n,
                const SoftRow<F>& out) {
  BLADE_BY_RADIUS(SelectSoftRadius, plan.radius(), rows, plane, values, plan, n, out);
}

template <typename F>
constexpr SelectKernels<F> kSelectKernels = {
    {TensorAlong<SelectCenter::kPixel, F>, TensorAlong<SelectCenter::kFaceX, F>},
    TensorRows<SelectCenter::kFaceY, F>,
    {Intensity<SelectCenter::kPixel, F>, Intensity<SelectCenter::kFaceX, F>, Intensity<SelectCenter::kFaceY, F>},
    SmoothAcross<F>,
    Select<F, int32_t>,
    Select<F, uint8_t>,
    SelectSoft<F>};

}  // namespace

BLADE_DEFINE_KERNELS(SelectKernels<float>, kSelectKernels<float>)
BLADE_DEFINE_KERNELS(SelectKernels<double>, kSelectKernels<double>)

}  // namespace blade
