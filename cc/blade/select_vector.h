// The selection's arithmetic, written once with the compiler's vectors. No include guard: one source file a level
// includes it, having defined BLADE_TARGET (a function attribute) and kVectorBytes. -ffp-contract=off keeps the levels
// equal, bit for bit.

#include <cstring>

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

template <typename F>
BLADE_TARGET void Tensor(const F* above, const F* here, const F* below, int64_t plane, int64_t channels, int64_t n,
                         TensorRow<F> out) {
  using Real = typename Vector<F>::Real;
  const F half = F(0.5);
  for (int64_t x = 0; x < n; x += kLanes<F>) {
    Real j11 = {}, j12 = {}, j22 = {};
    for (int64_t c = 0; c < channels; ++c) {
      Real left, right, up, down;
      Load(here + c * plane + x - 1, left);
      Load(here + c * plane + x + 1, right);
      Load(above + c * plane + x, up);
      Load(below + c * plane + x, down);
      const Real gx = half * (right - left), gy = half * (down - up);
      j11 += gx * gx;
      j12 += gx * gy;
      j22 += gy * gy;
    }
    Save(j11, out.data + x);
    Save(j12, out.data + out.plane + x);
    Save(j22, out.data + 2 * out.plane + x);
  }
}

// kRadius is the radius where the compiler knows it, otherwise 0.
template <int64_t kRadius, typename F>
BLADE_TARGET void SmoothRadius(TensorRow<F> tensor, const SelectPlan<F>& plan, int64_t n, TensorRow<F> out) {
  using Real = typename Vector<F>::Real;
  const F* weights = plan.weights.data();
  const int64_t radius = kRadius > 0 ? kRadius : plan.radius();
  for (int64_t component = 0; component < 3; ++component) {
    const F* from = tensor.data + component * tensor.plane;
    F* to = out.data + component * out.plane;
    for (int64_t x = 0; x < n; x += kLanes<F>) {
      Real sum, left, right;
      Load(from + x, sum);
      sum = weights[0] * sum;
      for (int64_t k = 1; k <= radius; ++k) {
        Load(from + x - k, left);
        Load(from + x + k, right);
        sum = sum + weights[k] * (left + right);
      }
      Save(sum, to + x);
    }
  }
}

template <typename F>
void Smooth(TensorRow<F> tensor, const SelectPlan<F>& plan, int64_t n, TensorRow<F> out) {
  return plan.radius() == 3 ? SmoothRadius<3>(tensor, plan, n, out) : SmoothRadius<0>(tensor, plan, n, out);
}

template <int64_t kRadius, typename F>
BLADE_TARGET void SelectRadius(const F* const* rows, int64_t plane, const SelectPlan<F>& plan, int64_t n,
                               int32_t* out) {
  using Real = typename Vector<F>::Real;
  using Int = typename Vector<F>::Int;
  using Lane = typename Vector<F>::IntLane;
  const F* weights = plan.weights.data();
  const int64_t radius = kRadius > 0 ? kRadius : plan.radius();
  const F* edge_cos = plan.edge_cos.data();
  const F* edge_sin = plan.edge_sin.data();
  const int64_t edges = static_cast<int64_t>(plan.edge_cos.size());
  const F* strength = plan.strength.data();
  const int64_t strengths = static_cast<int64_t>(plan.strength.size());
  const F* coherence = plan.coherence.data();
  const int64_t coherences = static_cast<int64_t>(plan.coherence.size());
  const Lane orientations = static_cast<Lane>(plan.orientations);
  const Real zero = {};
  const Int none = {};
  for (int64_t x = 0; x < n; x += kLanes<F>) {
    Real tensor[3];
    for (int64_t component = 0; component < 3; ++component) {
      const int64_t at = component * plane + x;
      Real sum, up, down;
      Load(rows[0] + at, sum);
      sum = weights[0] * sum;
      for (int64_t k = 1; k <= radius; ++k) {
        Load(rows[-k] + at, up);
        Load(rows[k] + at, down);
        sum = sum + weights[k] * (up + down);
      }
      tensor[component] = sum;
    }
    Real c = tensor[0] - tensor[2];
    Real s = tensor[1] + tensor[1];
    const Real r2 = c * c + s * s;
    const Real trace = tensor[0] + tensor[2];

    // A comparison is -1 where it holds.
    Int bins = none;
    const Real trace2 = trace * trace;
    for (int64_t j = 0; j < coherences; ++j) bins -= r2 > coherence[j] * trace2;
    bins *= static_cast<Lane>(strengths + 1);
    for (int64_t j = 0; j < strengths; ++j) {
      const Real u = strength[j] - trace;
      bins -= r2 > u * (u < zero ? -u : u);
    }

    const Int lower = s < zero;
    Int orientation;
    if (plan.folded) {
      c = lower ? -c : c;
      s = lower ? -s : s;
      const Int left = c < zero;
      const Real turned = left ? s : c;
      s = left ? -c : s;
      c = turned;
      orientation = (lower & (orientations / 2)) + (left & (orientations / 4));
      for (int64_t j = 0; j < edges; ++j) orientation -= s * edge_cos[j] > c * edge_sin[j];
    } else {
      orientation = none;
      for (int64_t j = 0; j < plan.low_edges; ++j) orientation -= lower | (s * edge_cos[j] > c * edge_sin[j]);
      for (int64_t j = plan.low_edges; j < edges; ++j) orientation -= lower & (s * edge_cos[j] > c * edge_sin[j]);
    }
    orientation = orientation & (orientation != orientations);

    const Int index = orientation + orientations * bins;
    if constexpr (sizeof(Lane) == sizeof(int32_t)) {
      std::memcpy(out + x, &index, sizeof(index));
    } else {
      for (int64_t lane = 0; lane < kLanes<F>; ++lane) out[x + lane] = static_cast<int32_t>(index[lane]);
    }
  }
}

template <typename F>
void Select(const F* const* rows, int64_t plane, const SelectPlan<F>& plan, int64_t n, int32_t* out) {
  return plan.radius() == 3 ? SelectRadius<3>(rows, plane, plan, n, out) : SelectRadius<0>(rows, plane, plan, n, out);
}

template <typename F>
constexpr SelectKernels<F> kSelectKernels = {Tensor<F>, Smooth<F>, Select<F>};

}  // namespace
}  // namespace blade
