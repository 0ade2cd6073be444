#include <string>

#include "cc/tf/shapes.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace blade_tf {
namespace {

using tensorflow::DataType;
using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

absl::Status TypeOf(InferenceContext* c, const char* attr, std::string* name) {
  DataType type;
  TF_RETURN_IF_ERROR(c->GetAttr(attr, &type));
  *name = TypeName(type);
  return absl::OkStatus();
}

absl::Status Rank(InferenceContext* c, int input, const Argument& argument, const std::string& type,
                  ShapeHandle* shape) {
  if (c->WithRank(c->input(input), argument.rank, shape).ok()) return absl::OkStatus();
  return Expected(argument, type, c->DebugString(c->input(input)));
}

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

absl::Status OddFootprint(InferenceContext* c, const Argument& argument, const std::string& type, ShapeHandle filters,
                          const std::string& what = "") {
  for (int i = 1; i < 3; ++i) {
    const auto dimension = c->Dim(filters, i);
    if (c->ValueKnown(dimension) && c->Value(dimension) % 2 == 0)
      return Expected(argument, type, what + c->DebugString(filters));
  }
  return absl::OkStatus();
}

absl::Status FilterShape(InferenceContext* c) {
  std::string type;
  TF_RETURN_IF_ERROR(TypeOf(c, "T", &type));
  ShapeHandle image, filters, selection;
  TF_RETURN_IF_ERROR(Rank(c, 0, kImage, type, &image));
  TF_RETURN_IF_ERROR(Rank(c, 1, kFilters, type, &filters));
  TF_RETURN_IF_ERROR(OddFootprint(c, kFilters, type, filters));
  TF_RETURN_IF_ERROR(Rank(c, 2, kSelection, "int32", &selection));
  TF_RETURN_IF_ERROR(Unify(c, 3, kSelection, "int32", selection, &image));
  c->set_output(0, image);
  return absl::OkStatus();
}

absl::Status FilterGradImageShape(InferenceContext* c) {
  std::string type;
  TF_RETURN_IF_ERROR(TypeOf(c, "T", &type));
  ShapeHandle filters, selection, grad;
  TF_RETURN_IF_ERROR(Rank(c, 0, kFilters, type, &filters));
  TF_RETURN_IF_ERROR(OddFootprint(c, kFilters, type, filters));
  TF_RETURN_IF_ERROR(Rank(c, 1, kSelection, "int32", &selection));
  TF_RETURN_IF_ERROR(Rank(c, 2, kGrad, type, &grad));
  TF_RETURN_IF_ERROR(Unify(c, 3, kSelection, "int32", selection, &grad));
  c->set_output(0, grad);
  return absl::OkStatus();
}

absl::Status FilterGradFiltersShape(InferenceContext* c) {
  std::string type;
  TF_RETURN_IF_ERROR(TypeOf(c, "T", &type));
  ShapeHandle image, selection, grad, size, filters;
  TF_RETURN_IF_ERROR(Rank(c, 0, kImage, type, &image));
  TF_RETURN_IF_ERROR(Rank(c, 1, kSelection, "int32", &selection));
  TF_RETURN_IF_ERROR(Unify(c, 3, kSelection, "int32", selection, &image));
  TF_RETURN_IF_ERROR(Rank(c, 2, kGrad, type, &grad));
  TF_RETURN_IF_ERROR(Unify(c, 4, kGrad, type, grad, &image));
  TF_RETURN_IF_ERROR(Rank(c, 3, kFiltersShape, "int32", &size));
  DimensionHandle three;
  if (!c->WithValue(c->Dim(size, 0), 3, &three).ok()) {
    return Expected(kFiltersShape, "int32", c->DebugString(size));
  }
  TF_RETURN_IF_ERROR(c->MakeShapeFromShapeTensor(3, &filters));
  if (c->RankKnown(filters)) TF_RETURN_IF_ERROR(OddFootprint(c, kFiltersShape, "int32", filters, "values "));
  c->set_output(0, c->RankKnown(filters) ? filters : c->UnknownShapeOfRank(3));
  return absl::OkStatus();
}

absl::Status SelectShape(InferenceContext* c) {
  std::string type;
  TF_RETURN_IF_ERROR(TypeOf(c, "T", &type));
  ShapeHandle image, selection;
  TF_RETURN_IF_ERROR(Rank(c, 0, kImage, type, &image));
  TF_RETURN_IF_ERROR(c->Subshape(image, 0, 3, &selection));
  c->set_output(0, selection);
  return absl::OkStatus();
}

}  // namespace

REGISTER_OP("BladeFilter")
    .Attr("T: {half, bfloat16, float, double}")
    .Input("image: T")
    .Input("filters: T")
    .Input("selection: int32")
    .Output("output: T")
    .SetShapeFn(FilterShape)
    .Doc(R"doc(
Applies at each pixel the filter that the pixel selects, to each channel.

  output[n, y, x, c] = sum_{r, s} filters[selection[n, y, x], r, s] * image[n, Y(y + r - R / 2), X(x + s - S / 2), c]

where Y and X clamp to the image: borders are replicated. Eq 2.1 of "Solving Image PDEs with a Shallow Network" (arXiv
2110.08327). half and bfloat16 are accumulated in float. The result does not depend on the number of threads. Subnormal
numbers count as zero. A NaN or an infinity reaches the pixels whose footprint contains it, no others.

image: [N, H, W, C]; any size may be 0.
filters: [K, R, S], R and S odd.
selection: [N, H, W], values in [0, K); another value is an InvalidArgument error that names it and its position.
output: [N, H, W, C].
)doc");

REGISTER_OP("BladeFilterGradImage")
    .Attr("T: {half, bfloat16, float, double}")
    .Input("filters: T")
    .Input("selection: int32")
    .Input("grad: T")
    .Output("image_grad: T")
    .SetShapeFn(FilterGradImageShape)
    .Doc(R"doc(
The gradient of BladeFilter with respect to `image`: its exact adjoint, replicated borders included.

  image_grad[n, v, u, c] = sum of filters[selection[n, y, x], r, s] * grad[n, y, x, c]
                           over y, x, r, s with Y(y + r - R / 2) = v and X(x + s - S / 2) = u

Eq 2.9 of "Solving Image PDEs with a Shallow Network" (arXiv 2110.08327). half and bfloat16 are accumulated in float.
The result does not depend on the number of threads. Subnormal numbers count as zero.

filters: [K, R, S], R and S odd.
selection: [N, H, W], values in [0, K).
grad: [N, H, W, C].
image_grad: [N, H, W, C].
)doc");

REGISTER_OP("BladeFilterGradFilters")
    .Attr("T: {half, bfloat16, float, double}")
    .Input("image: T")
    .Input("selection: int32")
    .Input("grad: T")
    .Input("filters_shape: int32")
    .Output("filters_grad: T")
    .SetShapeFn(FilterGradFiltersShape)
    .Doc(R"doc(
The gradient of BladeFilter with respect to `filters`.

  filters_grad[k, r, s] = sum of image[n, Y(y + r - R / 2), X(x + s - S / 2), c] * grad[n, y, x, c]
                          over n, y, x, c with selection[n, y, x] = k

Eq 2.9 of "Solving Image PDEs with a Shallow Network" (arXiv 2110.08327). half and bfloat16 are accumulated in float.
The result does not depend on the number of threads. Subnormal numbers count as zero.

image: [N, H, W, C].
selection: [N, H, W], values in [0, K).
grad: [N, H, W, C].
filters_shape: [K, R, S], R and S odd.
filters_grad: [K, R, S].
)doc");

REGISTER_OP("BladeSelect")
    .Attr("T: {half, bfloat16, float, double}")
    .Attr("orientations: int >= 1")
    .Attr("strength_thresholds: list(float)")
    .Attr("coherence_thresholds: list(float)")
    .Attr("rho: float")
    .Input("image: T")
    .Output("selection: int32")
    .SetShapeFn(SelectShape)
    .Doc(R"doc(
Chooses a filter for each pixel by the eigen-analysis of the structure tensor, eqs 2.3-2.5 of "Solving Image PDEs with a
Shallow Network" (arXiv 2110.08327).

The tensor J is the outer product of the central differences, summed over the channels, smoothed by a Gaussian that is
truncated at 3 rho; borders are replicated. With eigenvalues l1 >= l2 and w1 the eigenvector of l1:

  orientation = bin of the angle of w1 modulo pi, one of `orientations`
  strength    = number of strength_thresholds t with sqrt(l1) > t
  coherence   = number of coherence_thresholds q with (sqrt(l1) - sqrt(l2)) / (sqrt(l1) + sqrt(l2)) > q
  selection   = orientation + orientations * (strength + (len(strength_thresholds) + 1) * coherence)

all computed by comparisons without sqrt or atan2, in double for double, otherwise in float. Flat pixels and those that
see a NaN have bin 0 of each feature. Subnormal numbers count as zero. The result does not depend on the number of
threads.

image: [N, H, W, C]; any size may be 0.
orientations: number of bins over half a turn; no edge lies at 0 or 90 degrees.
strength_thresholds: finite, strictly ascending, >= 0.
coherence_thresholds: strictly ascending, in [0, 1].
rho: standard deviation of the Gaussian in pixels, in [0, 10000]; 0 for none.
selection: [N, H, W].
)doc");

}  // namespace blade_tf
