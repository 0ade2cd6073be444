#include <map>
#include <string>

#include "cc/blade/select.h"
#include "cc/tf/kernel.h"

namespace blade_tf {
namespace {

const std::map<std::string, blade::SelectCenter> kCenters = {
    {"pixel", blade::SelectCenter::kPixel},
    {"face_x", blade::SelectCenter::kFaceX},
    {"face_y", blade::SelectCenter::kFaceY},
};
const std::map<std::string, blade::SoftFeature> kSoftFeatures = {
    {"strength", blade::SoftFeature::kStrength},
    {"coherence", blade::SoftFeature::kCoherence},
    {"orientation", blade::SoftFeature::kOrientation},
    {"intensity", blade::SoftFeature::kIntensity},
};

template <typename T, bool kSoft>
class SelectKernel : public BladeKernel {
 public:
  explicit SelectKernel(OpKernelConstruction* context) : BladeKernel(context), plan_({1, {}, {}, 0.0f}) {
    blade::SelectParameters parameters;
    std::string name;
    OP_REQUIRES_OK(context, context->GetAttr("orientations", &parameters.orientations));
    OP_REQUIRES_OK(context, context->GetAttr("strength_thresholds", &parameters.strength_thresholds));
    OP_REQUIRES_OK(context, context->GetAttr("coherence_thresholds", &parameters.coherence_thresholds));
    OP_REQUIRES_OK(context, context->GetAttr("rho", &parameters.rho));
    OP_REQUIRES_OK(context, context->GetAttr("intensity_thresholds", &parameters.intensity_thresholds));
    OP_REQUIRES_OK(context, context->GetAttr("center", &name));
    parameters.center = kCenters.at(name);
    if constexpr (kSoft) {
      OP_REQUIRES_OK(context, context->GetAttr("soft", &name));
      parameters.soft = kSoftFeatures.at(name);
      OP_REQUIRES_OK(context, context->GetAttr("centers", &parameters.centers));
    }
    const std::string error = blade::ValidateSelect(parameters);
    OP_REQUIRES(context, error.empty(), absl::InvalidArgumentError(error));
    plan_ = Plan(parameters);
  }

  void Run(OpKernelContext* context) override {
    const Tensor& image = context->input(0);
    blade::ImageShape shape;
    OP_REQUIRES_OK(context, ImageShapeOf(kImage, image, &shape));
    TensorShape selection_shape = image.shape();
    selection_shape.RemoveLastDims(1);
    constexpr int kOutputs = kSoft ? 3 : 1;
    Tensor* outputs[kOutputs];
    for (int i = 0; i < kOutputs; ++i) {
      OP_REQUIRES_OK(context, context->allocate_output(i, selection_shape, &outputs[i]));
    }
    const Core<T>* pixels = Data<T>(image);
    ParallelFor(context, shape.rows(), RowBlock(context, shape, 2 * plan_.radius() + 2),
                [&](int64_t begin, int64_t end) {
                  if constexpr (kSoft) {
                    blade::SelectSoftRows(plan_, level(), shape, pixels, begin, end, Data<int32_t>(outputs[0]),
                                          Data<int32_t>(outputs[1]), Data<T>(outputs[2]));
                  } else {
                    blade::SelectRows(plan_, level(), shape, pixels, begin, end, Data<int32_t>(outputs[0]));
                  }
                });
  }

 private:
  using Plan = blade::SelectPlan<blade::ComputeOf<Core<T>>>;
  Plan plan_;
};

#define BLADE_REGISTER(T)                                                                                \
  REGISTER_KERNEL_BUILDER(Name("BladeSelect").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"),     \
                          SelectKernel<T, false>);                                                       \
  REGISTER_KERNEL_BUILDER(Name("BladeSelectSoft").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), \
                          SelectKernel<T, true>);
BLADE_REGISTER(Eigen::half)
BLADE_REGISTER(Eigen::bfloat16)
BLADE_REGISTER(float)
BLADE_REGISTER(double)
#undef BLADE_REGISTER

}  // namespace
}  // namespace blade_tf
