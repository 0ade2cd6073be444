#include <algorithm>
#include <cstdint>
#include <vector>

#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace blade_tf {
namespace {

using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

absl::Status ConvolveShape(InferenceContext* c) {
  ShapeHandle image, kernel;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &image));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 2, &kernel));
  std::vector<int64_t> factors;
  bool transposed = false;
  TF_RETURN_IF_ERROR(c->GetAttr("factors", &factors));
  TF_RETURN_IF_ERROR(c->GetAttr("transposed", &transposed));
  for (size_t i = 0; i < std::min<size_t>(factors.size(), 2); ++i) {
    const int64_t axis = static_cast<int64_t>(i) + 1;
    DimensionHandle side = c->Dim(image, axis);
    if (transposed) {
      TF_RETURN_IF_ERROR(c->Multiply(side, factors[i], &side));
    } else {
      TF_RETURN_IF_ERROR(c->Divide(side, factors[i], /*evenly_divisible=*/true, &side));
    }
    TF_RETURN_IF_ERROR(c->ReplaceDim(image, axis, side, &image));
  }
  c->set_output(0, image);
  return absl::OkStatus();
}

REGISTER_OP("BladeConvolve")
    .Input("image: T")
    .Input("kernel: T")
    .Output("output: T")
    .Attr("T: {float, double}")
    .Attr("border: {'replicate', 'periodic'}")
    .Attr("transposed: bool")
    .Attr("factors: list(int) >= 2 = [1, 1]")
    .Attr("offsets: list(int) >= 2 = [0, 0]")
    .SetShapeFn(ConvolveShape)
    .Doc(R"doc(
Convolution of each channel with one kernel, of which some pixels are kept, or the adjoint of this map.

output[y, x] = v(offsets[0] + factors[0] y, offsets[1] + factors[1] x),
v(y, x) = sum_ij kernel[i, j] image[y - i + (R - 1) // 2, x - j + (S - 1) // 2]. Beyond the image lie its border pixels,
or the image again. The adjoint is exact at the borders too. The same for any number of threads.

image: [N, H, W, C]; transposed, of the output's shape.
kernel: [R, S] with R and S of at least 1, of any size.
output: [N, H / factors[0], W / factors[1], C]; transposed, of the image's shape.
border: what lies beyond the image.
transposed: the adjoint.
factors: along y and x, at least 1; they have to divide H and W.
offsets: each in [0, factor).
)doc");

}  // namespace
}  // namespace blade_tf
