// The arithmetic of alignment in loops that compilers vectorise. No include guard: one source file a level includes it.

#include <cstdint>

#include "cc/blade/align_kernels.h"
#include "cc/blade/level.h"

namespace blade {
namespace {

// Not std::min and std::max, which are functions of another target.
#define BLADE_LESS(a, b) ((a) < (b) ? (a) : (b))
#define BLADE_MORE(a, b) ((a) > (b) ? (a) : (b))

BLADE_TARGET void Sum(const float* const* rows, int64_t count, int64_t n, float* __restrict out) {
  const float* __restrict first = rows[0];
  for (int64_t x = 0; x < n; ++x) out[x] = first[x];
  for (int64_t k = 1; k < count; ++k) {
    const float* __restrict row = rows[k];
    for (int64_t x = 0; x < n; ++x) out[x] += row[x];
  }
}

BLADE_TARGET void Distance(const float* __restrict a, const float* __restrict b, int64_t n, float* __restrict out) {
  for (int64_t x = 0; x < n; ++x) out[x] = __builtin_fabsf(a[x] - b[x]);
}

BLADE_TARGET void Better(const float* __restrict cost, float bias, float at_x, float at_y, int64_t n,
                         float* __restrict best, float* __restrict best_x, float* __restrict best_y) {
  for (int64_t x = 0; x < n; ++x) {
    const float found = cost[x] + bias;
    const bool better = found < best[x];
    best[x] = better ? found : best[x];
    best_x[x] = better ? at_x : best_x[x];
    best_y[x] = better ? at_y : best_y[x];
  }
}

BLADE_TARGET void HalveAcross(const float* __restrict a, const float* __restrict b, const float* __restrict c,
                              const float* __restrict d, int64_t n, float* __restrict out) {
  for (int64_t x = 0; x < n; ++x) out[x] = (a[x] + d[x] + 3.0f * (b[x] + c[x])) * 0.125f;
}

BLADE_TARGET void HalveAlong(const float* __restrict row, int64_t n, float* __restrict out) {
  for (int64_t x = 0; x < n; ++x) {
    const float a = row[2 * x - 1], b = row[2 * x], c = row[2 * x + 1], d = row[2 * x + 2];
    out[x] = (a + d + 3.0f * (b + c)) * 0.125f;
  }
}

BLADE_TARGET void Between(const float* __restrict near, const float* __restrict far, int64_t n, float* __restrict out) {
  for (int64_t x = 0; x < n; ++x) out[x] = 0.75f * near[x] + 0.25f * far[x];
}

BLADE_TARGET void DoubleAlong(const float* __restrict row, int64_t n, float* __restrict out) {
  for (int64_t x = 0; x < n / 2; ++x) {
    out[2 * x] = 2.0f * (0.75f * row[x] + 0.25f * row[x - 1]);
    out[2 * x + 1] = 2.0f * (0.75f * row[x] + 0.25f * row[x + 1]);
  }
  if (n % 2 != 0) out[n - 1] = 2.0f * (0.75f * row[n / 2] + 0.25f * row[n / 2 - 1]);
}

// Also of NaN, which becomes 0.
BLADE_TARGET inline float Clamped(float position, float last) {
  const float positive = position > 0.0f ? position : 0.0f;
  return positive < last ? positive : last;
}

BLADE_TARGET void Warp(const float* __restrict extended, int64_t h, int64_t n, int64_t y, const float* __restrict u,
                       const float* __restrict v, float* __restrict out) {
  const float row = static_cast<float>(y), last_x = static_cast<float>(n - 1), last_y = static_cast<float>(h - 1);
  const int32_t down = static_cast<int32_t>(n + 3), count = static_cast<int32_t>(n);
  for (int32_t x = 0; x < count; ++x) {
    const float at_x = Clamped(static_cast<float>(x) + u[x], last_x), at_y = Clamped(row + v[x], last_y);
    const int32_t low_x = static_cast<int32_t>(at_x), low_y = static_cast<int32_t>(at_y);
    const float s = at_x - static_cast<float>(low_x), t = at_y - static_cast<float>(low_y);
    const int32_t at = low_y * down + low_x;
    const float a = extended[at], b = extended[at + 1], c = extended[at + down], d = extended[at + down + 1];
    const float xa = b + extended[at - 1] - 2.0f * a, xb = extended[at + 2] + a - 2.0f * b;
    const float xc = d + extended[at + down - 1] - 2.0f * c, xd = extended[at + down + 2] + c - 2.0f * d;
    const float ya = c + extended[at - down] - 2.0f * a, yb = d + extended[at - down + 1] - 2.0f * b;
    const float yc = extended[at + 2 * down] + a - 2.0f * c, yd = extended[at + 2 * down + 1] + b - 2.0f * d;
    const float upper = a + s * (b - a), upper_x = xa + s * (xb - xa), upper_y = ya + s * (yb - ya);
    const float value = upper + t * (c + s * (d - c) - upper);
    const float bent_x = upper_x + t * (xc + s * (xd - xc) - upper_x);
    const float bent_y = upper_y + t * (yc + s * (yd - yc) - upper_y);
    const float curved = s * (1.0f - s) * bent_x + t * (1.0f - t) * bent_y;
    out[x] = value - 0.5f * curved;
  }
}

BLADE_TARGET void SystemLoop(const float* __restrict above2, const float* __restrict above,
                             const float* __restrict here, const float* __restrict below,
                             const float* __restrict below2, const float* __restrict reference,
                             const float* __restrict warped, const float* __restrict u, const float* __restrict v,
                             int64_t h, int64_t n, int64_t y, float smoothness, float robust, float* __restrict s0,
                             float* __restrict s1, float* __restrict s2, float* __restrict s3, float* __restrict s4) {
  const float row = static_cast<float>(y), last_x = static_cast<float>(n - 1), last_y = static_cast<float>(h - 1);
  const float part = static_cast<float>(1.0 / 24), sides = 4.0f * smoothness;
  const int32_t count = static_cast<int32_t>(n);
  for (int32_t x = 0; x < count; ++x) {
    const float gx = (8.0f * (here[x + 1] - here[x - 1]) - (here[x + 2] - here[x - 2])) * part;
    const float gy = (8.0f * (below[x] - above[x]) - (below2[x] - above2[x])) * part;
    const float at_x = static_cast<float>(x) + u[x], at_y = row + v[x];
    const bool inside = (at_x >= 0.0f) & (at_x <= last_x) & (at_y >= 0.0f) & (at_y <= last_y);
    const float d = warped[x] - reference[x], outlier = d / robust;
    const float k = (inside ? 1.0f : 0.0f) / (1.0f + outlier * outlier);
    const float jxx = k * gx * gx, jxy = k * gx * gy, jyy = k * gy * gy;
    // Not by the determinant: of a matrix of rank one and a little more it is lost in rounding.
    const float inverse = 1.0f / (jxx + jyy + sides), along = k * (gx * u[x] + gy * v[x] - d) * inverse;
    s0[x] = gx * along;
    s1[x] = gy * along;
    s2[x] = 0.25f * (jyy + sides) * inverse;
    s3[x] = 0.25f * (jxx + sides) * inverse;
    s4[x] = -0.25f * jxy * inverse;
  }
}

BLADE_TARGET void System(const float* const* sums, const float* reference, const float* warped, const float* u,
                         const float* v, int64_t h, int64_t n, int64_t y, float smoothness, float robust, float* s0,
                         float* s1, float* s2, float* s3, float* s4) {
  SystemLoop(sums[-2], sums[-1], sums[0], sums[1], sums[2], reference, warped, u, v, h, n, y, smoothness, robust, s0,
             s1, s2, s3, s4);
}

BLADE_TARGET void SweepLoop(const float* __restrict s0, const float* __restrict s1, const float* __restrict s2,
                            const float* __restrict s3, const float* __restrict s4, const float* __restrict above_u,
                            const float* __restrict u, const float* __restrict below_u, const float* __restrict above_v,
                            const float* __restrict v, const float* __restrict below_v,
                            const float* __restrict before_u, const float* __restrict before_v, float omega, int64_t n,
                            float* __restrict out_u, float* __restrict out_v) {
  for (int64_t x = 0; x < n; ++x) {
    const float around_u = u[x + 1] + u[x - 1] + below_u[x] + above_u[x];
    const float around_v = v[x + 1] + v[x - 1] + below_v[x] + above_v[x];
    const float found_u = s0[x] + s2[x] * around_u + s4[x] * around_v;
    const float found_v = s1[x] + s3[x] * around_v + s4[x] * around_u;
    out_u[x] = before_u[x] + omega * (found_u - before_u[x]);
    out_v[x] = before_v[x] + omega * (found_v - before_v[x]);
  }
}

BLADE_TARGET void Sweep(const float* s0, const float* s1, const float* s2, const float* s3, const float* s4,
                        const float* const* u, const float* const* v, const float* before_u, const float* before_v,
                        float omega, int64_t n, float* out_u, float* out_v) {
  SweepLoop(s0, s1, s2, s3, s4, u[-1], u[0], u[1], v[-1], v[0], v[1], before_u, before_v, omega, n, out_u, out_v);
}

BLADE_TARGET void Limit(const float* __restrict start, const float* __restrict z, float largest, int64_t n,
                        float* __restrict out) {
  for (int64_t x = 0; x < n; ++x) {
    const float moved = BLADE_LESS(BLADE_MORE(z[x] - start[x], -largest), largest);
    out[x] = start[x] + moved;
  }
}

BLADE_TARGET void MedianLoop(const float* __restrict a, const float* __restrict b, const float* __restrict c,
                             const float* __restrict d, const float* __restrict e, int64_t n, float* __restrict out) {
  for (int64_t x = 0; x < n; ++x) {
    const float low = BLADE_MORE(BLADE_LESS(a[x], b[x]), BLADE_LESS(d[x], e[x]));
    const float high = BLADE_LESS(BLADE_MORE(a[x], b[x]), BLADE_MORE(d[x], e[x]));
    const float least = BLADE_LESS(low, high), most = BLADE_MORE(low, high), inner = BLADE_LESS(most, c[x]);
    out[x] = BLADE_MORE(least, inner);
  }
}

BLADE_TARGET void Median(const float* const* rows, int64_t n, float* out) {
  MedianLoop(rows[0], rows[1], rows[2], rows[3], rows[4], n, out);
}

#undef BLADE_LESS
#undef BLADE_MORE

constexpr AlignKernels kAlignKernels = {Sum,         Distance, Better, HalveAcross, HalveAlong, Between,
                                        DoubleAlong, Warp,     System, Sweep,       Limit,      Median};

}  // namespace

BLADE_DEFINE_KERNELS(AlignKernels, kAlignKernels)

}  // namespace blade
