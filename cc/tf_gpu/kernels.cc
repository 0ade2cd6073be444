#include <string>
#include <tuple>
#include <vector>

#include "cc/blade/select.h"
#include "cc/cuda/blade_cuda.h"
#include "cc/tf/kernel.h"
#include "cc/tf_gpu/stream.h"

// The operations on GPU devices: a library of its own, which needs neither CUDA's headers nor a GPU to be loaded.

namespace blade_tf {
namespace {

using tensorflow::AsyncOpKernel;

int32_t ValueType(const Tensor& tensor) {
  if (tensor.dtype() == tensorflow::DT_HALF) return BLADE_CUDA_FLOAT16;
  return tensor.dtype() == tensorflow::DT_BFLOAT16 ? BLADE_CUDA_BFLOAT16 : BLADE_CUDA_FLOAT32;
}

int32_t IndexType(tensorflow::DataType type) {
  return type == tensorflow::DT_UINT8 ? BLADE_CUDA_UINT8 : BLADE_CUDA_INT32;
}

// Of an image, or of a gradient, which has its shape.
absl::Status SetImage(const Argument& argument, const Tensor& image, BladeCudaShape* shape) {
  blade::ImageShape sizes;
  TF_RETURN_IF_ERROR(ImageShapeOf(argument, image, &sizes));
  std::tie(shape->n, shape->h, shape->w, shape->c) = std::tie(sizes.n, sizes.h, sizes.w, sizes.c);
  shape->values = ValueType(image);
  return absl::OkStatus();
}

absl::Status SetFilters(const Tensor& filters, BladeCudaShape* shape) {
  blade::FilterShape sizes;
  TF_RETURN_IF_ERROR(FilterShapeOf(filters, &sizes));
  std::tie(shape->k, shape->r, shape->s) = std::tie(sizes.k, sizes.r, sizes.s);
  return absl::OkStatus();
}

absl::Status SetSelection(const Tensor& selection, const Tensor& image, BladeCudaShape* shape) {
  shape->indices = IndexType(selection.dtype());
  return SameShape(kSelection, selection, image);
}

absl::Status Launched(const char* error) {
  return error == nullptr ? absl::OkStatus() : absl::InternalError(absl::StrCat("blade_tf on the GPU: ", error));
}

absl::Status AllocateBytes(OpKernelContext* context, int64_t bytes, Tensor* tensor) {
  return context->allocate_temp(tensorflow::DT_UINT8, TensorShape({bytes}), tensor);
}

// A kernel is done when its check of the selection is: the kernel on the device skips values out of range and writes
// the first one's position, which is read back without blocking a thread of the host.
class GpuKernel : public AsyncOpKernel {
 public:
  using AsyncOpKernel::AsyncOpKernel;

  void ComputeAsync(OpKernelContext* context, DoneCallback done) final {
    Pass pass;
    absl::Status status = Enqueue(context, &pass);
    if (status.ok() && pass.selection != nullptr) {
      status = ReadBack<int64_t>(context, pass.first_wrong.flat<int64_t>().data(), tensorflow::DT_INT64,
                                 [context, pass, done](int64_t position) { Finish(context, pass, position, done); });
      if (status.ok()) return;
    }
    context->SetStatus(status);
    done();
  }

 protected:
  struct Pass {
    BladeCudaShape shape = {};
    const Tensor* selection = nullptr;  // null where its values need no check
    Tensor first_wrong;
  };

  // Enqueues the operation.
  virtual absl::Status Enqueue(OpKernelContext* context, Pass* pass) = 0;

  // Where the device is to report the first value out of range.
  static absl::Status Check(OpKernelContext* context, const Tensor* selection, Pass* pass, int64_t** first_wrong) {
    pass->selection = selection;
    TF_RETURN_IF_ERROR(context->allocate_temp(tensorflow::DT_INT64, TensorShape({}), &pass->first_wrong));
    *first_wrong = pass->first_wrong.flat<int64_t>().data();
    return absl::OkStatus();
  }

 private:
  static void Finish(OpKernelContext* context, const Pass& pass, int64_t position, const DoneCallback& done) {
    if (position == blade::kSelectionInRange) return done();
    const auto fail = [context, pass, position, done](int64_t value) {
      const auto [n, h, w, c, k, r, s, values, indices] = pass.shape;
      context->SetStatus(absl::InvalidArgumentError(absl::StrCat("selection: expected values in [0, ", k, "), got ",
                                                                 value, " at [", position / (w * h), ", ",
                                                                 position / w % h, ", ", position % w, "]")));
      done();
    };
    const Tensor& selection = *pass.selection;
    const absl::Status status =
        selection.dtype() == tensorflow::DT_UINT8
            ? ReadBack<uint8_t>(context, selection.flat<uint8_t>().data() + position, tensorflow::DT_UINT8, fail)
            : ReadBack<int32_t>(context, selection.flat<int32_t>().data() + position, tensorflow::DT_INT32, fail);
    if (status.ok()) return;
    context->SetStatus(status);
    done();
  }
};

class FilterKernel : public GpuKernel {
 public:
  using GpuKernel::GpuKernel;

 protected:
  absl::Status Enqueue(OpKernelContext* context, Pass* pass) override {
    const Tensor &image = context->input(0), &filters = context->input(1), &selection = context->input(2);
    TF_RETURN_IF_ERROR(SetImage(kImage, image, &pass->shape));
    TF_RETURN_IF_ERROR(SetFilters(filters, &pass->shape));
    TF_RETURN_IF_ERROR(SetSelection(selection, image, &pass->shape));
    Tensor* output = nullptr;
    int64_t* first_wrong = nullptr;
    TF_RETURN_IF_ERROR(context->allocate_output(0, image.shape(), &output));
    TF_RETURN_IF_ERROR(Check(context, &selection, pass, &first_wrong));
    return Launched(blade_cuda_filter(&pass->shape, image.data(), filters.data(), selection.data(), output->data(),
                                      first_wrong, CudaStream(context)));
  }
};

class FilterGradImageKernel : public GpuKernel {
 public:
  using GpuKernel::GpuKernel;

 protected:
  absl::Status Enqueue(OpKernelContext* context, Pass* pass) override {
    const Tensor &filters = context->input(0), &selection = context->input(1), &grad = context->input(2);
    TF_RETURN_IF_ERROR(SetFilters(filters, &pass->shape));
    TF_RETURN_IF_ERROR(SetImage(kGrad, grad, &pass->shape));
    TF_RETURN_IF_ERROR(SetSelection(selection, grad, &pass->shape));
    Tensor* output = nullptr;
    int64_t* first_wrong = nullptr;
    TF_RETURN_IF_ERROR(context->allocate_output(0, grad.shape(), &output));
    TF_RETURN_IF_ERROR(Check(context, &selection, pass, &first_wrong));
    return Launched(blade_cuda_grad_image(&pass->shape, filters.data(), selection.data(), grad.data(), output->data(),
                                          first_wrong, CudaStream(context)));
  }
};

class FilterGradFiltersKernel : public GpuKernel {
 public:
  using GpuKernel::GpuKernel;

 protected:
  absl::Status Enqueue(OpKernelContext* context, Pass* pass) override {
    const Tensor &image = context->input(0), &selection = context->input(1), &grad = context->input(2),
                 &size = context->input(3);
    TF_RETURN_IF_ERROR(SetImage(kImage, image, &pass->shape));
    TF_RETURN_IF_ERROR(SetSelection(selection, image, &pass->shape));
    TF_RETURN_IF_ERROR(SameShape(kGrad, grad, image));
    if (size.dims() != 1 || size.NumElements() != 3) {
      return Expected(kFiltersShape, "int32", size.shape().DebugString());
    }
    const auto sizes = size.vec<int32_t>();
    if (sizes(0) < 0 || sizes(1) < 1 || sizes(2) < 1) {
      return Expected(kFiltersShape, "int32", absl::StrCat("values [", sizes(0), ",", sizes(1), ",", sizes(2), "]"));
    }
    std::tie(pass->shape.k, pass->shape.r, pass->shape.s) = std::tuple(sizes(0), sizes(1), sizes(2));
    TensorShape filters_shape;
    TF_RETURN_IF_ERROR(TensorShape::BuildTensorShape({sizes(0), sizes(1), sizes(2)}, &filters_shape));
    Tensor* output = nullptr;
    Tensor scratch;
    int64_t* first_wrong = nullptr;
    TF_RETURN_IF_ERROR(context->allocate_output(0, filters_shape, &output));
    TF_RETURN_IF_ERROR(AllocateBytes(context, blade_cuda_grad_filters_scratch(&pass->shape), &scratch));
    TF_RETURN_IF_ERROR(Check(context, &selection, pass, &first_wrong));
    return Launched(blade_cuda_grad_filters(&pass->shape, image.data(), selection.data(), grad.data(), scratch.data(),
                                            output->data(), first_wrong, CudaStream(context)));
  }
};

absl::Status MakePlan(const blade::SelectParameters& p, BladeCudaPlan* plan) {
  const std::string invalid = blade::ValidateSelect(p);
  if (!invalid.empty()) return absl::InvalidArgumentError(invalid);
  const auto size = [](const std::vector<float>& numbers) { return static_cast<int64_t>(numbers.size()); };
  const char* error = blade_cuda_plan(p.orientations, p.strength_thresholds.data(), size(p.strength_thresholds),
                                      p.coherence_thresholds.data(), size(p.coherence_thresholds),
                                      p.intensity_thresholds.data(), size(p.intensity_thresholds), p.rho, plan);
  return error == nullptr ? absl::OkStatus() : absl::InvalidArgumentError(error);
}

class SelectKernel : public GpuKernel {
 public:
  explicit SelectKernel(OpKernelConstruction* context) : GpuKernel(context) {
    blade::SelectParameters parameters;
    OP_REQUIRES_OK(context, context->GetAttr("orientations", &parameters.orientations));
    OP_REQUIRES_OK(context, context->GetAttr("strength_thresholds", &parameters.strength_thresholds));
    OP_REQUIRES_OK(context, context->GetAttr("coherence_thresholds", &parameters.coherence_thresholds));
    OP_REQUIRES_OK(context, context->GetAttr("rho", &parameters.rho));
    OP_REQUIRES_OK(context, context->GetAttr("intensity_thresholds", &parameters.intensity_thresholds));
    OP_REQUIRES_OK(context, MakePlan(parameters, &plan_));
    OP_REQUIRES_OK(context, IndexHolds(context->output_type(context->num_outputs() - 1), blade_cuda_plan_bins(&plan_)));
  }

 protected:
  absl::Status Enqueue(OpKernelContext* context, Pass* pass) override {
    const Tensor& image = context->input(0);
    Tensor *selection = nullptr, scratch;
    TF_RETURN_IF_ERROR(SetImage(kImage, image, &pass->shape));
    TF_RETURN_IF_ERROR(AllocateSelection(context, 0, image, pass, &selection, &scratch));
    return Launched(
        blade_cuda_select(&pass->shape, &plan_, image.data(), scratch.data(), selection->data(), CudaStream(context)));
  }

  absl::Status AllocateSelection(OpKernelContext* context, int output, const Tensor& image, Pass* pass,
                                 Tensor** selection, Tensor* scratch) {
    TensorShape shape = image.shape();
    shape.RemoveLastDims(1);
    pass->shape.indices = IndexType(context->expected_output_dtype(output));
    TF_RETURN_IF_ERROR(context->allocate_output(output, shape, selection));
    return AllocateBytes(context, blade_cuda_select_scratch(&pass->shape, &plan_), scratch);
  }

  BladeCudaPlan plan_ = {};
};

class StepKernel : public SelectKernel {
 public:
  explicit StepKernel(OpKernelConstruction* context) : SelectKernel(context), bins_(blade_cuda_plan_bins(&plan_)) {}

 protected:
  // With a filter for every bin there is nothing to check, and nothing to wait for.
  absl::Status Enqueue(OpKernelContext* context, Pass* pass) override {
    const Tensor &image = context->input(0), &filters = context->input(1), &dt = context->input(2);
    TF_RETURN_IF_ERROR(SetImage(kImage, image, &pass->shape));
    TF_RETURN_IF_ERROR(SetFilters(filters, &pass->shape));
    TF_RETURN_IF_ERROR(Rank(kDt, dt));
    if (pass->shape.k < bins_) {
      return absl::InvalidArgumentError(absl::StrCat("filters: expected at least ", bins_,
                                                     ", one for each combination of features, got ", pass->shape.k));
    }
    Tensor *output = nullptr, *selection = nullptr, scratch;
    TF_RETURN_IF_ERROR(context->allocate_output(0, image.shape(), &output));
    TF_RETURN_IF_ERROR(AllocateSelection(context, 1, image, pass, &selection, &scratch));
    return Launched(blade_cuda_step(&pass->shape, &plan_, image.data(), filters.data(), dt.data(), scratch.data(),
                                    output->data(), selection->data(), nullptr, CudaStream(context)));
  }

 private:
  int64_t bins_;
};

#define BLADE_REGISTER(T)                                                                                              \
  REGISTER_KERNEL_BUILDER(Name("BladeFilter").Device(kDevice).Label(kLabel).TypeConstraint<T>("T"), FilterKernel);     \
  REGISTER_KERNEL_BUILDER(Name("BladeFilterGradImage").Device(kDevice).Label(kLabel).TypeConstraint<T>("T"),           \
                          FilterGradImageKernel);                                                                      \
  REGISTER_KERNEL_BUILDER(                                                                                             \
      Name("BladeFilterGradFilters").Device(kDevice).Label(kLabel).TypeConstraint<T>("T").HostMemory("filters_shape"), \
      FilterGradFiltersKernel);                                                                                        \
  REGISTER_KERNEL_BUILDER(Name("BladeSelect")                                                                          \
                              .Device(kDevice)                                                                         \
                              .Label(kLabel)                                                                           \
                              .TypeConstraint<T>("T")                                                                  \
                              .AttrConstraint<std::string>("center", "pixel"),                                         \
                          SelectKernel);                                                                               \
  REGISTER_KERNEL_BUILDER(Name("BladeStep").Device(kDevice).Label(kLabel).TypeConstraint<T>("T"), StepKernel);
BLADE_REGISTER(Eigen::half)
BLADE_REGISTER(Eigen::bfloat16)
BLADE_REGISTER(float)
#undef BLADE_REGISTER

}  // namespace
}  // namespace blade_tf
