#ifndef BLADE_TF_KERNEL_H_
#define BLADE_TF_KERNEL_H_

#ifdef __linux__
#include <sys/mman.h>
#endif

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <new>
#include <string>
#include <utility>

#include "cc/blade/filter.h"
#include "cc/blade/select.h"
#include "cc/tf/parallel.h"
#include "cc/tf/shapes.h"
#include "tensorflow/core/framework/bfloat16.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/register_types.h"
#include "tensorflow/core/framework/tensor_shape.h"

// What the kernels of all operations share: checks of their inputs, blocks of rows on TensorFlow's threads, errors.

namespace blade_tf {

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

inline absl::Status Rank(const Argument& argument, const Tensor& tensor) {
  if (tensor.dims() == argument.rank) return absl::OkStatus();
  return Expected(argument, TypeName(tensor.dtype()), tensor.shape().DebugString());
}

inline absl::Status ImageShapeOf(const Argument& argument, const Tensor& tensor, blade::ImageShape* shape) {
  TF_RETURN_IF_ERROR(Rank(argument, tensor));
  *shape = {tensor.dim_size(0), tensor.dim_size(1), tensor.dim_size(2), tensor.dim_size(3)};
  return absl::OkStatus();
}

// `reference` is a tensor of shape [N, H, W, ...] whose first dimensions `tensor` must have.
inline absl::Status SameShape(const Argument& argument, const Tensor& tensor, const Tensor& reference) {
  TF_RETURN_IF_ERROR(Rank(argument, tensor));
  TensorShape wanted = reference.shape();
  while (wanted.dims() > argument.rank) wanted.RemoveLastDims(1);
  if (tensor.shape() == wanted) return absl::OkStatus();
  return Mismatch(argument, TypeName(tensor.dtype()), wanted.DebugString(), tensor.shape().DebugString());
}

inline absl::Status OutOfRange(const blade::ImageShape& shape, int64_t k, const Tensor& selection, int64_t position) {
  const int value = selection.dtype() == tensorflow::DT_UINT8 ? selection.flat<uint8_t>()(position)
                                                              : selection.flat<int32_t>()(position);
  return absl::InvalidArgumentError(absl::StrCat("selection: expected values in [0, ", k, "), got ", value, " at [",
                                                 position / (shape.w * shape.h), ", ", position / shape.w % shape.h,
                                                 ", ", position % shape.w, "]"));
}

inline bool HasFootprint(const blade::FilterShape& shape) { return shape.k >= 0 && shape.r > 0 && shape.s > 0; }

inline absl::Status FilterShapeOf(const Tensor& tensor, blade::FilterShape* shape) {
  TF_RETURN_IF_ERROR(Rank(kFilters, tensor));
  *shape = {tensor.dim_size(0), tensor.dim_size(1), tensor.dim_size(2)};
  if (HasFootprint(*shape)) return absl::OkStatus();
  return Expected(kFilters, TypeName(tensor.dtype()), tensor.shape().DebugString());
}

// What malloc takes anew from the system for each large tensor costs a page fault for every page at its first touch,
// several times the kernel's own time: pages of 2 MiB make them few, where the system has them.
inline void AdviseHugePages(const Tensor& tensor) {
#ifdef __linux__
  constexpr uintptr_t kHugePage = uintptr_t{1} << 21;
  const uintptr_t address = reinterpret_cast<uintptr_t>(tensor.data());
  const uintptr_t begin = (address + kHugePage - 1) & ~(kHugePage - 1);
  const uintptr_t end = (address + tensor.TotalBytes()) & ~(kHugePage - 1);
  if (end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);  // it may fail: advice
#else
  static_cast<void>(tensor);
#endif
}

// A result of the kernel.
inline absl::Status AllocateOutput(OpKernelContext* context, int index, const TensorShape& shape, Tensor** output) {
  TF_RETURN_IF_ERROR(context->allocate_output(index, shape, output));
  AdviseHugePages(**output);
  return absl::OkStatus();
}

// The least number of rows in a block: not so few that the rows it shares with its neighbours would dominate.
inline int64_t LeastRows(const blade::ImageShape& shape, int64_t shared_rows) {
  constexpr int64_t kLeastPixels = 8192, kMultiple = 8;  // whole pairs of rows, whole blocks of a step
  const int64_t rows = std::max(4 * shared_rows, kLeastPixels / std::max<int64_t>(shape.w * shape.c, 1));
  return (rows + kMultiple - 1) / kMultiple * kMultiple;
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
  // kSelectionInRange if none was reported.
  int64_t position() const { return first_ == kNone ? blade::kSelectionInRange : first_.load(); }
  absl::Status Status(const blade::ImageShape& shape, int64_t k, const Tensor& selection) const {
    return first_ == kNone ? absl::OkStatus() : OutOfRange(shape, k, selection, first_);
  }

 private:
  static constexpr int64_t kNone = INT64_MAX;
  std::atomic<int64_t> first_{kNone};
};

// The attributes of a hard selection, whose names begin with `prefix`.
inline absl::Status GetSelectParameters(OpKernelConstruction* context, const std::string& prefix,
                                        blade::SelectParameters* parameters) {
  TF_RETURN_IF_ERROR(context->GetAttr(prefix + "orientations", &parameters->orientations));
  TF_RETURN_IF_ERROR(context->GetAttr(prefix + "strength_thresholds", &parameters->strength_thresholds));
  TF_RETURN_IF_ERROR(context->GetAttr(prefix + "coherence_thresholds", &parameters->coherence_thresholds));
  TF_RETURN_IF_ERROR(context->GetAttr(prefix + "rho", &parameters->rho));
  return context->GetAttr(prefix + "intensity_thresholds", &parameters->intensity_thresholds);
}

// A selection of type `type` can tell `bins` combinations of features apart.
inline absl::Status IndexHolds(tensorflow::DataType type, int64_t bins) {
  if (type != tensorflow::DT_UINT8 || bins <= 256) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("Tsel: expected int32 for more than 256 combinations of features, got uint8 for ", bins));
}

// The further attributes of a soft one.
inline absl::Status GetSoftFeature(OpKernelConstruction* context, const std::string& prefix,
                                   blade::SelectParameters* parameters) {
  static const std::pair<const char*, blade::SoftFeature> kFeatures[] = {
      {"none", blade::SoftFeature::kNone},           {"strength", blade::SoftFeature::kStrength},
      {"coherence", blade::SoftFeature::kCoherence}, {"orientation", blade::SoftFeature::kOrientation},
      {"intensity", blade::SoftFeature::kIntensity},
  };
  std::string name;
  TF_RETURN_IF_ERROR(context->GetAttr(prefix + "soft", &name));
  for (const auto& [known, feature] : kFeatures) {
    if (name == known) parameters->soft = feature;
  }
  return context->GetAttr(prefix + "centers", &parameters->centers);
}

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

}  // namespace blade_tf

#endif  // BLADE_TF_KERNEL_H_
