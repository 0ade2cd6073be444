#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/compiler/tf2xla/shape_util.h"
#include "tensorflow/compiler/tf2xla/xla_op_kernel.h"
#include "tensorflow/compiler/tf2xla/xla_op_registry.h"
#include "tensorflow/core/framework/kernel_def.pb.h"
#include "tensorflow/core/framework/kernel_def_builder.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/public/version.h"
#include "xla/ffi/api/ffi.h"
#include "xla/hlo/builder/xla_builder.h"
#include "xla/layout_util.h"
#include "xla/shape_util.h"

// The operations in programs that XLA compiles for the CPU: a library of its own, which needs that of the operations.
//
// XLA has nothing to gain from seeing inside of them. Each becomes a custom call, which runs the kernel that TensorFlow
// runs without XLA, on XLA's buffers: arithmetic, checks, errors and threads are those of cc/tf, bit for bit.

namespace xla::ffi {
const XLA_FFI_Api* GetXlaFfiApi();  // xla/ffi/ffi_api.h does not go together with api/ffi.h
}

namespace blade_tf {
namespace {

namespace ffi = ::xla::ffi;
using tensorflow::Allocator;
using tensorflow::AllocatorAttributes;
using tensorflow::OpKernel;
using tensorflow::OpKernelContext;
using tensorflow::PartialTensorShape;
using tensorflow::Tensor;
using tensorflow::TensorShape;

constexpr char kTarget[] = "blade_tf_kernel";

ffi::Error ToError(const absl::Status& status) {
  return status.ok() ? ffi::Error::Success()
                     : ffi::Error(static_cast<ffi::ErrorCode>(status.code()), std::string(status.message()));
}

// The kernel of a custom call: made once for each call in a compiled program, run by any thread.
struct Kernel {
  static ffi::TypeId id;
  std::unique_ptr<OpKernel> op;
};
ffi::TypeId Kernel::id = {};

// A buffer of XLA as that of a tensor.
class Borrowed : public tensorflow::TensorBuffer {
 public:
  explicit Borrowed(const ffi::AnyBuffer& buffer) : TensorBuffer(buffer.untyped_data()), size_(buffer.size_bytes()) {}
  size_t size() const override { return size_; }
  TensorBuffer* root_buffer() override { return this; }
  bool OwnsMemory() const override { return false; }
  void FillAllocationDescription(tensorflow::AllocationDescription* description) const override {
    description->set_requested_bytes(static_cast<int64_t>(size_));
  }

 private:
  size_t size_;
};

// Gives a kernel the buffer of XLA that is to hold its output.
class ResultAllocator : public Allocator {
 public:
  explicit ResultAllocator(const ffi::AnyBuffer& buffer) : data_(buffer.untyped_data()), size_(buffer.size_bytes()) {}
  void* data() const { return data_; }
  std::string Name() override { return "blade_tf_xla_result"; }
  void* AllocateRaw(size_t, size_t bytes) override { return bytes <= size_ ? data_ : nullptr; }
  void DeallocateRaw(void*) override {}

 private:
  void* data_;
  size_t size_;
};

// What a kernel needs of a device: threads, memory for scratch, and its outputs' buffers, which the bits of the
// attributes that are a device's own choose.
class Device : public tensorflow::DeviceBase {
 public:
  Device(CpuWorkerThreads* workers, std::vector<ResultAllocator>* results)
      : DeviceBase(tensorflow::Env::Default()), results_(results) {
    set_tensorflow_cpu_worker_threads(workers);
  }
  static AllocatorAttributes OfResult(size_t index) {
    AllocatorAttributes attributes;
    attributes.value = static_cast<uint32_t>(index + 1) << kShift;
    return attributes;
  }
  Allocator* GetAllocator(AllocatorAttributes attributes) override {
    const uint32_t result = attributes.value >> kShift;
    return result == 0 ? tensorflow::cpu_allocator() : &results_->at(result - 1);
  }

 private:
  static constexpr int kShift = 24;
  std::vector<ResultAllocator>* results_;
};

// As many threads as XLA has, but not XLA's: it runs independent calls at the same time on those, and they would wait
// for each other's blocks.
Device::CpuWorkerThreads* Workers(const ffi::ThreadPool& xla) {
  static Device::CpuWorkerThreads* const workers = [&] {
    const int threads = static_cast<int>(std::max<int64_t>(xla.num_threads(), 1));
    return new Device::CpuWorkerThreads{
        threads, new tsl::thread::ThreadPool(tsl::Env::Default(), tsl::ThreadOptions(), "blade_tf_xla", threads,
                                             /*low_latency_hint=*/false)};
  }();
  return workers;
}

ffi::ErrorOr<std::unique_ptr<Kernel>> Instantiate(std::string_view node) {
  tensorflow::NodeDef def;
  std::string bytes;
  if (!absl::HexStringToBytes(node, &bytes) || !def.ParseFromString(bytes)) {
    return ffi::Unexpected(ffi::Error::Internal(absl::StrCat(kTarget, ": cannot read its node")));
  }
  absl::Status status;
  auto kernel = std::make_unique<Kernel>();
  kernel->op = tensorflow::CreateOpKernel(tensorflow::DeviceType(tensorflow::DEVICE_CPU), /*device=*/nullptr,
                                          tensorflow::cpu_allocator(), def, TF_GRAPH_DEF_VERSION, &status);
  if (!status.ok()) return ffi::Unexpected(ToError(status));
  return kernel;
}

ffi::Error Execute(ffi::RemainingArgs arguments, ffi::RemainingRets results, Kernel* kernel, ffi::ThreadPool threads) {
  std::vector<Tensor> tensors;
  tensors.reserve(arguments.size());
  for (size_t i = 0; i < arguments.size(); ++i) {
    const auto buffer = arguments.get<ffi::AnyBuffer>(i);
    if (!buffer.has_value()) return buffer.error();
    TensorShape shape;
    for (const int64_t size : buffer->dimensions()) shape.AddDim(size);
    const tensorflow::core::RefCountPtr<Borrowed> borrowed(new Borrowed(*buffer));
    tensors.emplace_back(kernel->op->input_type(static_cast<int>(i)), shape, borrowed.get());
    if (!tensors.back().IsAligned()) return ffi::Error::Internal(absl::StrCat(kTarget, ": an unaligned argument"));
  }
  std::vector<tensorflow::TensorValue> inputs;
  for (Tensor& tensor : tensors) inputs.emplace_back(&tensor);
  std::vector<ResultAllocator> allocators;
  std::vector<AllocatorAttributes> attributes;
  for (size_t i = 0; i < results.size(); ++i) {
    auto buffer = results.get<ffi::AnyBuffer>(i);
    if (!buffer.has_value()) return buffer.error();
    allocators.emplace_back(**buffer);
    attributes.push_back(Device::OfResult(i));
  }

  Device device(Workers(threads), &allocators);
  OpKernelContext::Params params;
  params.op_kernel = kernel->op.get();
  params.device = &device;
  params.inputs = inputs;
  params.output_attr_array = attributes.data();
  OpKernelContext context(&params);
  kernel->op->Compute(&context);
  for (int i = 0; context.status().ok() && i < context.num_outputs(); ++i) {
    const Tensor* output = context.mutable_output(i);
    if (output != nullptr && (output->data() == allocators[i].data() || output->NumElements() == 0)) continue;
    return ffi::Error::Internal(absl::StrCat(kTarget, ": ", kernel->op->type_string(), " did not allocate an output"));
  }
  return ToError(context.status());
}

XLA_FFI_DEFINE_HANDLER(kInstantiate, Instantiate,
                       ffi::Ffi::Bind<ffi::ExecutionStage::kInstantiate>().Attr<std::string_view>("node"));
XLA_FFI_DEFINE_HANDLER(
    kExecute, Execute,
    ffi::Ffi::Bind().RemainingArgs().RemainingRets().Ctx<ffi::State<Kernel>>().Ctx<ffi::ThreadPool>());
XLA_FFI_REGISTER_TYPE(ffi::GetXlaFfiApi(), kTarget, &Kernel::id, ffi::MakeTypeInfo<Kernel>());
XLA_FFI_REGISTER_HANDLER(ffi::GetXlaFfiApi(), kTarget, "Host",
                         (XLA_FFI_Handler_Bundle{kInstantiate, nullptr, nullptr, kExecute}));

// Of the outputs, by the shape function of the operation.
absl::Status OutputShapes(const tensorflow::XlaOpKernel& op, tensorflow::XlaOpKernelContext* context,
                          const std::vector<xla::Shape>& inputs, std::vector<xla::Shape>* outputs) {
  const tensorflow::OpRegistrationData* registered = nullptr;
  TF_RETURN_IF_ERROR(tensorflow::OpRegistry::Global()->LookUp(op.type_string(), &registered));
  std::vector<PartialTensorShape> shapes;
  for (const xla::Shape& input : inputs) shapes.emplace_back(input.dimensions());
  std::vector<int> known;
  TF_RETURN_IF_ERROR(tensorflow::XlaOpRegistry::CompileTimeConstantInputs(op, &known));
  std::vector<Tensor> values(inputs.size());
  std::vector<const Tensor*> tensors(inputs.size());
  for (const int i : known) {
    TF_ASSIGN_OR_RETURN(values[i], context->ConstantInputTensor(i));
    tensors[i] = &values[i];
  }
  tensorflow::shape_inference::InferenceContext inference(TF_GRAPH_DEF_VERSION, tensorflow::AttrSlice(op.def()),
                                                          registered->op_def, shapes, tensors, {}, {});
  TF_RETURN_IF_ERROR(inference.construction_status());
  TF_RETURN_IF_ERROR(inference.Run(registered->shape_inference_fn));
  for (int i = 0; i < inference.num_outputs(); ++i) {
    tensorflow::TensorShapeProto proto;
    inference.ShapeHandleToProto(inference.output(i), &proto);
    TF_ASSIGN_OR_RETURN(const TensorShape sizes, TensorShape::BuildTensorShape(proto));
    TF_ASSIGN_OR_RETURN(xla::Shape shape, tensorflow::TensorShapeToXLAShape(op.output_type(i), sizes));
    xla::LayoutUtil::SetToDefaultLayout(&shape);
    outputs->push_back(std::move(shape));
  }
  return absl::OkStatus();
}

class XlaKernel : public tensorflow::XlaOpKernel {
 public:
  explicit XlaKernel(tensorflow::OpKernelConstruction* context)
      : XlaOpKernel(context),
        opaque_(absl::StrCat("{node = \"", absl::BytesToHexString(def().SerializeAsString()), "\"}")) {}

  void Compile(tensorflow::XlaOpKernelContext* context) override {
    std::vector<xla::XlaOp> inputs;
    std::vector<xla::Shape> input_shapes, output_shapes;
    for (int i = 0; i < context->num_inputs(); ++i) {
      const auto shape = context->InputXlaShape(i);
      OP_REQUIRES_OK(context, shape.status());
      OP_REQUIRES(context, shape->is_static(),
                  absl::UnimplementedError(absl::StrCat(type_string(), ": expected shapes known to XLA, got ",
                                                        xla::ShapeUtil::HumanString(*shape))));
      inputs.push_back(context->Input(i));
      input_shapes.push_back(*shape);
      xla::LayoutUtil::SetToDefaultLayout(&input_shapes.back());
    }
    OP_REQUIRES_OK(context, OutputShapes(*this, context, input_shapes, &output_shapes));
    // Always a tuple: how FFI sees a single result is the same.
    const xla::XlaOp call = xla::CustomCallWithLayout(
        context->builder(), kTarget, inputs, xla::ShapeUtil::MakeTupleShape(output_shapes), input_shapes, opaque_,
        /*has_side_effect=*/false, /*output_operand_aliasing=*/{}, /*literal=*/nullptr,
        xla::CustomCallSchedule::SCHEDULE_NONE, xla::CustomCallApiVersion::API_VERSION_TYPED_FFI);
    for (int i = 0; i < num_outputs(); ++i) context->SetOutput(i, xla::GetTupleElement(call, i));
  }

 private:
  const std::string opaque_;
};

// TensorFlow makes kernels of what is registered with XLA once, when it first compiles something. A program may have
// done so before it loads this library.
bool XlaHasItsKernels() {
  const tensorflow::KernelList kernels = tensorflow::GetRegisteredKernelsForOp("AddV2");
  return std::any_of(kernels.kernel().begin(), kernels.kernel().end(), [](const tensorflow::KernelDef& kernel) {
    return kernel.device_type() == tensorflow::DEVICE_CPU_XLA_JIT;
  });
}

// All operations of this package, with inputs named *_shape known when XLA compiles: outputs' shapes depend on them.
[[maybe_unused]] const bool kRegistered = [] {
  const auto make = [](tensorflow::OpKernelConstruction* context) -> OpKernel* { return new XlaKernel(context); };
  const bool late = XlaHasItsKernels();
  tensorflow::OpList operations;
  tensorflow::OpRegistry::Global()->Export(/*include_internal=*/false, &operations);
  for (const tensorflow::OpDef& operation : operations.op()) {
    if (!absl::StartsWith(operation.name(), "Blade")) continue;
    auto builder = tensorflow::XlaOpRegistrationBuilder::Name(operation.name());
    builder.Device(tensorflow::DEVICE_CPU_XLA_JIT);
    for (const tensorflow::OpDef::ArgDef& input : operation.input_arg()) {
      if (absl::EndsWith(input.name(), "_shape")) builder.CompileTimeConstantInput(input.name());
    }
    tensorflow::XlaOpRegistrar{builder.Build(make)};
    if (!late) continue;
    tensorflow::kernel_factory::OpKernelRegistrar{
        tensorflow::KernelDefBuilder(operation.name().c_str()).Device(tensorflow::DEVICE_CPU_XLA_JIT).Build(),
        "XlaKernel", make};
  }
  return true;
}();

}  // namespace
}  // namespace blade_tf
