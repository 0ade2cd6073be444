#include <string>

#include "cc/tf/shape_functions.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace blade_tf {
namespace {

using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

absl::Status SelectShape(InferenceContext* c) {
  std::string type;
  TF_RETURN_IF_ERROR(TypeOf(c, "T", &type));
  ShapeHandle image, selection;
  TF_RETURN_IF_ERROR(Rank(c, 0, kImage, type, &image));
  TF_RETURN_IF_ERROR(c->Subshape(image, 0, 3, &selection));
  for (int i = 0; i < c->num_outputs(); ++i) c->set_output(i, selection);
  return absl::OkStatus();
}

}  // namespace

REGISTER_OP("BladeSelect")
    .Attr("T: {half, bfloat16, float, double}")
    .Attr("orientations: int >= 1")
    .Attr("strength_thresholds: list(float)")
    .Attr("coherence_thresholds: list(float)")
    .Attr("rho: float")
    .Attr("intensity_thresholds: list(float) = []")
    .Attr("center: {'pixel', 'face_x', 'face_y'} = 'pixel'")
    .Attr("Tsel: {int32, uint8} = DT_INT32")
    .Input("image: T")
    .Output("selection: Tsel")
    .SetShapeFn(SelectShape)
    .Doc(R"doc(
Chooses a filter for each pixel by the eigen-analysis of the structure tensor, eqs 2.3-2.5 of "Solving Image PDEs with a
Shallow Network" (arXiv 2110.08327).

The tensor J is the outer product of the central differences, summed over the channels, smoothed by a Gaussian that is
truncated at 3 rho; borders are replicated. With eigenvalues l1 >= l2 and w1 the eigenvector of l1:

  orientation = bin of the angle of w1 modulo pi, one of `orientations`
  strength    = number of strength_thresholds t with sqrt(l1) > t
  coherence   = number of coherence_thresholds q with (sqrt(l1) - sqrt(l2)) / (sqrt(l1) + sqrt(l2)) > q
  intensity   = number of intensity_thresholds t with (mean of the channels) > t
  selection   = orientation + orientations * (strength + (len(strength_thresholds) + 1) * (
                coherence + (len(coherence_thresholds) + 1) * intensity))

all computed by comparisons without sqrt or atan2, in double for double, otherwise in float. Flat pixels and those that
see a NaN have bin 0 of each feature. Subnormal numbers count as zero. The result does not depend on the number of
threads.

image: [N, H, W, C]; any size may be 0.
orientations: number of bins over half a turn; no edge lies at 0 or 90 degrees.
strength_thresholds: finite, strictly ascending, >= 0.
coherence_thresholds: strictly ascending, in [0, 1].
rho: standard deviation of the Gaussian in pixels, in [0, 10000]; 0 for none.
intensity_thresholds: finite, strictly ascending.
center: where the features are taken. face_x: at the faces (y, x + 1/2), from the difference of their two pixels along
  the normal and the mean of the pixels' central differences along the tangent; orientation is measured from the normal,
  intensity is the mean of both pixels, and column W - 1, which has no face, holds 0. face_y: the transpose of face_x of
  the transposed image.
Tsel: uint8 for up to 256 combinations of features.
selection: [N, H, W].
)doc");

REGISTER_OP("BladeSelectSoft")
    .Attr("T: {half, bfloat16, float, double}")
    .Attr("orientations: int >= 1")
    .Attr("strength_thresholds: list(float)")
    .Attr("coherence_thresholds: list(float)")
    .Attr("rho: float")
    .Attr("intensity_thresholds: list(float) = []")
    .Attr("center: {'pixel', 'face_x', 'face_y'} = 'pixel'")
    .Attr("soft: {'strength', 'coherence', 'orientation', 'intensity'}")
    .Attr("centers: list(float) = []")
    .Input("image: T")
    .Output("lower: int32")
    .Output("upper: int32")
    .Output("weight: T")
    .SetShapeFn(SelectShape)
    .Doc(R"doc(
Chooses two filters for each pixel, as BladeSelect, between which to interpolate along one feature.

The bins of the feature `soft` have centres m_0 < m_1 < ... instead of thresholds. With m_i the last one at or below the
feature's value v, but not the last of all, `lower` has bin i, `upper` bin i + 1, and

  weight = (v - m_i) / (m_(i + 1) - m_i), clamped to [0, 1].

The orientations' centres are at k pi / orientations, k = 0 .. orientations - 1, and circular. Flat pixels and those
that see a NaN have bin 0 and weight 0 in the soft feature.

image: [N, H, W, C]; any size may be 0.
soft: the feature; its thresholds must be empty. At least 3 orientations where it is orientation.
centers: of the soft feature's bins, at least 2, strictly ascending; none for orientation.
lower: [N, H, W].
upper: [N, H, W].
weight: [N, H, W].
)doc");

}  // namespace blade_tf
