#include <string>
#include <vector>

#include "cc/blade/exchange.h"
#include "cc/blade/lookup.h"
#include "cc/tf/kernel.h"

namespace blade_tf {
namespace {

absl::Status Same(const char* name, const Tensor& tensor, const TensorShape& wanted) {
  if (tensor.shape() == wanted) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name, ": expected ", TypeName(tensor.dtype()), " ",
                                                 Spaced(wanted.DebugString()), ", got ",
                                                 Spaced(tensor.shape().DebugString())));
}

absl::Status OfRank(const char* name, const char* form, const Tensor& tensor, int rank) {
  return Rank({name, form, rank}, tensor);
}

class PairsKernel : public BladeKernel {
 public:
  explicit PairsKernel(OpKernelConstruction* context) : BladeKernel(context) {
    std::vector<int64_t> numbers;
    OP_REQUIRES_OK(context, context->GetAttr("pairs", &numbers));
    const std::string error = blade::ParsePairs(numbers, &pairs_);
    OP_REQUIRES(context, error.empty(), absl::InvalidArgumentError(error));
    for (const blade::Pair& pair : pairs_) {
      planes_ = std::max(planes_, pair.plane + 1);
      reach_ = std::max(reach_, std::abs(pair.ay - pair.by));
    }
  }

 protected:
  const std::vector<blade::Pair>& pairs() const { return pairs_; }
  int64_t reach() const { return reach_; }

  absl::Status ShapeOf(const Tensor& image, const Tensor& conductance, blade::ExchangeShape* shape) const {
    TF_RETURN_IF_ERROR(OfRank("image", "[N, C, H, W]", image, 4));
    TF_RETURN_IF_ERROR(OfRank("conductance", "[N, P, H, W]", conductance, 4));
    *shape = {image.dim_size(0), image.dim_size(1), conductance.dim_size(1), image.dim_size(2), image.dim_size(3)};
    TensorShape wanted = image.shape();
    wanted.set_dim(1, conductance.dim_size(1));
    TF_RETURN_IF_ERROR(Same("conductance", conductance, wanted));
    if (shape->planes >= planes_) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("conductance: expected at least ", planes_, " planes for these pairs, got ", shape->planes));
  }

  int64_t Block(const blade::ExchangeShape& shape) const {
    return LeastRows({shape.n, shape.h, shape.w, shape.channels}, reach_);
  }

  template <typename T>
  absl::Status Limit(OpKernelContext* context, const blade::ExchangeShape& shape, const Tensor& conductance,
                     Tensor* limit) const {
    TF_RETURN_IF_ERROR(
        context->allocate_temp(tensorflow::DataTypeToEnum<T>::value, TensorShape({shape.n, shape.h, shape.w}), limit));
    ParallelFor(context, shape.rows(), Block(shape), [&](int64_t begin, int64_t end) {
      blade::ExchangeLimitRows(shape, pairs_, level(), conductance.flat<T>().data(), begin, end,
                               limit->flat<T>().data());
    });
    return absl::OkStatus();
  }

 private:
  std::vector<blade::Pair> pairs_;
  int64_t planes_ = 0, reach_ = 0;
};

template <typename T>
class ExchangeKernel : public PairsKernel {
 public:
  using PairsKernel::PairsKernel;

  void Run(OpKernelContext* context) override {
    const Tensor &image = context->input(0), &conductance = context->input(1);
    blade::ExchangeShape shape;
    OP_REQUIRES_OK(context, ShapeOf(image, conductance, &shape));
    Tensor *change = nullptr, limit;
    OP_REQUIRES_OK(context, AllocateOutput(context, 0, image.shape(), &change));
    OP_REQUIRES_OK(context, Limit<T>(context, shape, conductance, &limit));
    ParallelFor(context, shape.rows(), Block(shape), [&](int64_t begin, int64_t end) {
      blade::ExchangeRows(shape, pairs(), level(), image.flat<T>().data(), conductance.flat<T>().data(),
                          limit.flat<T>().data(), begin, end, change->flat<T>().data());
    });
  }
};

template <typename T>
class ExchangeGradKernel : public PairsKernel {
 public:
  using PairsKernel::PairsKernel;

  void Run(OpKernelContext* context) override {
    const Tensor &image = context->input(0), &conductance = context->input(1), &grad = context->input(2);
    blade::ExchangeShape shape;
    OP_REQUIRES_OK(context, ShapeOf(image, conductance, &shape));
    OP_REQUIRES_OK(context, Same("grad", grad, image.shape()));
    Tensor *conductance_grad = nullptr, limit, sum_grad;
    OP_REQUIRES_OK(context, AllocateOutput(context, 0, conductance.shape(), &conductance_grad));
    OP_REQUIRES_OK(context, Limit<T>(context, shape, conductance, &limit));
    OP_REQUIRES_OK(context, context->allocate_temp(tensorflow::DataTypeToEnum<T>::value, limit.shape(), &sum_grad));
    const T *u = image.flat<T>().data(), *c = conductance.flat<T>().data(), *g = grad.flat<T>().data(),
            *r = limit.flat<T>().data();
    T *e = sum_grad.flat<T>().data(), *out = conductance_grad->flat<T>().data();
    ParallelFor(context, shape.rows(), Block(shape), [&](int64_t begin, int64_t end) {
      blade::ExchangeGradSumRows(shape, pairs(), level(), u, c, r, g, begin, end, e);
    });
    ParallelFor(context, shape.rows(), Block(shape), [&](int64_t begin, int64_t end) {
      blade::ExchangeGradConductanceRows(shape, pairs(), level(), u, r, g, e, begin, end, out);
    });
  }
};

class LookupBase : public BladeKernel {
 public:
  using BladeKernel::BladeKernel;

 protected:
  static absl::Status ShapeOf(OpKernelContext* context, blade::LookupShape* shape) {
    const Tensor &table = context->input(0), &lower = context->input(1);
    TF_RETURN_IF_ERROR(OfRank("table", "[K, P]", table, 2));
    TF_RETURN_IF_ERROR(OfRank("lower", "[N, H, W]", lower, 3));
    TF_RETURN_IF_ERROR(Same("upper", context->input(2), lower.shape()));
    TF_RETURN_IF_ERROR(Same("weight", context->input(3), lower.shape()));
    *shape = {lower.dim_size(0), table.dim_size(1), lower.dim_size(1), lower.dim_size(2), table.dim_size(0)};
    return absl::OkStatus();
  }

  static TensorShape OutputShape(const blade::LookupShape& shape) {
    return TensorShape({shape.n, shape.planes, shape.h, shape.w});
  }

  // The error of the first position that LookupRows or LookupGradRows returned.
  static absl::Status InRange(const FirstWrong& wrong, const blade::LookupShape& shape, const Tensor& lower,
                              const Tensor& upper) {
    const int64_t position = wrong.position();
    if (position == blade::kSelectionInRange) return absl::OkStatus();
    const int64_t row = position / (2 * shape.w), x = position % shape.w;
    return OutOfRange({shape.n, shape.h, shape.w, 1}, shape.k, position / shape.w % 2 == 0 ? lower : upper,
                      row * shape.w + x);
  }
};

template <typename T>
class LookupKernel : public LookupBase {
 public:
  using LookupBase::LookupBase;

  void Run(OpKernelContext* context) override {
    blade::LookupShape shape;
    OP_REQUIRES_OK(context, ShapeOf(context, &shape));
    Tensor* output = nullptr;
    OP_REQUIRES_OK(context, AllocateOutput(context, 0, OutputShape(shape), &output));
    const Tensor &lower = context->input(1), &upper = context->input(2);
    const T *table = context->input(0).flat<T>().data(), *weight = context->input(3).flat<T>().data();
    FirstWrong wrong;
    ParallelFor(context, shape.rows(), LeastRows({shape.n, shape.h, shape.w, 1}, 0), [&](int64_t begin, int64_t end) {
      wrong.Report(blade::LookupRows(shape, level(), table, lower.flat<int32_t>().data(), upper.flat<int32_t>().data(),
                                     weight, begin, end, output->flat<T>().data()));
    });
    OP_REQUIRES_OK(context, InRange(wrong, shape, lower, upper));
  }
};

template <typename T>
class LookupGradKernel : public LookupBase {
 public:
  using LookupBase::LookupBase;

  void Run(OpKernelContext* context) override {
    blade::LookupShape shape;
    OP_REQUIRES_OK(context, ShapeOf(context, &shape));
    const Tensor &table = context->input(0), &lower = context->input(1), &upper = context->input(2),
                 &weight = context->input(3), &grad = context->input(4);
    OP_REQUIRES_OK(context, Same("grad", grad, OutputShape(shape)));
    Tensor *table_grad = nullptr, *weight_grad = nullptr, sums;
    OP_REQUIRES_OK(context, AllocateOutput(context, 0, table.shape(), &table_grad));
    OP_REQUIRES_OK(context, AllocateOutput(context, 1, weight.shape(), &weight_grad));
    const blade::LookupBlocks blocks(shape);
    const int64_t size = shape.k * shape.planes;
    OP_REQUIRES_OK(context, context->allocate_temp(tensorflow::DT_DOUBLE, TensorShape({blocks.count(), size}), &sums));
    double* data = sums.flat<double>().data();
    FirstWrong wrong;
    ParallelFor(context, blocks.count(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; ++block) {
        wrong.Report(blade::LookupGradRows(shape, table.flat<T>().data(), lower.flat<int32_t>().data(),
                                           upper.flat<int32_t>().data(), weight.flat<T>().data(), grad.flat<T>().data(),
                                           blocks.begin(block), blocks.end(block), data + block * size,
                                           weight_grad->flat<T>().data()));
      }
    });
    OP_REQUIRES_OK(context, InRange(wrong, shape, lower, upper));
    auto out = table_grad->flat<T>();
    for (int64_t i = 0; i < size; ++i) {
      double total = 0;
      for (int64_t block = 0; block < blocks.count(); ++block) total += data[block * size + i];
      out(i) = static_cast<T>(total);
    }
  }
};

#define BLADE_REGISTER(T)                                                                                              \
  REGISTER_KERNEL_BUILDER(Name("BladeExchange").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"),                 \
                          ExchangeKernel<T>);                                                                          \
  REGISTER_KERNEL_BUILDER(Name("BladeExchangeGrad").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"),             \
                          ExchangeGradKernel<T>);                                                                      \
  REGISTER_KERNEL_BUILDER(Name("BladeLookup").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), LookupKernel<T>); \
  REGISTER_KERNEL_BUILDER(Name("BladeLookupGrad").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"),               \
                          LookupGradKernel<T>);
BLADE_REGISTER(float)
BLADE_REGISTER(double)
#undef BLADE_REGISTER

}  // namespace
}  // namespace blade_tf
