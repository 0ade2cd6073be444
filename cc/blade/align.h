#ifndef BLADE_ALIGN_H_
#define BLADE_ALIGN_H_

#include <cstdint>
#include <string>

#include "cc/blade/simd.h"

// The passes of alignment: coarse-to-fine optical flow by block matching and Gauss-Newton steps, so that
// moving(x + flow(x)) shows what reference(x) does.
//
// Images are float [n, h, w], of at least one pixel each; a flow is two of them, along x and along y, `pixels()` apart.
// Rows [begin, end) are those of the result, of all n images together; functions may run at the same time on disjoint
// ranges, and results depend neither on them nor on the level. Images are extended by replicating their border pixels.
// Subnormal numbers count as zero. What is not finite stays without harm: no access is out of bounds, for sides below
// 2^24 pixels.

namespace blade {

struct PlaneShape {
  int64_t n, h, w;
  constexpr int64_t rows() const { return n * h; }
  constexpr int64_t pixels() const { return n * h * w; }
  // Of the next level of a pyramid.
  constexpr PlaneShape halved() const { return {n, (h + 1) / 2, (w + 1) / 2}; }
  // With the pixels around it that interpolation reads.
  constexpr PlaneShape extended() const { return {n, h + 3, w + 3}; }
};

struct AlignParameters {
  float smoothness;    // weight of squared differences of the flow beside squared differences of intensity
  float robust;        // intensity difference from which a pixel is taken for an outlier
  float bias;          // mean absolute difference by which another place has to match better
  int64_t radius;      // that block matching looks around
  int64_t tile;        // its size, odd
  int64_t sweeps;      // of the linear system of a step, at least 1
  float acceleration;  // bound of the Jacobi sweeps' spectral radius that Chebyshev's recursion assumes
  float largest;       // that a step moves
};

// Returns an error, empty for none.
std::string ValidateAlign(const AlignParameters& parameters);

// Of an image of `shape`, every second pixel after smoothing by (1, 3, 3, 1) / 8 along both axes: `shape.halved()`.
void HalveRows(const PlaneShape& shape, SimdLevel level, const float* image, int64_t begin, int64_t end, float* out);

// A flow of `shape.halved()` as one of `shape`, in its pixels: bilinear.
void DoubleRows(const PlaneShape& shape, SimdLevel level, const float* flow, int64_t begin, int64_t end, float* out);

// The image as shape.extended(), with a pixel before and two behind it along both axes; rows are those of the result.
void ExtendRows(const PlaneShape& shape, const float* image, int64_t begin, int64_t end, float* out);

// `moving` below is such an extended image, and warped(x) = moving(x + flow(x)) at positions clamped to the image:
// bilinear, less t (1 - t) / 2 times the second difference along either axis.

// `out` = flow + the step of up to `radius` whole pixels with the least mean absolute difference between warped and the
// reference over the tile around the pixel; the tile ends at the image's borders.
void MatchRows(const PlaneShape& shape, const AlignParameters& parameters, SimdLevel level, const float* reference,
               const float* moving, const float* flow, int64_t begin, int64_t end, float* out);

// The pixels' systems of a Gauss-Newton step, solved for the flow z = (z_x, z_y) given the sums S of its four
// neighbours: z_x = s_0 + s_2 S_x + s_4 S_y, z_y = s_1 + s_4 S_x + s_3 S_y, five planes `pixels()` apart. With g the
// gradient of the mean of both images, by (1, -8, 0, 8, -1) / 12, d = warped - reference, k = 1 / (1 + (d / robust)^2),
// or 0 where x + flow(x) is outside of the image, and w the smoothness: (k g g^T + 4 w) z = w S + k g (g^T flow - d).
constexpr int64_t kAlignPlanes = 5;
void SystemRows(const PlaneShape& shape, const AlignParameters& parameters, SimdLevel level, const float* reference,
                const float* moving, const float* flow, int64_t begin, int64_t end, float* system);

// Jacobi sweeps from `flow` on, with Chebyshev's acceleration; what they move is clamped to `largest`.
void SolveRows(const PlaneShape& shape, const AlignParameters& parameters, SimdLevel level, const float* system,
               const float* flow, int64_t begin, int64_t end, float* out);

// Medians of five of a flow along x, then along y.
void MedianRows(const PlaneShape& shape, SimdLevel level, const float* flow, int64_t begin, int64_t end, float* out);

}  // namespace blade

#endif  // BLADE_ALIGN_H_
