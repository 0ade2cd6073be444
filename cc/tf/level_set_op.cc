#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace blade_tf {
namespace {

using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

absl::Status LevelSetSumsShape(InferenceContext* c) {
  ShapeHandle phi, image;
  DimensionHandle unused, sums;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 3, &phi));
  TF_RETURN_IF_ERROR(c->Merge(phi, c->input(1), &phi));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(2), 4, &image));
  for (int i : {0, 1, 2}) TF_RETURN_IF_ERROR(c->Merge(c->Dim(phi, i), c->Dim(image, i == 0 ? 0 : i + 1), &unused));
  TF_RETURN_IF_ERROR(c->Multiply(c->Dim(image, 1), 3, &sums));
  TF_RETURN_IF_ERROR(c->Add(sums, 4, &sums));
  c->set_output(0, c->MakeShape({c->Dim(phi, 0), sums}));
  return absl::OkStatus();
}

REGISTER_OP("BladeLevelSetSums")
    .Input("phi: T")
    .Input("before: T")
    .Input("image: T")
    .Output("sums: double")
    .Attr("T: {float, double}")
    .SetShapeFn(LevelSetSumsShape)
    .Doc(R"doc(
Sums over the pixels of level sets, of which the energy of Chan and Vese is made, in one pass.

With H(t) = 1/2 + arctan(t) / pi, to 3e-8: the number of pixels where phi > 0, and the sums of H(phi), of
H'(phi) |grad phi| by central differences with replicated borders, and of (phi - before)^2; then for each channel f of the
image the sum of f where phi > 0, of H(phi) f, and of H(phi) f^2. The same for any number of threads.

phi, before: [N, H, W].
image: [N, C, H, W].
sums: [N, 4 + 3 C].
)doc");

}  // namespace
}  // namespace blade_tf
