#include <optional>
#include <string>
#include <vector>

#include "cc/blade/pairs_step.h"
#include "cc/tf/kernel.h"

namespace blade_tf {
namespace {

absl::Status GetSelection(OpKernelConstruction* context, const std::string& name, blade::SelectParameters* parameters) {
  TF_RETURN_IF_ERROR(GetSelectParameters(context, name + "_", parameters));
  TF_RETURN_IF_ERROR(GetSoftFeature(context, name + "_", parameters));
  const std::string error = blade::ValidateSelect(*parameters);
  return error.empty() ? absl::OkStatus() : absl::InvalidArgumentError(name + "_" + error);
}

// `bank` is [bins, planes].
absl::Status CheckBank(const Argument& argument, const Tensor& bank, int64_t bins) {
  TF_RETURN_IF_ERROR(Rank(argument, bank));
  if (bank.dim_size(0) >= bins) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(argument.name, ": expected at least ", bins,
                                                 " entries, one for each combination of features, got ",
                                                 bank.dim_size(0)));
}

template <typename T>
class PairsStepKernel : public BladeKernel {
 public:
  explicit PairsStepKernel(OpKernelConstruction* context) : BladeKernel(context) {
    blade::SelectParameters face, node;
    std::vector<int64_t> numbers;
    std::vector<blade::Pair> pairs;
    OP_REQUIRES_OK(context, GetSelection(context, "face", &face));
    OP_REQUIRES_OK(context, GetSelection(context, "node", &node));
    OP_REQUIRES_OK(context, context->GetAttr("pairs", &numbers));
    const std::string error = blade::ParsePairs(numbers, &pairs);
    OP_REQUIRES(context, error.empty(), absl::InvalidArgumentError(error));
    for (const blade::Pair& pair : pairs) {
      planes_ = std::max(planes_, pair.plane + 1);
      // Rows hold so many pixels beyond the image, which couple with nothing.
      const int64_t reach = std::max(std::abs(pair.ax), std::abs(pair.bx));
      OP_REQUIRES(
          context, reach <= blade::kGreatestPairReach && pair.ax * pair.bx <= 0 && pair.ay * pair.by <= 0,
          absl::InvalidArgumentError(absl::StrCat("pairs: expected offsets on both sides of 0, at most ",
                                                  blade::kGreatestPairReach, " columns away, got (", pair.plane, ", ",
                                                  pair.ay, ", ", pair.ax, ", ", pair.by, ", ", pair.bx, ")")));
    }
    plan_.emplace(face, node, pairs);
  }

  void Run(OpKernelContext* context) override {
    const Tensor &image = context->input(0), &face = context->input(1), &node = context->input(2);
    const Tensor &dt = context->input(3), &bank_dt = context->input(4);
    blade::ImageShape shape;
    OP_REQUIRES_OK(context, ImageShapeOf({"image", "[N, H, W, 1]", 4}, image, &shape));
    OP_REQUIRES(context, shape.c == 1,
                absl::InvalidArgumentError(absl::StrCat("image: expected one channel, got ", shape.c)));
    OP_REQUIRES_OK(context, CheckBank({"face", "[K, P]", 2}, face, plan_->selections[0].bins()));
    OP_REQUIRES_OK(context, CheckBank({"node", "[L, Q]", 2}, node, plan_->selections[2].bins()));
    OP_REQUIRES(context, 2 * face.dim_size(1) + node.dim_size(1) >= planes_,
                absl::InvalidArgumentError(absl::StrCat(
                    "pairs: expected planes below ", 2 * face.dim_size(1) + node.dim_size(1), ", got ", planes_ - 1)));
    OP_REQUIRES_OK(context, Rank(kDt, dt));
    OP_REQUIRES_OK(context, Rank({"bank_dt", "scalar", 0}, bank_dt));
    Tensor* output = nullptr;
    OP_REQUIRES_OK(context, AllocateOutput(context, 0, image.shape(), &output));
    const blade::PairsBank<T> bank(*plan_, face.dim_size(1), Data<T>(face), node.dim_size(1), Data<T>(node));
    const int64_t shared_rows = 2 * (plan_->partner_rows + plan_->base_rows + plan_->selections[0].radius() + 1);
    ParallelFor(context, shape.rows(), LeastRows(shape, shared_rows), [&](int64_t begin, int64_t end) {
      blade::PairsStepRows(*plan_, bank, level(), shape, Data<T>(image), *Data<T>(dt), *Data<T>(bank_dt), begin, end,
                           Data<T>(output));
    });
  }

 private:
  std::optional<blade::PairsPlan<T>> plan_;
  int64_t planes_ = 0;
};

#define BLADE_REGISTER(T)                                                                               \
  REGISTER_KERNEL_BUILDER(Name("BladePairsStep").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), \
                          PairsStepKernel<T>);
BLADE_REGISTER(float)
BLADE_REGISTER(double)
#undef BLADE_REGISTER

}  // namespace
}  // namespace blade_tf
