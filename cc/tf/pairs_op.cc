#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace blade_tf {
namespace {

using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

absl::Status ExchangeShape(InferenceContext* c) {
  ShapeHandle image, conductance;
  DimensionHandle unused;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &image));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 4, &conductance));
  for (int i : {0, 2, 3}) TF_RETURN_IF_ERROR(c->Merge(c->Dim(image, i), c->Dim(conductance, i), &unused));
  c->set_output(0, image);
  return absl::OkStatus();
}

absl::Status ExchangeGradShape(InferenceContext* c) {
  c->set_output(0, c->input(1));
  return absl::OkStatus();
}

absl::Status LookupShape(InferenceContext* c) {
  ShapeHandle table, lower;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 2, &table));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 3, &lower));
  for (int i : {2, 3}) TF_RETURN_IF_ERROR(c->Merge(lower, c->input(i), &lower));
  c->set_output(0, c->MakeShape({c->Dim(lower, 0), c->Dim(table, 1), c->Dim(lower, 1), c->Dim(lower, 2)}));
  return absl::OkStatus();
}

absl::Status LookupGradShape(InferenceContext* c) {
  c->set_output(0, c->input(0));
  c->set_output(1, c->input(1));
  return absl::OkStatus();
}

absl::Status PairsStepShape(InferenceContext* c) {
  ShapeHandle image, unused;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &image));
  for (int i : {1, 2}) TF_RETURN_IF_ERROR(c->WithRank(c->input(i), 2, &unused));
  for (int i : {3, 4}) TF_RETURN_IF_ERROR(c->WithRank(c->input(i), 0, &unused));
  c->set_output(0, image);
  return absl::OkStatus();
}

REGISTER_OP("BladeExchange")
    .Input("image: T")
    .Input("conductance: T")
    .Output("change: T")
    .Attr("T: {float, double}")
    .Attr("pairs: list(int)")
    .SetShapeFn(ExchangeShape)
    .Doc(R"doc(
Conservative, convex exchange between pairs of pixels.

change[i] = sum over couplings (i, j) of c min(R[i], R[j]) (image[j] - image[i]), R[i] = 1 / max(D[i], 1), D[i] the sum
of the conductances of all couplings that end at pixel i; a coupling that leaves the image is none.

image: [N, C, H, W].
conductance: [N, P, H, W], not negative.
pairs: five numbers a pair, (plane, ay, ax, by, bx): for each pixel p the pixels p + a and p + b are coupled with
  conductance[n, plane, p].
change: [N, C, H, W].
)doc");

REGISTER_OP("BladeExchangeGrad")
    .Input("image: T")
    .Input("conductance: T")
    .Input("grad: T")
    .Output("conductance_grad: T")
    .Attr("T: {float, double}")
    .Attr("pairs: list(int)")
    .SetShapeFn(ExchangeGradShape)
    .Doc("The gradient of BladeExchange with respect to the conductances.");

REGISTER_OP("BladeLookup")
    .Input("table: T")
    .Input("lower: int32")
    .Input("upper: int32")
    .Input("weight: T")
    .Output("output: T")
    .Attr("T: {float, double}")
    .SetShapeFn(LookupShape)
    .Doc(R"doc(
Between the two entries of a table that a soft selection chooses at each pixel.

output[n, p, y, x] = (1 - weight) table[lower, p] + weight table[upper, p].

table: [K, P].
lower, upper: [N, H, W], values in [0, K).
weight: [N, H, W].
output: [N, P, H, W].
)doc");

REGISTER_OP("BladeLookupGrad")
    .Input("table: T")
    .Input("lower: int32")
    .Input("upper: int32")
    .Input("weight: T")
    .Input("grad: T")
    .Output("table_grad: T")
    .Output("weight_grad: T")
    .Attr("T: {float, double}")
    .SetShapeFn(LookupGradShape)
    .Doc("The gradients of BladeLookup with respect to the table and the weight.");

REGISTER_OP("BladePairsStep")
    .Input("image: T")
    .Input("face: T")
    .Input("node: T")
    .Input("dt: T")
    .Input("bank_dt: T")
    .Output("output: T")
    .Attr("T: {float, double}")
    .Attr("pairs: list(int)")
    .Attr("face_orientations: int >= 1")
    .Attr("face_strength_thresholds: list(float)")
    .Attr("face_coherence_thresholds: list(float)")
    .Attr("face_rho: float")
    .Attr("face_intensity_thresholds: list(float) = []")
    .Attr("face_soft: {'none', 'strength', 'coherence', 'orientation', 'intensity'} = 'none'")
    .Attr("face_centers: list(float) = []")
    .Attr("node_orientations: int >= 1")
    .Attr("node_strength_thresholds: list(float)")
    .Attr("node_coherence_thresholds: list(float)")
    .Attr("node_rho: float")
    .Attr("node_intensity_thresholds: list(float) = []")
    .Attr("node_soft: {'none', 'strength', 'coherence', 'orientation', 'intensity'} = 'none'")
    .Attr("node_centers: list(float) = []")
    .SetShapeFn(PairsStepShape)
    .Doc(R"doc(
A step of explicit Euler of conservative pairs in one pass: output = image + dt * (change / bank_dt), where `change` is
BladeExchange of the conductances that BladeLookup takes from `face` by the selections at the x-faces and at the y-faces,
and from `node` by that at the pixels.

image: [N, H, W, 1].
face: [K, P], the conductances around a face: planes [0, P) of the pairs for the x-faces, [P, 2 P) for the y-faces.
node: [L, Q], those around a pixel: planes [2 P, 2 P + Q).
dt: a scalar, the length of the step.
bank_dt: a scalar, the time that the conductances are for.
pairs: as in BladeExchange.
face_..., node_...: the parameters of the selections, as in BladeSelect and BladeSelectSoft.
output: [N, H, W, 1].
)doc");

}  // namespace
}  // namespace blade_tf
