#include <algorithm>
#include <string>

#include "cc/blade/filter.h"
#include "cc/tf/kernel.h"

namespace blade_tf {
namespace {

template <typename T, typename S>
class FilterKernel : public BladeKernel {
 public:
  using BladeKernel::BladeKernel;

  void Run(OpKernelContext* context) override {
    const Tensor &image = context->input(0), &filters = context->input(1), &selection = context->input(2);
    blade::ImageShape shape;
    blade::FilterShape filter_shape;
    OP_REQUIRES_OK(context, ImageShapeOf(kImage, image, &shape));
    OP_REQUIRES_OK(context, FilterShapeOf(filters, &filter_shape));
    OP_REQUIRES_OK(context, SameShape(kSelection, selection, image));
    Tensor* output = nullptr;
    OP_REQUIRES_OK(context, AllocateOutput(context, 0, image.shape(), &output));
    const blade::FilterBank<Core<T>> bank(filter_shape, Data<T>(filters), level());
    FirstWrong wrong;
    ParallelFor(context, shape.rows(), LeastRows(shape, filter_shape.r - 1), [&](int64_t begin, int64_t end) {
      wrong.Report(blade::FilterRows(bank, shape, Data<T>(image), Data<S>(selection), begin, end, Data<T>(output)));
    });
    OP_REQUIRES_OK(context, wrong.Status(shape, filter_shape.k, selection));
  }
};

template <typename T, typename S>
class FilterGradImageKernel : public BladeKernel {
 public:
  using BladeKernel::BladeKernel;

  void Run(OpKernelContext* context) override {
    const Tensor &filters = context->input(0), &selection = context->input(1), &grad = context->input(2);
    blade::ImageShape shape;
    blade::FilterShape filter_shape;
    OP_REQUIRES_OK(context, FilterShapeOf(filters, &filter_shape));
    OP_REQUIRES_OK(context, ImageShapeOf(kGrad, grad, &shape));
    OP_REQUIRES_OK(context, SameShape(kSelection, selection, grad));
    Tensor* output = nullptr;
    OP_REQUIRES_OK(context, AllocateOutput(context, 0, grad.shape(), &output));
    const blade::FilterBank<Core<T>> bank(filter_shape, Data<T>(filters), level());
    FirstWrong wrong;
    ParallelFor(context, shape.rows(), LeastRows(shape, filter_shape.r - 1), [&](int64_t begin, int64_t end) {
      wrong.Report(
          blade::FilterGradImageRows(bank, shape, Data<S>(selection), Data<T>(grad), begin, end, Data<T>(output)));
    });
    OP_REQUIRES_OK(context, wrong.Status(shape, filter_shape.k, selection));
  }
};

template <typename T, typename S>
class FilterGradFiltersKernel : public BladeKernel {
 public:
  using BladeKernel::BladeKernel;

  void Run(OpKernelContext* context) override {
    const Tensor &image = context->input(0), &selection = context->input(1), &grad = context->input(2),
                 &size = context->input(3);
    blade::ImageShape shape;
    OP_REQUIRES_OK(context, ImageShapeOf(kImage, image, &shape));
    OP_REQUIRES_OK(context, SameShape(kSelection, selection, image));
    OP_REQUIRES_OK(context, SameShape(kGrad, grad, image));
    OP_REQUIRES(context, size.dims() == 1 && size.NumElements() == 3,
                Expected(kFiltersShape, "int32", size.shape().DebugString()));
    const auto sizes = size.vec<int32_t>();
    const blade::FilterShape filter_shape = {sizes(0), sizes(1), sizes(2)};
    OP_REQUIRES(
        context, HasFootprint(filter_shape),
        Expected(kFiltersShape, "int32", absl::StrCat("values [", sizes(0), ",", sizes(1), ",", sizes(2), "]")));
    TensorShape filters_shape, sums_shape;
    OP_REQUIRES_OK(context, TensorShape::BuildTensorShape({sizes(0), sizes(1), sizes(2)}, &filters_shape));
    Tensor* output = nullptr;
    OP_REQUIRES_OK(context, AllocateOutput(context, 0, filters_shape, &output));

    const blade::GradFiltersBlocks blocks(shape, filter_shape);
    Tensor sums;
    OP_REQUIRES_OK(context, TensorShape::BuildTensorShape({blocks.count(), blocks.size()}, &sums_shape));
    OP_REQUIRES_OK(context, context->allocate_temp(tensorflow::DT_DOUBLE, sums_shape, &sums));
    double* data = sums.flat<double>().data();
    FirstWrong wrong;
    ParallelFor(context, blocks.count(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; ++block) {
        wrong.Report(blade::FilterGradFiltersRows(filter_shape, level(), shape, Data<T>(image), Data<S>(selection),
                                                  Data<T>(grad), blocks.begin(block), blocks.end(block),
                                                  data + block * blocks.size()));
      }
    });
    OP_REQUIRES_OK(context, wrong.Status(shape, filter_shape.k, selection));
    constexpr int64_t kFiltersPerTask = 128;
    ParallelFor(context, filter_shape.k, kFiltersPerTask, [&](int64_t begin, int64_t end) {
      blade::FilterGradFiltersReduce(filter_shape, data, blocks.count(), begin, end, Data<T>(output));
    });
  }
};

#define BLADE_REGISTER(T, S)                                                                                        \
  REGISTER_KERNEL_BUILDER(                                                                                          \
      Name("BladeFilter").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T").TypeConstraint<S>("Tsel"),          \
      FilterKernel<T, S>);                                                                                          \
  REGISTER_KERNEL_BUILDER(                                                                                          \
      Name("BladeFilterGradImage").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T").TypeConstraint<S>("Tsel"), \
      FilterGradImageKernel<T, S>);                                                                                 \
  REGISTER_KERNEL_BUILDER(Name("BladeFilterGradFilters")                                                            \
                              .Device(tensorflow::DEVICE_CPU)                                                       \
                              .TypeConstraint<T>("T")                                                               \
                              .TypeConstraint<S>("Tsel")                                                            \
                              .HostMemory("filters_shape"),                                                         \
                          FilterGradFiltersKernel<T, S>);
BLADE_REGISTER(Eigen::half, int32_t)
BLADE_REGISTER(Eigen::half, uint8_t)
BLADE_REGISTER(Eigen::bfloat16, int32_t)
BLADE_REGISTER(Eigen::bfloat16, uint8_t)
BLADE_REGISTER(float, int32_t)
BLADE_REGISTER(float, uint8_t)
BLADE_REGISTER(double, int32_t)
BLADE_REGISTER(double, uint8_t)
#undef BLADE_REGISTER

}  // namespace
}  // namespace blade_tf
