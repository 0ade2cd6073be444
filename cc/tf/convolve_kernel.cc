#include <cstdint>
#include <string>
#include <vector>

#include "cc/blade/convolve.h"
#include "cc/tf/kernel.h"

namespace blade_tf {
namespace {

constexpr int64_t kMost = int64_t{1} << 31;  // of a factor: products with sides stay in int64
constexpr Argument kKernel = {"kernel", "[R, S] with R and S of at least 1", 2};

template <typename T>
class ConvolveKernel : public BladeKernel {
 public:
  explicit ConvolveKernel(OpKernelConstruction* context) : BladeKernel(context) {
    std::string border;
    std::vector<int64_t> factors, offsets;
    OP_REQUIRES_OK(context, context->GetAttr("border", &border));
    OP_REQUIRES_OK(context, context->GetAttr("transposed", &parameters_.transposed));
    OP_REQUIRES_OK(context, context->GetAttr("factors", &factors));
    OP_REQUIRES_OK(context, context->GetAttr("offsets", &offsets));
    OP_REQUIRES(context, factors.size() == 2 && offsets.size() == 2,
                absl::InvalidArgumentError(absl::StrCat("factors, offsets: expected two numbers each, got ",
                                                        factors.size(), " and ", offsets.size())));
    for (size_t i : {0, 1}) {
      OP_REQUIRES(
          context, factors[i] >= 1 && factors[i] < kMost,
          absl::InvalidArgumentError(absl::StrCat("factors: expected numbers in [1, ", kMost, "), got ", factors[i])));
      OP_REQUIRES(context, offsets[i] >= 0 && offsets[i] < factors[i],
                  absl::InvalidArgumentError(absl::StrCat("offsets: expected numbers in [0, factor), got ", offsets[i],
                                                          " for the factor ", factors[i])));
    }
    parameters_.border = border == "periodic" ? blade::Border::kPeriodic : blade::Border::kReplicate;
    parameters_.y = {factors[0], offsets[0]};
    parameters_.x = {factors[1], offsets[1]};
  }

  void Run(OpKernelContext* context) override {
    const Tensor &image = context->input(0), &kernel = context->input(1);
    blade::ImageShape fine;
    OP_REQUIRES_OK(context, ImageShapeOf(kImage, image, &fine));
    OP_REQUIRES_OK(context, Rank(kKernel, kernel));
    OP_REQUIRES(context, kernel.NumElements() > 0,
                Expected(kKernel, TypeName(kernel.dtype()), kernel.shape().DebugString()));
    blade::ConvolveParameters parameters = parameters_;
    parameters.r = kernel.dim_size(0);
    parameters.s = kernel.dim_size(1);
    const int64_t fy = parameters.y.factor, fx = parameters.x.factor;
    blade::ImageShape result = fine;
    if (parameters.transposed) {
      fine.h *= fy;
      fine.w *= fx;
      result = fine;
    } else {
      OP_REQUIRES(context, fine.h % fy == 0 && fine.w % fx == 0,
                  absl::InvalidArgumentError(absl::StrCat("image: expected sizes that ", fy, " and ", fx,
                                                          " divide, got ", Spaced(image.shape().DebugString()))));
      result.h /= fy;
      result.w /= fx;
    }
    TensorShape shape;
    OP_REQUIRES_OK(context, TensorShape::BuildTensorShape({result.n, result.h, result.w, result.c}, &shape));
    Tensor* output = nullptr;
    OP_REQUIRES_OK(context, AllocateOutput(context, 0, shape, &output));
    ParallelFor(context, result.rows(), LeastRows(fine, parameters.r - 1), [&](int64_t begin, int64_t end) {
      blade::ConvolveRows(parameters, fine, level(), Data<T>(kernel), Data<T>(image), begin, end, Data<T>(output));
    });
  }

 private:
  blade::ConvolveParameters parameters_ = {};
};

#define BLADE_REGISTER(T)                                                                              \
  REGISTER_KERNEL_BUILDER(Name("BladeConvolve").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), \
                          ConvolveKernel<T>);
BLADE_REGISTER(float)
BLADE_REGISTER(double)
#undef BLADE_REGISTER

}  // namespace
}  // namespace blade_tf
