#include <algorithm>
#include <atomic>
#include <new>
#include <string>
#include <vector>

#include "cc/blade/filter.h"
#include "cc/blade/select.h"
#include "cc/tf/shapes.h"
#include "tensorflow/core/framework/bfloat16.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/register_types.h"
#include "tensorflow/core/framework/tensor_shape.h"

namespace blade_tf {
namespace {

using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

template <typename T>
struct CoreType {
  using Type = T;
};
template <>
struct CoreType<Eigen::half> {
  using Type = blade::Half;
};
template <>
struct CoreType<Eigen::bfloat16> {
  using Type = blade::BFloat16;
};

template <typename T>
using Core = typename CoreType<T>::Type;

template <typename T>
const Core<T>* Data(const Tensor& tensor) {
  static_assert(sizeof(T) == sizeof(Core<T>));
  return reinterpret_cast<const Core<T>*>(tensor.flat<T>().data());
}

template <typename T>
Core<T>* Data(Tensor* tensor) {
  return reinterpret_cast<Core<T>*>(tensor->flat<T>().data());
}

absl::Status Rank(const Argument& argument, const Tensor& tensor) {
  if (tensor.dims() == argument.rank) return absl::OkStatus();
  return Expected(argument, TypeName(tensor.dtype()), tensor.shape().DebugString());
}

absl::Status ImageShapeOf(const Argument& argument, const Tensor& tensor, blade::ImageShape* shape) {
  TF_RETURN_IF_ERROR(Rank(argument, tensor));
  *shape = {tensor.dim_size(0), tensor.dim_size(1), tensor.dim_size(2), tensor.dim_size(3)};
  return absl::OkStatus();
}

bool HasOddFootprint(const blade::FilterShape& shape) {
  return shape.k >= 0 && shape.r > 0 && shape.r % 2 == 1 && shape.s > 0 && shape.s % 2 == 1;
}

absl::Status FilterShapeOf(const Tensor& tensor, blade::FilterShape* shape) {
  TF_RETURN_IF_ERROR(Rank(kFilters, tensor));
  *shape = {tensor.dim_size(0), tensor.dim_size(1), tensor.dim_size(2)};
  if (HasOddFootprint(*shape)) return absl::OkStatus();
  return Expected(kFilters, TypeName(tensor.dtype()), tensor.shape().DebugString());
}

// `reference` is a tensor of shape [N, H, W, ...] whose first dimensions `tensor` must have.
absl::Status SameShape(const Argument& argument, const Tensor& tensor, const Tensor& reference) {
  TF_RETURN_IF_ERROR(Rank(argument, tensor));
  TensorShape wanted = reference.shape();
  while (wanted.dims() > argument.rank) wanted.RemoveLastDims(1);
  if (tensor.shape() == wanted) return absl::OkStatus();
  return Mismatch(argument, TypeName(tensor.dtype()), wanted.DebugString(), tensor.shape().DebugString());
}

absl::Status OutOfRange(const blade::ImageShape& shape, int64_t k, const Tensor& selection, int64_t position) {
  return absl::InvalidArgumentError(
      absl::StrCat("selection: expected values in [0, ", k, "), got ", selection.flat<int32_t>()(position), " at [",
                   position / (shape.w * shape.h), ", ", position / shape.w % shape.h, ", ", position % shape.w, "]"));
}

// Calls work(begin, end) for blocks that cover [0, total), on TensorFlow's pool. Throws std::bad_alloc if one of them
// did.
template <typename Work>
void ParallelFor(OpKernelContext* context, int64_t total, int64_t block, const Work& work) {
  if (total == 0) return;
  using tsl::thread::ThreadPool;
  std::atomic<bool> out_of_memory{false};
  // TensorFlow's threads must not see an exception.
  const auto guarded = [&](int64_t begin, int64_t end) {
    try {
      work(begin, end);
    } catch (const std::bad_alloc&) {
      out_of_memory = true;
    }
  };
  context->device()->tensorflow_cpu_worker_threads()->workers->ParallelFor(
      total, ThreadPool::SchedulingParams::Fixed(std::max<int64_t>(block, 1)), guarded);
  if (out_of_memory) throw std::bad_alloc();
}

// Blocks of rows: a few for each thread, but none so small that the rows it shares with its neighbours would dominate.
int64_t RowBlock(OpKernelContext* context, const blade::ImageShape& shape, int64_t shared_rows) {
  constexpr int64_t kBlocksPerThread = 4, kLeastPixels = 8192;
  const int64_t threads = context->device()->tensorflow_cpu_worker_threads()->num_threads;
  const int64_t pixels = std::max<int64_t>(shape.w * shape.c, 1);
  return std::max({shape.rows() / (threads * kBlocksPerThread), 4 * shared_rows, kLeastPixels / pixels});
}

// The first position in row-major order of all that the blocks report.
class FirstWrong {
 public:
  void Report(int64_t position) {
    if (position == blade::kSelectionInRange) return;
    int64_t first = first_.load(std::memory_order_relaxed);
    while (position < first && !first_.compare_exchange_weak(first, position, std::memory_order_relaxed)) {
    }
  }
  absl::Status Status(const blade::ImageShape& shape, int64_t k, const Tensor& selection) const {
    return first_ == kNone ? absl::OkStatus() : OutOfRange(shape, k, selection, first_);
  }

 private:
  static constexpr int64_t kNone = INT64_MAX;
  std::atomic<int64_t> first_{kNone};
};

class BladeKernel : public OpKernel {
 public:
  explicit BladeKernel(OpKernelConstruction* context) : OpKernel(context) {
    const std::string error = blade::ChosenSimdLevel(&level_);
    OP_REQUIRES(context, error.empty(), absl::InvalidArgumentError(error));
  }

  void Compute(OpKernelContext* context) final {
    try {
      Run(context);
    } catch (const std::bad_alloc&) {
      context->CtxFailure(absl::ResourceExhaustedError(absl::StrCat(name(), ": out of memory for its scratch")));
    }
  }

 protected:
  virtual void Run(OpKernelContext* context) = 0;
  blade::SimdLevel level() const { return level_; }

 private:
  blade::SimdLevel level_;
};

template <typename T>
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
    OP_REQUIRES_OK(context, context->allocate_output(0, image.shape(), &output));
    const blade::FilterBank<Core<T>> bank(filter_shape, Data<T>(filters), level());
    FirstWrong wrong;
    ParallelFor(context, shape.rows(), RowBlock(context, shape, filter_shape.r - 1), [&](int64_t begin, int64_t end) {
      wrong.Report(
          blade::FilterRows(bank, shape, Data<T>(image), Data<int32_t>(selection), begin, end, Data<T>(output)));
    });
    OP_REQUIRES_OK(context, wrong.Status(shape, filter_shape.k, selection));
  }
};

template <typename T>
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
    OP_REQUIRES_OK(context, context->allocate_output(0, grad.shape(), &output));
    const blade::FilterBank<Core<T>> bank(filter_shape, Data<T>(filters), level());
    FirstWrong wrong;
    ParallelFor(context, shape.rows(), RowBlock(context, shape, filter_shape.r - 1), [&](int64_t begin, int64_t end) {
      wrong.Report(blade::FilterGradImageRows(bank, shape, Data<int32_t>(selection), Data<T>(grad), begin, end,
                                              Data<T>(output)));
    });
    OP_REQUIRES_OK(context, wrong.Status(shape, filter_shape.k, selection));
  }
};

template <typename T>
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
        context, HasOddFootprint(filter_shape),
        Expected(kFiltersShape, "int32", absl::StrCat("values [", sizes(0), ",", sizes(1), ",", sizes(2), "]")));
    TensorShape filters_shape, sums_shape;
    OP_REQUIRES_OK(context, TensorShape::BuildTensorShape({sizes(0), sizes(1), sizes(2)}, &filters_shape));
    Tensor* output = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, filters_shape, &output));

    const blade::GradFiltersBlocks blocks(shape, filter_shape);
    Tensor sums;
    OP_REQUIRES_OK(context, TensorShape::BuildTensorShape({blocks.count(), blocks.size()}, &sums_shape));
    OP_REQUIRES_OK(context, context->allocate_temp(tensorflow::DT_DOUBLE, sums_shape, &sums));
    double* data = sums.flat<double>().data();
    FirstWrong wrong;
    ParallelFor(context, blocks.count(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; ++block) {
        wrong.Report(blade::FilterGradFiltersRows(filter_shape, level(), shape, Data<T>(image),
                                                  Data<int32_t>(selection), Data<T>(grad), blocks.begin(block),
                                                  blocks.end(block), data + block * blocks.size()));
      }
    });
    OP_REQUIRES_OK(context, wrong.Status(shape, filter_shape.k, selection));
    constexpr int64_t kFiltersPerTask = 128;
    ParallelFor(context, filter_shape.k, kFiltersPerTask, [&](int64_t begin, int64_t end) {
      blade::FilterGradFiltersReduce(filter_shape, data, blocks.count(), begin, end, Data<T>(output));
    });
  }
};

template <typename T>
class SelectKernel : public BladeKernel {
 public:
  explicit SelectKernel(OpKernelConstruction* context) : BladeKernel(context), plan_({1, {}, {}, 0.0f}) {
    blade::SelectParameters parameters;
    OP_REQUIRES_OK(context, context->GetAttr("orientations", &parameters.orientations));
    OP_REQUIRES_OK(context, context->GetAttr("strength_thresholds", &parameters.strength_thresholds));
    OP_REQUIRES_OK(context, context->GetAttr("coherence_thresholds", &parameters.coherence_thresholds));
    OP_REQUIRES_OK(context, context->GetAttr("rho", &parameters.rho));
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
    Tensor* selection = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, selection_shape, &selection));
    ParallelFor(context, shape.rows(), RowBlock(context, shape, 2 * plan_.radius() + 2),
                [&](int64_t begin, int64_t end) {
                  blade::SelectRows(plan_, level(), shape, Data<T>(image), begin, end, Data<int32_t>(selection));
                });
  }

 private:
  using Plan = blade::SelectPlan<blade::ComputeOf<Core<T>>>;
  Plan plan_;
};

#define BLADE_REGISTER(T)                                                                                              \
  REGISTER_KERNEL_BUILDER(Name("BladeFilter").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), FilterKernel<T>); \
  REGISTER_KERNEL_BUILDER(Name("BladeFilterGradImage").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"),          \
                          FilterGradImageKernel<T>);                                                                   \
  REGISTER_KERNEL_BUILDER(Name("BladeFilterGradFilters")                                                               \
                              .Device(tensorflow::DEVICE_CPU)                                                          \
                              .TypeConstraint<T>("T")                                                                  \
                              .HostMemory("filters_shape"),                                                            \
                          FilterGradFiltersKernel<T>);                                                                 \
  REGISTER_KERNEL_BUILDER(Name("BladeSelect").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), SelectKernel<T>);
BLADE_REGISTER(Eigen::half)
BLADE_REGISTER(Eigen::bfloat16)
BLADE_REGISTER(float)
BLADE_REGISTER(double)
#undef BLADE_REGISTER

}  // namespace
}  // namespace blade_tf
