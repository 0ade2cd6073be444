#ifndef BLADE_ARITHMETIC_H_
#define BLADE_ARITHMETIC_H_

#include <cstdint>

#include "cc/blade/host_device.h"

// select.h's definition of the selection centred on pixels, one pixel at a time: what the CUDA kernels run, and what
// the vectorised kernels of the processor must equal bit for bit. Compile it for the processor with -ffp-contract=off.

namespace blade {

// Replicated borders.
BLADE_HOST_DEVICE constexpr int32_t ClampIndex(int32_t i, int32_t size) { return i < 0 ? 0 : i >= size ? size - 1 : i; }

// a b, rounded. CUDA's compiler contracts a product and a sum to one operation unless the product is this one.
template <typename F>
BLADE_HOST_DEVICE inline F Product(F a, F b) {
#ifdef __CUDA_ARCH__
  if constexpr (sizeof(F) == sizeof(double)) return __dmul_rn(a, b);
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}

// The constants of SelectPlan, wherever they are.
template <typename F>
struct SelectConstants {
  int32_t orientations, strengths, coherences, folds, low_edges;
  int32_t radius, edges, strength_thresholds, coherence_thresholds, intensity_thresholds;
  const F *weights, *edge_cos, *edge_sin, *strength, *coherence, *intensity;
};

template <typename F>
struct Tensor {
  F j11, j12, j22;
};

// Adds one channel's part to a pixel's structure tensor, from its four neighbours.
template <typename F>
BLADE_HOST_DEVICE inline void AddChannel(F left, F right, F up, F down, Tensor<F>* j) {
  const F gx = Product(F(0.5), right - left), gy = Product(F(0.5), down - up);
  j->j11 = j->j11 + Product(gx, gx);
  j->j12 = j->j12 + Product(gx, gy);
  j->j22 = j->j22 + Product(gy, gy);
}

// The Gaussian of values `step` apart around `center`.
template <typename F>
BLADE_HOST_DEVICE inline F Gaussian(const F* center, int32_t step, const F* weights, int32_t radius) {
  F sum = Product(weights[0], center[0]);
  for (int32_t k = 1; k <= radius; ++k) sum = sum + Product(weights[k], center[-k * step] + center[k * step]);
  return sum;
}

// The same of a whole row or column of `size` values with replicated ends, at position `at` of it.
template <typename F>
BLADE_HOST_DEVICE inline F GaussianAt(const F* first, int64_t step, int32_t at, int32_t size, const F* weights,
                                      int32_t radius) {
  F sum = Product(weights[0], first[at * step]);
  for (int32_t k = 1; k <= radius; ++k) {
    sum = sum + Product(weights[k], first[ClampIndex(at - k, size) * step] + first[ClampIndex(at + k, size) * step]);
  }
  return sum;
}

template <typename F>
BLADE_HOST_DEVICE inline int32_t OrientationBin(const SelectConstants<F>& plan, F c, F s) {
  const bool lower = s < F(0);
  int32_t bin = 0;
  if (plan.folds > 0) {
    if (lower) {
      c = -c;
      s = -s;
      bin += plan.orientations / 2;
    }
    if (c < F(0)) {
      const F turned = -c;
      c = s;
      s = turned;
      bin += plan.orientations / 4;
    }
    for (int32_t j = 0; j < plan.edges; ++j) bin += Product(s, plan.edge_cos[j]) > Product(c, plan.edge_sin[j]);
  } else {
    for (int32_t j = 0; j < plan.edges; ++j) {
      const bool crossed = Product(s, plan.edge_cos[j]) > Product(c, plan.edge_sin[j]);
      bin += j < plan.low_edges ? (lower || crossed) : (lower && crossed);
    }
  }
  return bin == plan.orientations ? 0 : bin;
}

// The selection of a pixel with the smoothed tensor j; `value`, the mean of its channels, counts where there are
// intensity thresholds.
template <typename F>
BLADE_HOST_DEVICE inline int32_t SelectPixel(const SelectConstants<F>& plan, const Tensor<F>& j, F value) {
  const F c = j.j11 - j.j22, s = j.j12 + j.j12;
  const F r2 = Product(c, c) + Product(s, s), trace = j.j11 + j.j22, trace2 = Product(trace, trace);
  int32_t strength = 0, coherence = 0, intensity = 0;
  for (int32_t i = 0; i < plan.strength_thresholds; ++i) {
    const F u = plan.strength[i] - trace;
    strength += r2 > Product(u, u < F(0) ? -u : u);
  }
  for (int32_t i = 0; i < plan.coherence_thresholds; ++i) coherence += r2 > Product(plan.coherence[i], trace2);
  for (int32_t i = 0; i < plan.intensity_thresholds; ++i) intensity += value > plan.intensity[i];
  const int32_t rest = strength + plan.strengths * (coherence + plan.coherences * intensity);
  return OrientationBin(plan, c, s) + plan.orientations * rest;
}

// The mean of `channels` values from their sum, which is taken in ascending order from 0.
template <typename F>
BLADE_HOST_DEVICE inline F Mean(F sum, int64_t channels) {
  return Product(sum, static_cast<F>(1.0 / static_cast<double>(channels)));
}

}  // namespace blade

#endif  // BLADE_ARITHMETIC_H_
