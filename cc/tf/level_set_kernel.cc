#include "cc/blade/level_set.h"
#include "cc/tf/kernel.h"

namespace blade_tf {
namespace {

template <typename T>
class LevelSetSumsKernel : public BladeKernel {
 public:
  using BladeKernel::BladeKernel;

  void Run(OpKernelContext* context) override {
    const Tensor &phi = context->input(0), &before = context->input(1), &image = context->input(2);
    OP_REQUIRES_OK(context, Rank({"image", "[N, C, H, W]", 4}, image));
    const blade::LevelSetShape shape = {image.dim_size(0), image.dim_size(1), image.dim_size(2), image.dim_size(3)};
    const TensorShape wanted({shape.n, shape.h, shape.w});
    OP_REQUIRES_OK(context, OfShape({"phi", "[N, H, W]", 3}, phi, wanted));
    OP_REQUIRES_OK(context, OfShape({"before", "[N, H, W]", 3}, before, wanted));
    Tensor *output = nullptr, rows;
    OP_REQUIRES_OK(context, context->allocate_output(0, TensorShape({shape.n, shape.sums()}), &output));
    OP_REQUIRES_OK(context,
                   context->allocate_temp(tensorflow::DT_DOUBLE, TensorShape({shape.rows(), shape.sums()}), &rows));
    double* of_rows = rows.flat<double>().data();
    const blade::ImageShape pixels = {shape.n, shape.h, shape.w, 1};
    ParallelFor(context, shape.rows(), LeastRows(pixels, 0), [&](int64_t begin, int64_t end) {
      blade::LevelSetRowSums(shape, level(), Data<T>(phi), Data<T>(before), Data<T>(image), begin, end, of_rows);
    });
    blade::LevelSetSums(shape, of_rows, output->flat<double>().data());
  }

 private:
  static absl::Status OfShape(const Argument& argument, const Tensor& tensor, const TensorShape& wanted) {
    if (tensor.shape() == wanted) return absl::OkStatus();
    return Mismatch(argument, TypeName(tensor.dtype()), wanted.DebugString(), tensor.shape().DebugString());
  }
};

#define BLADE_REGISTER(T)                                                                                  \
  REGISTER_KERNEL_BUILDER(Name("BladeLevelSetSums").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), \
                          LevelSetSumsKernel<T>);
BLADE_REGISTER(float)
BLADE_REGISTER(double)
#undef BLADE_REGISTER

}  // namespace
}  // namespace blade_tf
