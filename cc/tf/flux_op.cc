#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace blade_tf {
namespace {

using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

absl::Status FluxStepShape(InferenceContext* c) {
  constexpr int kRanks[] = {4, 4, 4, 0, 1};
  ShapeHandle image, unused;
  for (int i = 0; i < 5; ++i) TF_RETURN_IF_ERROR(c->WithRank(c->input(i), kRanks[i], i == 0 ? &image : &unused));
  c->set_output(0, image);
  return absl::OkStatus();
}

REGISTER_OP("BladeFluxStep")
    .Input("image: T")
    .Input("filters_x: T")
    .Input("filters_y: T")
    .Input("dt: T")
    .Input("limits: T")
    .Output("output: T")
    .Attr("T: {float, double}")
    .Attr("functions: list({'identity', 'double_well'}) >= 1")
    .Attr("orientations: int >= 1")
    .Attr("strength_thresholds: list(float)")
    .Attr("coherence_thresholds: list(float)")
    .Attr("rho: float")
    .Attr("intensity_thresholds: list(float) = []")
    .Attr("soft: {'none', 'strength', 'coherence', 'orientation', 'intensity'} = 'none'")
    .Attr("centers: list(float) = []")
    .SetShapeFn(FluxStepShape)
    .Doc(R"doc(
A step of explicit Euler by fluxes in one pass:
output = image + dt ((Gx[y, x] - Gx[y, x - 1]) + (Gy[y, x] - Gy[y - 1, x])), none of them through the border.

Gx is the sum over the banks of what BladeFilter gives of the bank's function of the image and the filters that
BladeSelect or BladeSelectSoft chooses at the x-faces; Gy likewise at the y-faces, of transposed filters.

image: [N, H, W, 1].
filters_x: [K, B, 5, 6], or [K, B, 5, 3] of antisymmetric filters -h[r, s], h[4 - r, 5 - s] = -h[r, s] for s < 3.
filters_y: of the same shape, those of the y-faces before they are transposed.
dt: a scalar, the length of the step.
limits: [low, high, dt]: fluxes are scaled so that no step of at most dt leaves [low, high]; [] for none.
functions: of the image, one for each of at most 2 banks; double_well: 2 v (v - 1) (2 v - 1), v = image within
  [-1/2, 3/2].
orientations and others: the parameters of the selections, as in BladeSelect and BladeSelectSoft.
output: [N, H, W, 1].
)doc");

}  // namespace
}  // namespace blade_tf
