// The arithmetic of a level set's sums, written once with the compiler's vectors. No include guard: one source file a
// level includes it.

#include <algorithm>
#include <cmath>

#include "cc/blade/lanes.h"
#include "cc/blade/level_set_kernels.h"

namespace blade {
namespace {

// Vectors whose sums make up those of 64 bytes.
constexpr int64_t kParts = 64 / kVectorBytes;

// arctan(x) = x (1 + x^2 (... )), |x| <= 1, to 3e-8 (Abramowitz and Stegun 4.4.49).
constexpr double kArctan[] = {0.0028662257, -0.0161657367, 0.0429096138, -0.0752896400,
                              0.1065626393, -0.1420889944, 0.1999355085, -0.3333314528};
constexpr double kPi = 3.141592653589793;

template <typename F>
BLADE_INLINE LanesOf<F> Root(const LanesOf<F>& x) {
  F lanes[kLanes<F>];
  Save(x, lanes);
  for (F& lane : lanes) lane = std::sqrt(lane);
  return Load(lanes);
}

template <typename F>
BLADE_INLINE double Total(const LanesOf<F>* parts) {
  F lanes[kParts * kLanes<F>];
  for (int64_t i = 0; i < kParts; ++i) Save(parts[i], lanes + i * kLanes<F>);
  double sum = 0;
  for (const F lane : lanes) sum += static_cast<double>(lane);
  return sum;
}

// The first `count` values, then zeros; kWhole: count is kLanes.
template <bool kWhole, typename F>
BLADE_INLINE LanesOf<F> LoadSome(const F* from, int64_t count) {
  if constexpr (kWhole) return Load(from);
  F lanes[kLanes<F>] = {};
  for (int64_t i = 0; i < count; ++i) lanes[i] = from[i];
  return Load(lanes);
}

// Zero beyond the first `count` lanes.
template <bool kWhole, typename F>
BLADE_INLINE LanesOf<F> KeepSome(const LanesOf<F>& x, int64_t count) {
  if constexpr (kWhole) return x;
  F lanes[kLanes<F>];
  Save(x, lanes);
  return LoadSome<false>(lanes, count);
}

template <typename F>
struct GeometrySums {
  const F *above, *here, *below, *before;
  F* heaviside;
  LanesOf<F> inside[kParts] = {}, area[kParts] = {}, length[kParts] = {}, change[kParts] = {};

  // To part i, `count` pixels from x on.
  template <bool kWhole>
  BLADE_INLINE void Add(int64_t i, int64_t x, int64_t count) {
    using Real = LanesOf<F>;
    const Real zero = {}, one = zero + F(1), half = zero + F(0.5), most = zero + F(1e12), least = zero + F(1e-12);
    const Real phi = LoadSome<kWhole>(here + x, count);
    // Within bounds, so that one division gives both 1 / size and 1 / (1 + size^2).
    Real size = phi < zero ? -phi : phi;
    size = size > most ? most : size;  // NaN stays
    size = size < least ? least : size;
    const Real grown = one + size * size, both = one / (size * grown);
    const Real small = size > one ? both * grown : size, square = small * small;
    Real angle = {};
    for (const double coefficient : kArctan) angle = (angle + static_cast<F>(coefficient)) * square;
    angle = (angle + one) * small;
    angle = size > one ? static_cast<F>(kPi / 2) - angle : angle;
    const Real part = static_cast<F>(1 / kPi) * angle;
    const Real h = KeepSome<kWhole, F>(phi < zero ? half - part : half + part, count);
    Save(h, heaviside + x);
    const Real gx = LoadSome<kWhole>(here + x + 1, count) - LoadSome<kWhole>(here + x - 1, count);
    const Real gy = LoadSome<kWhole>(below + x, count) - LoadSome<kWhole>(above + x, count);
    const Real step = phi - LoadSome<kWhole>(before + x, count);
    inside[i] += phi > zero ? one : zero;
    area[i] += h;
    length[i] += Root<F>(gx * gx + gy * gy) * (both * size);
    change[i] += step * step;
  }
};

template <typename F>
struct ChannelSums {
  const F *phi, *heaviside, *f;
  LanesOf<F> inside[kParts] = {}, weighted[kParts] = {}, squared[kParts] = {};

  template <bool kWhole>
  BLADE_INLINE void Add(int64_t i, int64_t x, int64_t count) {
    const LanesOf<F> zero = {}, value = LoadSome<kWhole>(f + x, count), part = Load(heaviside + x) * value;
    inside[i] += Load(phi + x) > zero ? value : zero;
    weighted[i] += part;
    squared[i] += part * value;
  }
};

template <typename F, typename Sums>
BLADE_INLINE void AddRow(int64_t n, Sums* sums) {
  int64_t x = 0;
  for (; x + kParts * kLanes<F> <= n; x += kParts * kLanes<F>) {
    for (int64_t i = 0; i < kParts; ++i) sums->template Add<true>(i, x + i * kLanes<F>, kLanes<F>);
  }
  for (int64_t i = 0; x < n; ++i, x += kLanes<F>) sums->template Add<false>(i, x, std::min(n - x, kLanes<F>));
}

template <typename F>
BLADE_TARGET void Geometry(const F* above, const F* here, const F* below, const F* before, int64_t n, F* heaviside,
                           double* sums) {
  GeometrySums<F> found = {above, here, below, before, heaviside};
  AddRow<F>(n, &found);
  sums[0] = Total<F>(found.inside);
  sums[1] = Total<F>(found.area);
  sums[2] = Total<F>(found.length) / (2 * kPi);
  sums[3] = Total<F>(found.change);
}

template <typename F>
BLADE_TARGET void Channel(const F* phi, const F* heaviside, const F* f, int64_t n, double* sums) {
  ChannelSums<F> found = {phi, heaviside, f};
  AddRow<F>(n, &found);
  sums[0] = Total<F>(found.inside);
  sums[1] = Total<F>(found.weighted);
  sums[2] = Total<F>(found.squared);
}

template <typename F>
constexpr LevelSetKernels<F> kLevelSetKernels = {Geometry<F>, Channel<F>};

}  // namespace

BLADE_DEFINE_KERNELS(LevelSetKernels<float>, kLevelSetKernels<float>)
BLADE_DEFINE_KERNELS(LevelSetKernels<double>, kLevelSetKernels<double>)

}  // namespace blade
