#include <string>

#include "cc/tf/shape_functions.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace blade_tf {
namespace {

using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

// Unifies dimensions [0, count) of `a` with those of `b`, the input that an error is about.
absl::Status Unify(InferenceContext* c, int count, const Argument& argument, const std::string& type, ShapeHandle b,
                   ShapeHandle* a) {
  for (int i = 0; i < count; ++i) {
    DimensionHandle dimension;
    if (!c->Merge(c->Dim(*a, i), c->Dim(b, i), &dimension).ok()) {
      ShapeHandle wanted;
      TF_RETURN_IF_ERROR(c->Subshape(*a, 0, count, &wanted));
      return Mismatch(argument, type, c->DebugString(wanted), c->DebugString(b));
    }
    TF_RETURN_IF_ERROR(c->ReplaceDim(*a, i, dimension, a));
  }
  return absl::OkStatus();
}

absl::Status NonEmptyFootprint(InferenceContext* c, const Argument& argument, const std::string& type,
                               ShapeHandle filters, const std::string& what = "") {
  for (int i = 1; i < 3; ++i) {
    const auto dimension = c->Dim(filters, i);
    if (c->ValueKnown(dimension) && c->Value(dimension) == 0)
      return Expected(argument, type, what + c->DebugString(filters));
  }
  return absl::OkStatus();
}

absl::Status FilterShape(InferenceContext* c) {
  std::string type, index;
  TF_RETURN_IF_ERROR(TypeOf(c, "T", &type));
  TF_RETURN_IF_ERROR(TypeOf(c, "Tsel", &index));
  ShapeHandle image, filters, selection;
  TF_RETURN_IF_ERROR(Rank(c, 0, kImage, type, &image));
  TF_RETURN_IF_ERROR(Rank(c, 1, kFilters, type, &filters));
  TF_RETURN_IF_ERROR(NonEmptyFootprint(c, kFilters, type, filters));
  TF_RETURN_IF_ERROR(Rank(c, 2, kSelection, index, &selection));
  TF_RETURN_IF_ERROR(Unify(c, 3, kSelection, index, selection, &image));
  c->set_output(0, image);
  return absl::OkStatus();
}

absl::Status StepShape(InferenceContext* c) {
  std::string type;
  TF_RETURN_IF_ERROR(TypeOf(c, "T", &type));
  ShapeHandle image, filters, dt, selection;
  TF_RETURN_IF_ERROR(Rank(c, 0, kImage, type, &image));
  TF_RETURN_IF_ERROR(Rank(c, 1, kFilters, type, &filters));
  TF_RETURN_IF_ERROR(NonEmptyFootprint(c, kFilters, type, filters));
  TF_RETURN_IF_ERROR(Rank(c, 2, kDt, type, &dt));
  TF_RETURN_IF_ERROR(c->Subshape(image, 0, 3, &selection));
  c->set_output(0, image);
  c->set_output(1, selection);
  return absl::OkStatus();
}

absl::Status FilterGradImageShape(InferenceContext* c) {
  std::string type, index;
  TF_RETURN_IF_ERROR(TypeOf(c, "T", &type));
  TF_RETURN_IF_ERROR(TypeOf(c, "Tsel", &index));
  ShapeHandle filters, selection, grad;
  TF_RETURN_IF_ERROR(Rank(c, 0, kFilters, type, &filters));
  TF_RETURN_IF_ERROR(NonEmptyFootprint(c, kFilters, type, filters));
  TF_RETURN_IF_ERROR(Rank(c, 1, kSelection, index, &selection));
  TF_RETURN_IF_ERROR(Rank(c, 2, kGrad, type, &grad));
  TF_RETURN_IF_ERROR(Unify(c, 3, kSelection, index, selection, &grad));
  c->set_output(0, grad);
  return absl::OkStatus();
}

absl::Status FilterGradFiltersShape(InferenceContext* c) {
  std::string type, index;
  TF_RETURN_IF_ERROR(TypeOf(c, "T", &type));
  TF_RETURN_IF_ERROR(TypeOf(c, "Tsel", &index));
  ShapeHandle image, selection, grad, size, filters;
  TF_RETURN_IF_ERROR(Rank(c, 0, kImage, type, &image));
  TF_RETURN_IF_ERROR(Rank(c, 1, kSelection, index, &selection));
  TF_RETURN_IF_ERROR(Unify(c, 3, kSelection, index, selection, &image));
  TF_RETURN_IF_ERROR(Rank(c, 2, kGrad, type, &grad));
  TF_RETURN_IF_ERROR(Unify(c, 4, kGrad, type, grad, &image));
  TF_RETURN_IF_ERROR(Rank(c, 3, kFiltersShape, "int32", &size));
  DimensionHandle three;
  if (!c->WithValue(c->Dim(size, 0), 3, &three).ok()) {
    return Expected(kFiltersShape, "int32", c->DebugString(size));
  }
  TF_RETURN_IF_ERROR(c->MakeShapeFromShapeTensor(3, &filters));
  if (c->RankKnown(filters)) TF_RETURN_IF_ERROR(NonEmptyFootprint(c, kFiltersShape, "int32", filters, "values "));
  c->set_output(0, c->RankKnown(filters) ? filters : c->UnknownShapeOfRank(3));
  return absl::OkStatus();
}

}  // namespace

REGISTER_OP("BladeFilter")
    .Attr("T: {half, bfloat16, float, double}")
    .Attr("Tsel: {int32, uint8} = DT_INT32")
    .Input("image: T")
    .Input("filters: T")
    .Input("selection: Tsel")
    .Output("output: T")
    .SetShapeFn(FilterShape)
    .Doc(R"doc(
Applies at each pixel the filter that the pixel selects, to each channel.

  output[n, y, x, c] = sum_{r, s} filters[selection[n, y, x], r, s] * image[n, Y(y + r - a), X(x + s - b), c]
  a = (R - 1) / 2, b = (S - 1) / 2

where Y and X clamp to the image: borders are replicated. A footprint of odd size is centred on its pixel; one of even
size S covers x - S / 2 + 1 to x + S / 2 and is centred on the face x + 1 / 2. Eq 2.1 of "Solving Image PDEs with a
Shallow Network" (arXiv 2110.08327). half and bfloat16 are accumulated in float. The result does not depend on the
number of threads. Subnormal numbers count as zero. A NaN or an infinity reaches the pixels whose footprint contains it,
no others.

image: [N, H, W, C]; any size may be 0.
filters: [K, R, S], R and S at least 1.
selection: [N, H, W], values in [0, K); another value is an InvalidArgument error that names it and its position.
output: [N, H, W, C].
)doc");

REGISTER_OP("BladeStep")
    .Attr("T: {half, bfloat16, float, double}")
    .Attr("Tsel: {int32, uint8} = DT_INT32")
    .Attr("orientations: int >= 1")
    .Attr("strength_thresholds: list(float)")
    .Attr("coherence_thresholds: list(float)")
    .Attr("rho: float")
    .Attr("intensity_thresholds: list(float) = []")
    .Input("image: T")
    .Input("filters: T")
    .Input("dt: T")
    .Output("output: T")
    .Output("selection: Tsel")
    .SetShapeFn(StepShape)
    .Doc(R"doc(
A step of explicit Euler with the filters that the pixels select, in one pass: eqs 2.1-2.6 of "Solving Image PDEs with a
Shallow Network" (arXiv 2110.08327).

  selection = BladeSelect(image)
  output    = image + dt * BladeFilter(image, filters, selection)

bit for bit what these operations give, the product and the sum rounded to T.

image: [N, H, W, C]; any size may be 0.
filters: [K, R, S], R and S at least 1, K at least the number of combinations of the selection's features.
dt: a scalar.
Tsel: uint8 for at most 256 combinations.
output: [N, H, W, C].
selection: [N, H, W].
)doc");

REGISTER_OP("BladeFilterGradImage")
    .Attr("T: {half, bfloat16, float, double}")
    .Attr("Tsel: {int32, uint8} = DT_INT32")
    .Input("filters: T")
    .Input("selection: Tsel")
    .Input("grad: T")
    .Output("image_grad: T")
    .SetShapeFn(FilterGradImageShape)
    .Doc(R"doc(
The gradient of BladeFilter with respect to `image`: its exact adjoint, replicated borders included.

  image_grad[n, v, u, c] = sum of filters[selection[n, y, x], r, s] * grad[n, y, x, c]
                           over y, x, r, s with Y(y + r - a) = v and X(x + s - b) = u
  a = (R - 1) / 2, b = (S - 1) / 2

Eq 2.9 of "Solving Image PDEs with a Shallow Network" (arXiv 2110.08327). half and bfloat16 are accumulated in float.
The result does not depend on the number of threads. Subnormal numbers count as zero.

filters: [K, R, S], R and S at least 1.
selection: [N, H, W], values in [0, K).
grad: [N, H, W, C].
image_grad: [N, H, W, C].
)doc");

REGISTER_OP("BladeFilterGradFilters")
    .Attr("T: {half, bfloat16, float, double}")
    .Attr("Tsel: {int32, uint8} = DT_INT32")
    .Input("image: T")
    .Input("selection: Tsel")
    .Input("grad: T")
    .Input("filters_shape: int32")
    .Output("filters_grad: T")
    .SetShapeFn(FilterGradFiltersShape)
    .Doc(R"doc(
The gradient of BladeFilter with respect to `filters`.

  filters_grad[k, r, s] = sum of image[n, Y(y + r - a), X(x + s - b), c] * grad[n, y, x, c]
                          over n, y, x, c with selection[n, y, x] = k
  a = (R - 1) / 2, b = (S - 1) / 2

Eq 2.9 of "Solving Image PDEs with a Shallow Network" (arXiv 2110.08327). half and bfloat16 are accumulated in float.
The result does not depend on the number of threads. Subnormal numbers count as zero.

image: [N, H, W, C].
selection: [N, H, W], values in [0, K).
grad: [N, H, W, C].
filters_shape: [K, R, S], R and S at least 1.
filters_grad: [K, R, S].
)doc");

}  // namespace blade_tf
