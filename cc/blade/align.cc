#include "cc/blade/align.h"

#include <algorithm>
#include <limits>
#include <sstream>
#include <vector>

#include "cc/blade/align_kernels.h"
#include "cc/blade/ring.h"
#include "cc/blade/rows.h"

namespace blade {
namespace {

// Calls work(first, y0, y1) for each image of rows [begin, end): its first row among all, and which of its rows.
template <typename Work>
void ForEachImage(const PlaneShape& shape, int64_t begin, int64_t end, const Work& work) {
  const ScopedFlushSubnormals flush;
  for (int64_t row = begin; row < end;) {
    const int64_t y = row % shape.h, count = std::min(end - row, shape.h - y);
    work(row - y, y, y + count);
    row += count;
  }
}

// Replicates both ends of a row of w values.
void ExtendEnds(int64_t w, int64_t reach, float* row) {
  std::fill_n(row - reach, reach, row[0]);
  std::fill_n(row + w, reach, row[w - 1]);
}

void Extended(const float* from, int64_t w, int64_t reach, float* to) {
  std::copy_n(from, w, to);
  ExtendEnds(w, reach, to);
}

struct Place {
  int64_t y, x;
  int64_t squared() const { return y * y + x * x; }
};

// The steps of block matching, the shortest first: it wins where several match as well.
std::vector<Place> Places(int64_t radius) {
  std::vector<Place> places;
  for (int64_t y = -radius; y <= radius; ++y)
    for (int64_t x = -radius; x <= radius; ++x) places.push_back({y, x});
  std::stable_sort(places.begin(), places.end(),
                   [](const Place& a, const Place& b) { return a.squared() < b.squared(); });
  return places;
}

// The factors of Chebyshev's recursion.
std::vector<float> Relaxation(double acceleration, int64_t sweeps) {
  std::vector<float> factors = {1.0f};
  double share = acceleration * acceleration / 2;
  for (int64_t k = 1; k < sweeps; ++k) {
    const double omega = 1 / (1 - share);
    factors.push_back(static_cast<float>(omega));
    share = acceleration * acceleration / 4 * omega;
  }
  return factors;
}

}  // namespace

std::string ValidateAlign(const AlignParameters& p) {
  std::ostringstream message;
  // In float, as what is given is rounded to it.
  const auto in = [&](const char* name, float value, float low, float high) {
    if (message.str().empty() && !(value >= low && value <= high))
      message << name << ": expected a number in [" << low << ", " << high << "], got " << value;
  };
  constexpr float kGreat = 1e12f;
  in("smoothness", p.smoothness, 1e-7f, kGreat);
  in("robust", p.robust, 1e-6f, kGreat);
  in("bias", p.bias, 0, kGreat);
  in("radius", static_cast<float>(p.radius), 0, kRingPad);
  in("tile", static_cast<float>(p.tile), 1, 2 * kRingPad);
  in("sweeps", static_cast<float>(p.sweeps), 1, 1000);
  in("acceleration", p.acceleration, 0, 1);
  in("largest", p.largest, 0, kGreat);
  if (message.str().empty() && p.tile % 2 == 0) message << "tile: expected an odd number, got " << p.tile;
  return message.str();
}

void HalveRows(const PlaneShape& shape, SimdLevel level, const float* image, int64_t begin, int64_t end, float* out) {
  const AlignKernels& kernels = KernelsAt<AlignKernels>(level);
  const PlaneShape to = shape.halved();
  const Ring<float> across(1, 1, shape.w);
  ForEachImage(to, begin, end, [&](int64_t first, int64_t y0, int64_t y1) {
    const float* from = image + first / to.h * shape.h * shape.w;
    const auto row = [&](int64_t y) { return from + Clamp(y, shape.h) * shape.w; };
    for (int64_t y = y0; y < y1; ++y) {
      kernels.halve_across(row(2 * y - 1), row(2 * y), row(2 * y + 1), row(2 * y + 2), shape.w, across.Row(0));
      ExtendEnds(shape.w, 2, across.Row(0));
      kernels.halve_along(across.Row(0), to.w, out + (first + y) * to.w);
    }
  });
}

void DoubleRows(const PlaneShape& shape, SimdLevel level, const float* flow, int64_t begin, int64_t end, float* out) {
  const AlignKernels& kernels = KernelsAt<AlignKernels>(level);
  const PlaneShape from = shape.halved();
  const Ring<float> across(1, 1, from.w);
  ForEachImage(shape, begin, end, [&](int64_t first, int64_t y0, int64_t y1) {
    for (int64_t part = 0; part < 2; ++part) {
      const float* coarse = flow + part * from.pixels() + first / shape.h * from.h * from.w;
      for (int64_t y = y0; y < y1; ++y) {
        const int64_t near = y / 2, far = Clamp(near + 2 * (y % 2) - 1, from.h);
        kernels.between(coarse + near * from.w, coarse + far * from.w, from.w, across.Row(0));
        ExtendEnds(from.w, 1, across.Row(0));
        kernels.double_along(across.Row(0), shape.w, out + part * shape.pixels() + (first + y) * shape.w);
      }
    }
  });
}

void ExtendRows(const PlaneShape& shape, const float* image, int64_t begin, int64_t end, float* out) {
  const PlaneShape to = shape.extended();
  for (int64_t row = begin; row < end; ++row) {
    const float* from = image + (row / to.h * shape.h + Clamp(row % to.h - 1, shape.h)) * shape.w;
    float* into = out + row * to.w;
    into[0] = from[0];
    std::copy_n(from, shape.w, into + 1);
    std::fill_n(into + 1 + shape.w, 2, from[shape.w - 1]);
  }
}

namespace {

// Rows of the moving image, warped along a flow.
class Warped {
 public:
  Warped(const PlaneShape& shape, const AlignKernels& kernels, const float* moving, const float* flow)
      : shape_(shape), kernels_(kernels), moving_(moving), flow_(flow) {}

  void Row(int64_t first, int64_t y, float* out) const {
    const PlaneShape extended = shape_.extended();
    const float* origin = moving_ + (first / shape_.h * extended.h + 1) * extended.w + 1;
    const float* u = flow_ + (first + y) * shape_.w;
    kernels_.warp(origin, shape_.h, shape_.w, y, u, u + shape_.pixels(), out);
  }

 private:
  const PlaneShape shape_;
  const AlignKernels& kernels_;
  const float *moving_, *flow_;
};

}  // namespace

void MatchRows(const PlaneShape& shape, const AlignParameters& parameters, SimdLevel level, const float* reference,
               const float* moving, const float* flow, int64_t begin, int64_t end, float* out) {
  const AlignKernels& kernels = KernelsAt<AlignKernels>(level);
  const Warped warped(shape, kernels, moving, flow);
  const std::vector<Place> places = Places(parameters.radius);
  const int64_t half = parameters.tile / 2, radius = parameters.radius, w = shape.w;
  const float bias = static_cast<float>(parameters.bias * static_cast<double>(parameters.tile * parameters.tile));
  ForEachImage(shape, begin, end, [&](int64_t first, int64_t y0, int64_t y1) {
    // Rows of the reference that tiles cover, and those of warped that they are compared with.
    const int64_t low = std::max<int64_t>(y0 - half, 0), high = std::min(y1 + half, shape.h);
    const int64_t from = std::max<int64_t>(low - radius, 0), to = std::min(high + radius, shape.h);
    const Ring<float> moved(to - from, 1, w), best(y1 - y0, 3, w), along(parameters.tile, 1, w), row(1, 2, w);
    for (int64_t y = from; y < to; ++y) {
      warped.Row(first, y, moved.Row(y));
      ExtendEnds(w, radius, moved.Row(y));
    }
    for (int64_t y = y0; y < y1; ++y) std::fill_n(best.Row(y), w, std::numeric_limits<float>::infinity());
    std::vector<const float*> terms(static_cast<size_t>(parameters.tile));
    for (const Place& place : places) {
      for (int64_t y = low; y < high + half; ++y) {
        if (y < high) {
          const float* other = moved.Row(std::min(std::max(y + place.y, from), to - 1)) + place.x;
          float* differences = row.Row(0);  // 0 beyond both ends
          kernels.distance(other, reference + (first + y) * w, w, differences);
          for (int64_t k = 0; k < parameters.tile; ++k) terms[static_cast<size_t>(k)] = differences + k - half;
          kernels.sum(terms.data(), parameters.tile, w, along.Row(y));
        }
        const int64_t middle = y - half;
        if (middle < y0 || middle >= y1) continue;
        const int64_t top = std::max(middle - half, low), bottom = std::min(middle + half + 1, high);
        for (int64_t k = top; k < bottom; ++k) terms[static_cast<size_t>(k - top)] = along.Row(k);
        kernels.sum(terms.data(), bottom - top, w, row.Row(0, 1));
        kernels.better(row.Row(0, 1), place.squared() == 0 ? 0.0f : bias, static_cast<float>(place.x),
                       static_cast<float>(place.y), w, best.Row(middle), best.Row(middle, 1), best.Row(middle, 2));
      }
    }
    for (int64_t part = 0; part < 2; ++part) {
      for (int64_t y = y0; y < y1; ++y) {
        const int64_t at = part * shape.pixels() + (first + y) * w;
        const float* const terms_of_row[] = {flow + at, best.Row(y, 1 + part)};
        kernels.sum(terms_of_row, 2, w, out + at);
      }
    }
  });
}

void SystemRows(const PlaneShape& shape, const AlignParameters& parameters, SimdLevel level, const float* reference,
                const float* moving, const float* flow, int64_t begin, int64_t end, float* system) {
  const AlignKernels& kernels = KernelsAt<AlignKernels>(level);
  const Warped warped(shape, kernels, moving, flow);
  constexpr int64_t kReach = 2;
  const int64_t w = shape.w;
  const Ring<float> rows(2 * kReach + 1, 2, w);  // warped, and its sum with the reference
  ForEachImage(shape, begin, end, [&](int64_t first, int64_t y0, int64_t y1) {
    int64_t next = std::max<int64_t>(y0 - kReach, 0);
    for (int64_t y = y0; y < y1; ++y) {
      for (; next < std::min(y + kReach + 1, shape.h); ++next) {
        warped.Row(first, next, rows.Row(next));
        const float* const terms[] = {reference + (first + next) * w, rows.Row(next)};
        kernels.sum(terms, 2, w, rows.Row(next, 1));
        ExtendEnds(w, kReach, rows.Row(next, 1));
      }
      const float* sums[2 * kReach + 1];
      for (int64_t k = -kReach; k <= kReach; ++k) sums[kReach + k] = rows.Row(Clamp(y + k, shape.h), 1);
      const int64_t at = (first + y) * w, plane = shape.pixels();
      float* s = system + at;
      kernels.system(sums + kReach, reference + at, rows.Row(y), flow + at, flow + plane + at, shape.h, w, y,
                     parameters.smoothness, parameters.robust, s, s + plane, s + 2 * plane, s + 3 * plane,
                     s + 4 * plane);
    }
  });
}

void SolveRows(const PlaneShape& shape, const AlignParameters& parameters, SimdLevel level, const float* system,
               const float* flow, int64_t begin, int64_t end, float* out) {
  const AlignKernels& kernels = KernelsAt<AlignKernels>(level);
  const std::vector<float> omegas = Relaxation(parameters.acceleration, parameters.sweeps);
  const int64_t w = shape.w, plane = shape.pixels(), sweeps = parameters.sweeps;
  // Both parts after 0, 1, ... sweeps. Sweep k is a row above sweep k - 1, so that what it reads is still in the cache.
  const Ring<float> z(3, 2 * (sweeps + 1), w);
  ForEachImage(shape, begin, end, [&](int64_t first, int64_t y0, int64_t y1) {
    for (int64_t line = std::max<int64_t>(y0 - sweeps, 0); line < y1 + sweeps; ++line) {
      for (int64_t k = 0; k <= sweeps; ++k) {
        // Of the rows that later sweeps of this block need.
        const int64_t y = line - k, reach = sweeps - k;
        if (y < std::max<int64_t>(y0 - reach, 0) || y >= std::min(y1 + reach, shape.h)) continue;
        const int64_t at = (first + y) * w;
        if (k == 0) {
          for (int64_t part = 0; part < 2; ++part) Extended(flow + part * plane + at, w, 1, z.Row(y, part));
          continue;
        }
        const float* around[2][3];
        for (int64_t part = 0; part < 2; ++part)
          for (int64_t i = -1; i <= 1; ++i) around[part][i + 1] = z.Row(Clamp(y + i, shape.h), 2 * (k - 1) + part);
        const int64_t before = 2 * std::max<int64_t>(k - 2, 0);
        const float* s = system + at;
        kernels.sweep(s, s + plane, s + 2 * plane, s + 3 * plane, s + 4 * plane, around[0] + 1, around[1] + 1,
                      z.Row(y, before), z.Row(y, before + 1), omegas[static_cast<size_t>(k - 1)], w, z.Row(y, 2 * k),
                      z.Row(y, 2 * k + 1));
        for (int64_t part = 0; part < 2; ++part) {
          ExtendEnds(w, 1, z.Row(y, 2 * k + part));
          if (k < sweeps) continue;
          const int64_t to = part * plane + at;
          kernels.limit(flow + to, z.Row(y, 2 * k + part), parameters.largest, w, out + to);
        }
      }
    }
  });
}

void MedianRows(const PlaneShape& shape, SimdLevel level, const float* flow, int64_t begin, int64_t end, float* out) {
  const AlignKernels& kernels = KernelsAt<AlignKernels>(level);
  constexpr int64_t kReach = 2;
  const Ring<float> row(1, 1, shape.w), along(2 * kReach + 1, 1, shape.w);
  ForEachImage(shape, begin, end, [&](int64_t first, int64_t y0, int64_t y1) {
    for (int64_t part = 0; part < 2; ++part) {
      const int64_t from = (part * shape.rows() + first) * shape.w;
      const float* five[2 * kReach + 1];
      int64_t next = std::max<int64_t>(y0 - kReach, 0);
      for (int64_t y = y0; y < y1; ++y) {
        for (; next < std::min(y + kReach + 1, shape.h); ++next) {
          Extended(flow + from + next * shape.w, shape.w, kReach, row.Row(0));
          for (int64_t k = -kReach; k <= kReach; ++k) five[kReach + k] = row.Row(0) + k;
          kernels.median(five, shape.w, along.Row(next));
        }
        for (int64_t k = -kReach; k <= kReach; ++k) five[kReach + k] = along.Row(Clamp(y + k, shape.h));
        kernels.median(five, shape.w, out + from + y * shape.w);
      }
    }
  });
}

}  // namespace blade
