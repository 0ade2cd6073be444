#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace blade_tf {
namespace {

using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

absl::Status ResampleShape(InferenceContext* c) {
  ShapeHandle image, displacement, filters, selection, pixels, of_image;
  DimensionHandle two;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &image));
  TF_RETURN_IF_ERROR(c->Merge(image, c->input(1), &image));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(2), 4, &filters));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(3), 3, &selection));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(4), 4, &displacement));
  TF_RETURN_IF_ERROR(c->WithValue(c->Dim(displacement, 3), 2, &two));
  TF_RETURN_IF_ERROR(c->Subshape(displacement, 0, 3, &pixels));
  TF_RETURN_IF_ERROR(c->Subshape(image, 0, 3, &of_image));
  TF_RETURN_IF_ERROR(c->Merge(pixels, selection, &pixels));
  TF_RETURN_IF_ERROR(c->Merge(pixels, of_image, &pixels));
  TF_RETURN_IF_ERROR(c->Concatenate(pixels, c->Vector(c->Dim(image, 3)), &image));
  c->set_output(0, image);
  return absl::OkStatus();
}

REGISTER_OP("BladeResample")
    .Input("image: float")
    .Input("coefficients: float")
    .Input("filters: float")
    .Input("selection: Tsel")
    .Input("displacement: Tv")
    .Output("output: float")
    .Attr("order: int >= 1")
    .Attr("constant: bool")
    .Attr("fill: float")
    .Attr("Tsel: {int32, uint8} = DT_INT32")
    .Attr("Tv: {float, double} = DT_FLOAT")
    .SetShapeFn(ResampleShape)
    .Doc(R"doc(
Resampling at displaced positions by one filter at each pixel for each monomial of the displacement.

With p = x + [v], [.] the nearest integers, ties to even, clamped to the image, and d = v - [v], or what clamping leaves
of it,

  output(x) = image(p) + sum_k m_k(d) sum_j filters[k, selection(p)][j] coefficients(p + j),

over the monomials m_k of d = (d_x, d_y), by degree, and within a degree by the power of d_y. Borders are replicated. The
same for any number of threads.

image, coefficients: [N, H, W, C].
filters: [M, K, R, S], M the number of monomials.
selection: [N, H, W], in [0, K).
displacement: v [N, H, W, 2] in pixels, along x first.
output: [N, H, W, C].
order: the highest degree.
constant: whether degrees begin at 0, not 1.
fill: the output where the displacement is NaN or beyond 1e9.
)doc");

}  // namespace
}  // namespace blade_tf
