#include <map>
#include <string>
#include <type_traits>

#include "cc/blade/select.h"
#include "cc/blade/step.h"
#include "cc/tf/kernel.h"

namespace blade_tf {
namespace {

const std::map<std::string, blade::SelectCenter> kCenters = {
    {"pixel", blade::SelectCenter::kPixel},
    {"face_x", blade::SelectCenter::kFaceX},
    {"face_y", blade::SelectCenter::kFaceY},
};

// S is the type of the selection, void for a soft one.
template <typename T, typename S>
class SelectKernel : public BladeKernel {
 public:
  explicit SelectKernel(OpKernelConstruction* context) : BladeKernel(context), plan_({1, {}, {}, 0.0f}) {
    blade::SelectParameters parameters;
    std::string name;
    OP_REQUIRES_OK(context, GetSelectParameters(context, "", &parameters));
    OP_REQUIRES_OK(context, context->GetAttr("center", &name));
    parameters.center = kCenters.at(name);
    if constexpr (kSoft) OP_REQUIRES_OK(context, GetSoftFeature(context, "", &parameters));
    const std::string error = blade::ValidateSelect(parameters);
    OP_REQUIRES(context, error.empty(), absl::InvalidArgumentError(error));
    plan_ = Plan(parameters);
    if constexpr (!kSoft) OP_REQUIRES_OK(context, IndexHolds(context->output_type(0), plan_.bins()));
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
      OP_REQUIRES_OK(context, AllocateOutput(context, i, selection_shape, &outputs[i]));
    }
    const Core<T>* pixels = Data<T>(image);
    ParallelFor(context, shape.rows(), LeastRows(shape, 2 * plan_.radius() + 2), [&](int64_t begin, int64_t end) {
      if constexpr (kSoft) {
        blade::SelectSoftRows(plan_, level(), shape, pixels, begin, end, Data<int32_t>(outputs[0]),
                              Data<int32_t>(outputs[1]), Data<T>(outputs[2]));
      } else {
        blade::SelectRows(plan_, level(), shape, pixels, begin, end, Data<S>(outputs[0]));
      }
    });
  }

 private:
  using Plan = blade::SelectPlan<blade::ComputeOf<Core<T>>>;
  static constexpr bool kSoft = std::is_void_v<S>;
  Plan plan_;
};

template <typename T, typename S>
class StepKernel : public BladeKernel {
 public:
  explicit StepKernel(OpKernelConstruction* context) : BladeKernel(context), plan_({1, {}, {}, 0.0f}) {
    blade::SelectParameters parameters;
    OP_REQUIRES_OK(context, GetSelectParameters(context, "", &parameters));
    const std::string error = blade::ValidateSelect(parameters);
    OP_REQUIRES(context, error.empty(), absl::InvalidArgumentError(error));
    plan_ = Plan(parameters);
    bins_ = plan_.bins();
    OP_REQUIRES_OK(context, IndexHolds(context->output_type(1), bins_));
  }

  void Run(OpKernelContext* context) override {
    const Tensor &image = context->input(0), &filters = context->input(1), &dt = context->input(2);
    blade::ImageShape shape;
    blade::FilterShape filter_shape;
    OP_REQUIRES_OK(context, ImageShapeOf(kImage, image, &shape));
    OP_REQUIRES_OK(context, FilterShapeOf(filters, &filter_shape));
    OP_REQUIRES_OK(context, Rank(kDt, dt));
    OP_REQUIRES(
        context, filter_shape.k >= bins_,
        absl::InvalidArgumentError(absl::StrCat("filters: expected at least ", bins_,
                                                ", one for each combination of features, got ", filter_shape.k)));
    TensorShape selection_shape = image.shape();
    selection_shape.RemoveLastDims(1);
    Tensor *output = nullptr, *selection = nullptr;
    OP_REQUIRES_OK(context, AllocateOutput(context, 0, image.shape(), &output));
    OP_REQUIRES_OK(context, AllocateOutput(context, 1, selection_shape, &selection));
    const blade::FilterBank<Core<T>> bank(filter_shape, Data<T>(filters), level());
    const int64_t shared_rows = 2 * plan_.radius() + 2 + filter_shape.r - 1;
    ParallelFor(context, shape.rows(), LeastRows(shape, shared_rows), [&](int64_t begin, int64_t end) {
      blade::StepRows(plan_, bank, level(), shape, Data<T>(image), *Data<T>(dt), begin, end, Data<T>(output),
                      Data<S>(selection));
    });
  }

 private:
  using Plan = blade::SelectPlan<blade::ComputeOf<Core<T>>>;
  Plan plan_;
  int64_t bins_ = 0;
};

#define BLADE_REGISTER_INDEXED(T, S)                                                                       \
  REGISTER_KERNEL_BUILDER(                                                                                 \
      Name("BladeStep").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T").TypeConstraint<S>("Tsel"),   \
      StepKernel<T, S>);                                                                                   \
  REGISTER_KERNEL_BUILDER(                                                                                 \
      Name("BladeSelect").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T").TypeConstraint<S>("Tsel"), \
      SelectKernel<T, S>);
#define BLADE_REGISTER(T)                                                                                \
  BLADE_REGISTER_INDEXED(T, int32_t)                                                                     \
  BLADE_REGISTER_INDEXED(T, uint8_t)                                                                     \
  REGISTER_KERNEL_BUILDER(Name("BladeSelectSoft").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), \
                          SelectKernel<T, void>);
BLADE_REGISTER(Eigen::half)
BLADE_REGISTER(Eigen::bfloat16)
BLADE_REGISTER(float)
BLADE_REGISTER(double)
#undef BLADE_REGISTER
#undef BLADE_REGISTER_INDEXED

}  // namespace
}  // namespace blade_tf
