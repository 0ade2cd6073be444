#include <optional>
#include <string>
#include <vector>

#include "cc/blade/flux_step.h"
#include "cc/tf/kernel.h"

namespace blade_tf {
namespace {

template <typename T>
class FluxStepKernel : public BladeKernel {
 public:
  explicit FluxStepKernel(OpKernelConstruction* context) : BladeKernel(context) {
    blade::SelectParameters parameters;
    OP_REQUIRES_OK(context, GetSelectParameters(context, "", &parameters));
    OP_REQUIRES_OK(context, GetSoftFeature(context, "", &parameters));
    const std::string error = blade::ValidateSelect(parameters);
    OP_REQUIRES(context, error.empty(), absl::InvalidArgumentError(error));
    std::vector<std::string> names;
    OP_REQUIRES_OK(context, context->GetAttr("functions", &names));
    OP_REQUIRES(context, names.size() <= blade::kFluxBanks,
                absl::InvalidArgumentError(
                    absl::StrCat("functions: expected at most ", blade::kFluxBanks, ", got ", names.size())));
    std::vector<blade::FluxFunction> functions;
    for (const std::string& name : names)
      functions.push_back(name == "identity" ? blade::FluxFunction::kIdentity : blade::FluxFunction::kDoubleWell);
    plan_.emplace(parameters, functions);
  }

  void Run(OpKernelContext* context) override {
    const Tensor &image = context->input(0), &filters_x = context->input(1), &filters_y = context->input(2);
    const Tensor &dt = context->input(3), &limits = context->input(4);
    blade::ImageShape shape;
    OP_REQUIRES_OK(context, ImageShapeOf({"image", "[N, H, W, 1]", 4}, image, &shape));
    OP_REQUIRES(context, shape.c == 1,
                absl::InvalidArgumentError(absl::StrCat("image: expected one channel, got ", shape.c)));
    OP_REQUIRES_OK(context, CheckFilters("filters_x", filters_x));
    OP_REQUIRES_OK(context, CheckFilters("filters_y", filters_y));
    OP_REQUIRES(context, filters_y.shape() == filters_x.shape(),
                Mismatch({"filters_y", "[K, B, 5, S]", 4}, TypeName(filters_y.dtype()), filters_x.shape().DebugString(),
                         filters_y.shape().DebugString()));
    OP_REQUIRES_OK(context, Rank(kDt, dt));
    OP_REQUIRES(
        context, limits.dims() == 1 && (limits.dim_size(0) == 0 || limits.dim_size(0) == 3),
        absl::InvalidArgumentError(absl::StrCat("limits: expected [0] or [3], got ", limits.shape().DebugString())));
    Tensor* output = nullptr;
    OP_REQUIRES_OK(context, AllocateOutput(context, 0, image.shape(), &output));
    const blade::FluxBank<T> bank(filters_x.dim_size(0), filters_x.dim_size(1), filters_x.dim_size(3),
                                  Data<T>(filters_x), Data<T>(filters_y));
    std::optional<blade::FluxLimits<T>> bounds;
    if (const T* values = Data<T>(limits); limits.dim_size(0) == 3) bounds = {values[0], values[1], values[2]};
    constexpr int64_t kShared = 2 * 5;  // of fluxes and their limits
    const int64_t shared_rows = kShared + 2 * (plan_->selections[0].radius() + 1);
    ParallelFor(context, shape.rows(), LeastRows(shape, shared_rows), [&](int64_t begin, int64_t end) {
      blade::FluxStepRows(*plan_, bank, level(), shape, Data<T>(image), *Data<T>(dt), bounds, begin, end,
                          Data<T>(output));
    });
  }

 private:
  absl::Status CheckFilters(const char* name, const Tensor& filters) const {
    const int64_t banks = static_cast<int64_t>(plan_->functions.size()), bins = plan_->selections[0].bins();
    if (filters.dims() == 4 && filters.dim_size(0) >= bins && filters.dim_size(1) == banks &&
        filters.dim_size(2) == 5 && (filters.dim_size(3) == 3 || filters.dim_size(3) == 6))
      return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(name, ": expected [K, ", banks, ", 5, 3 or 6], K at least ", bins,
                                                   ", one for each combination of features, got ",
                                                   filters.shape().DebugString()));
  }

  std::optional<blade::FluxPlan<T>> plan_;
};

#define BLADE_REGISTER(T)                                                                              \
  REGISTER_KERNEL_BUILDER(Name("BladeFluxStep").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), \
                          FluxStepKernel<T>);
BLADE_REGISTER(float)
BLADE_REGISTER(double)
#undef BLADE_REGISTER

}  // namespace
}  // namespace blade_tf
