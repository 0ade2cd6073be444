#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "cc/blade/align.h"
#include "cc/tf/kernel.h"

namespace blade_tf {
namespace {

using blade::PlaneShape;

class AlignKernel : public BladeKernel {
 public:
  explicit AlignKernel(OpKernelConstruction* context) : BladeKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("levels", &levels_));
    OP_REQUIRES_OK(context, context->GetAttr("unmatched", &unmatched_));
    OP_REQUIRES_OK(context, context->GetAttr("steps", &steps_));
    OP_REQUIRES_OK(context, context->GetAttr("smoothness", &parameters_.smoothness));
    OP_REQUIRES_OK(context, context->GetAttr("robust", &parameters_.robust));
    OP_REQUIRES_OK(context, context->GetAttr("bias", &parameters_.bias));
    OP_REQUIRES_OK(context, context->GetAttr("radius", &parameters_.radius));
    OP_REQUIRES_OK(context, context->GetAttr("tile", &parameters_.tile));
    OP_REQUIRES_OK(context, context->GetAttr("sweeps", &parameters_.sweeps));
    OP_REQUIRES_OK(context, context->GetAttr("acceleration", &parameters_.acceleration));
    OP_REQUIRES_OK(context, context->GetAttr("largest", &parameters_.largest));
    const std::string error = blade::ValidateAlign(parameters_);
    OP_REQUIRES(context, error.empty(), absl::InvalidArgumentError(error));
  }

  void Run(OpKernelContext* context) override {
    const Tensor &reference = context->input(0), &moving = context->input(1);
    const Argument planes = {"reference", "[N, H, W]", 3};
    OP_REQUIRES_OK(context, Rank(planes, reference));
    OP_REQUIRES_OK(context, SameShape({"moving", "[N, H, W]", 3}, moving, reference));
    const PlaneShape shape = {reference.dim_size(0), reference.dim_size(1), reference.dim_size(2)};
    const PlaneShape extended = PlaneShape{1, shape.h, shape.w}.extended();
    const int64_t side = std::max(shape.h, shape.w);
    OP_REQUIRES(context, shape.h > 0 && shape.w > 0,
                ExpectedSizes(planes, "at least one pixel", reference.shape().DebugString()));
    OP_REQUIRES(
        context, side < kLongest && extended.pixels() < kMost,
        ExpectedSizes(planes, "H and W below 2^24 and fewer than 2^31 pixels", reference.shape().DebugString()));
    TensorShape flow_shape = reference.shape();
    flow_shape.AddDim(2);
    Tensor *output = nullptr, scratch;
    OP_REQUIRES_OK(context, AllocateOutput(context, 0, flow_shape, &output));
    // The pyramids beyond the finest level, an extended image, two flows, a system.
    std::vector<PlaneShape> shapes = {shape};
    int64_t size = shape.extended().pixels() + (2 + 2 + blade::kAlignPlanes) * shape.pixels();
    for (int64_t level = 1; level < levels_; ++level) {
      shapes.push_back(shapes.back().halved());
      size += 2 * shapes.back().pixels();
    }
    OP_REQUIRES_OK(context, context->allocate_temp(tensorflow::DT_FLOAT, TensorShape({size}), &scratch));
    AdviseHugePages(scratch);
    Align(context, shapes, reference.flat<float>().data(), moving.flat<float>().data(), scratch.flat<float>().data(),
          output->flat<float>().data());
  }

 private:
  static constexpr int64_t kMost = std::numeric_limits<int32_t>::max();  // interpolation counts pixels in int32,
  static constexpr int64_t kLongest = int64_t{1} << 24;                  // and positions in float

  void Align(OpKernelContext* context, const std::vector<PlaneShape>& shapes, const float* reference,
             const float* moving, float* scratch, float* output) const {
    const auto take = [&scratch](int64_t size) {
      float* taken = scratch;
      scratch += size;
      return taken;
    };
    std::vector<const float*> references = {reference}, movings = {moving};
    for (size_t i = 1; i < shapes.size(); ++i) {
      for (auto* pyramid : {&references, &movings}) {
        float* halved = take(shapes[i].pixels());
        const float* image = pyramid->back();
        ForRows(context, shapes[i], 0, [&](int64_t begin, int64_t end) {
          blade::HalveRows(shapes[i - 1], level(), image, begin, end, halved);
        });
        pyramid->push_back(halved);
      }
    }
    const PlaneShape& finest = shapes[0];
    float *extended = take(finest.extended().pixels()), *system = take(blade::kAlignPlanes * finest.pixels());
    float *flow = take(2 * finest.pixels()), *other = take(2 * finest.pixels());
    std::fill_n(flow, 2 * shapes.back().pixels(), 0.0f);
    for (int64_t i = levels_ - 1; i >= 0; --i) {
      const PlaneShape& shape = shapes[static_cast<size_t>(i)];
      const float *fixed = references[static_cast<size_t>(i)], *moved = movings[static_cast<size_t>(i)];
      // Reads `flow`, writes `other`, and exchanges them.
      const auto pass = [&](int64_t shared_rows, const auto& rows) {
        ForRows(context, shape, shared_rows, rows);
        std::swap(flow, other);
      };
      const auto median = [&] {
        pass(2, [&](int64_t begin, int64_t end) { blade::MedianRows(shape, level(), flow, begin, end, other); });
      };
      if (i < levels_ - 1) {
        pass(0, [&](int64_t begin, int64_t end) { blade::DoubleRows(shape, level(), flow, begin, end, other); });
      }
      ForRows(context, shape.extended(), 0,
              [&](int64_t begin, int64_t end) { blade::ExtendRows(shape, moved, begin, end, extended); });
      if (i >= unmatched_) {
        pass(parameters_.tile + 2 * parameters_.radius, [&](int64_t begin, int64_t end) {
          blade::MatchRows(shape, parameters_, level(), fixed, extended, flow, begin, end, other);
        });
        median();
      }
      for (int64_t step = 0; step < steps_[i > 0]; ++step) {
        ForRows(context, shape, 4, [&](int64_t begin, int64_t end) {
          blade::SystemRows(shape, parameters_, level(), fixed, extended, flow, begin, end, system);
        });
        pass(parameters_.sweeps, [&](int64_t begin, int64_t end) {
          blade::SolveRows(shape, parameters_, level(), system, flow, begin, end, other);
        });
        median();
      }
    }
    ForRows(context, finest, 0, [&](int64_t begin, int64_t end) {
      for (int64_t k = begin * finest.w; k < end * finest.w; ++k) {
        output[2 * k] = flow[k];
        output[2 * k + 1] = flow[finest.pixels() + k];
      }
    });
  }

  template <typename Work>
  static void ForRows(OpKernelContext* context, const PlaneShape& shape, int64_t shared_rows, const Work& work) {
    ParallelFor(context, shape.rows(), LeastRows({shape.n, shape.h, shape.w, 1}, shared_rows), work);
  }

  int64_t levels_ = 0, unmatched_ = 0;
  std::vector<int64_t> steps_;
  blade::AlignParameters parameters_;
};

REGISTER_KERNEL_BUILDER(Name("BladeAlign").Device(tensorflow::DEVICE_CPU), AlignKernel);

}  // namespace
}  // namespace blade_tf
