#include <algorithm>

#include "cc/blade/resample.h"
#include "cc/blade/rows.h"
#include "cc/tf/kernel.h"

namespace blade_tf {
namespace {

constexpr Argument kCoefficients = {"coefficients", "[N, H, W, C]", 4};
constexpr Argument kBanks = {"filters", "[M, K, R, S] of M monomials, R and S of at least 1", 4};
constexpr Argument kDisplacement = {"displacement", "[N, H, W, 2]", 4};

template <typename S, typename V>
class ResampleKernel : public BladeKernel {
 public:
  explicit ResampleKernel(OpKernelConstruction* context) : BladeKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("order", &parameters_.order));
    OP_REQUIRES_OK(context, context->GetAttr("constant", &parameters_.constant));
    OP_REQUIRES_OK(context, context->GetAttr("fill", &parameters_.fill));
  }

  void Run(OpKernelContext* context) override {
    const Tensor &image = context->input(0), &coefficients = context->input(1), &filters = context->input(2);
    const Tensor &selection = context->input(3), &displacement = context->input(4);
    blade::ImageShape shape;
    OP_REQUIRES_OK(context, ImageShapeOf(kImage, image, &shape));
    OP_REQUIRES(context, std::max(shape.h, shape.w) < blade::kLongestSide,
                ExpectedSizes(kImage, "H and W below 2^30", image.shape().DebugString()));
    OP_REQUIRES_OK(context, SameShape(kCoefficients, coefficients, image));
    OP_REQUIRES_OK(context, Rank(kBanks, filters));
    const blade::FilterShape bank_shape = {filters.dim_size(1), filters.dim_size(2), filters.dim_size(3)};
    OP_REQUIRES(context, HasFootprint(bank_shape) && filters.dim_size(0) == parameters_.monomials(),
                Expected(kBanks, "float32", filters.shape().DebugString()));
    OP_REQUIRES_OK(context, SameShape(kSelection, selection, image));
    OP_REQUIRES_OK(context, Rank(kDisplacement, displacement));
    const TensorShape places({shape.n, shape.h, shape.w, 2});
    OP_REQUIRES(context, displacement.shape() == places,
                Mismatch(kDisplacement, TypeName(displacement.dtype()), places.DebugString(),
                         displacement.shape().DebugString()));
    Tensor* output = nullptr;
    OP_REQUIRES_OK(context, AllocateOutput(context, 0, image.shape(), &output));
    const S* selected = selection.flat<S>().data();
    const int64_t wrong = blade::FirstOutOfRange(selected, selection.NumElements(), bank_shape.k);
    OP_REQUIRES(context, wrong == selection.NumElements(), OutOfRange(shape, bank_shape.k, selection, wrong));
    const blade::ResampleBank bank(bank_shape, parameters_.monomials(), filters.flat<float>().data());
    ParallelFor(context, shape.rows(), LeastRows(shape, 0), [&](int64_t begin, int64_t end) {
      blade::ResampleRows(bank, parameters_, shape, level(), image.flat<float>().data(),
                          coefficients.flat<float>().data(), selected, displacement.flat<V>().data(), begin, end,
                          output->flat<float>().data());
    });
  }

 private:
  blade::ResampleParameters parameters_ = {};
};

#define BLADE_REGISTER(S, V)                                                                                  \
  REGISTER_KERNEL_BUILDER(                                                                                    \
      Name("BladeResample").Device(tensorflow::DEVICE_CPU).TypeConstraint<S>("Tsel").TypeConstraint<V>("Tv"), \
      ResampleKernel<S, V>);
BLADE_REGISTER(int32_t, float)
BLADE_REGISTER(int32_t, double)
BLADE_REGISTER(uint8_t, float)
BLADE_REGISTER(uint8_t, double)
#undef BLADE_REGISTER

}  // namespace
}  // namespace blade_tf
