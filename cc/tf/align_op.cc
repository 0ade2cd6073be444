#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace blade_tf {
namespace {

using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

absl::Status AlignShape(InferenceContext* c) {
  ShapeHandle image, moving;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 3, &image));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 3, &moving));
  TF_RETURN_IF_ERROR(c->Merge(image, moving, &image));
  TF_RETURN_IF_ERROR(c->Concatenate(image, c->Vector(2), &image));
  c->set_output(0, image);
  return absl::OkStatus();
}

REGISTER_OP("BladeAlign")
    .Input("reference: float")
    .Input("moving: float")
    .Output("flow: float")
    .Attr("levels: int >= 1")
    .Attr("unmatched: int >= 0")
    .Attr("steps: list(int) >= 2")
    .Attr("smoothness: float")
    .Attr("robust: float")
    .Attr("bias: float")
    .Attr("radius: int")
    .Attr("tile: int")
    .Attr("sweeps: int")
    .Attr("acceleration: float")
    .Attr("largest: float")
    .SetShapeFn(AlignShape)
    .Doc(R"doc(
The optical flow between two images, coarse to fine: moving(x + flow(x)) shows what reference(x) does.

On each level of a pyramid, from the coarsest, the flow of the level before is doubled, moved by block matching (not on
the finest `unmatched` levels), and refined by Gauss-Newton steps to the least sum of robust squared differences and of its own squared differences; each is
followed by medians of five along x and along y.

reference, moving: [N, H, W], at least one pixel each.
levels: of the pyramid.
unmatched: levels from the finest that have no block matching.
steps: of Gauss and Newton on the finest level, and on each of the others.
smoothness: weight of squared differences of the flow beside squared differences of intensity.
robust: intensity difference from which a pixel is taken for an outlier.
bias: mean absolute difference by which another place has to match better.
radius: pixels of a level that block matching looks around.
tile: its size in pixels, odd.
sweeps: Jacobi sweeps of the linear system of a step.
acceleration: bound of their spectral radius that Chebyshev's recursion assumes.
largest: pixels of a level that a step moves.
flow: [N, H, W, 2] in pixels, along x first.
)doc");

}  // namespace
}  // namespace blade_tf
