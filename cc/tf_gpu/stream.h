#ifndef BLADE_TF_GPU_STREAM_H_
#define BLADE_TF_GPU_STREAM_H_

#include <functional>
#include <utility>

#include "tensorflow/core/framework/device.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/platform/stream_executor.h"

// What the kernels ask of TensorFlow's GPU devices. The tests have another file of this name, for the processor.

namespace blade_tf {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

constexpr auto& kDevice = tensorflow::DEVICE_GPU;
constexpr char kLabel[] = "";

inline tensorflow::se::Stream* StreamOf(OpKernelContext* context) { return context->op_device_context()->stream(); }
inline void* CudaStream(OpKernelContext* context) { return StreamOf(context)->platform_specific_handle().stream; }

// Copies `count` values to pinned memory, and calls `then` with them when that is done.
template <typename T>
absl::Status ReadBack(OpKernelContext* context, const T* from, tensorflow::DataType type, std::function<void(T)> then) {
  tensorflow::AllocatorAttributes pinned;
  pinned.set_on_host(true);
  pinned.set_gpu_compatible(true);
  Tensor host;
  TF_RETURN_IF_ERROR(context->allocate_temp(type, TensorShape({}), &host, pinned));
  const stream_executor::DeviceAddressBase device(const_cast<T*>(from), sizeof(T));
  TF_RETURN_IF_ERROR(StreamOf(context)->Memcpy(host.data(), device, sizeof(T)));
  return context->op_device_context()->ThenExecute(
      static_cast<tensorflow::Device*>(context->device()), StreamOf(context),
      [host, then = std::move(then)] { then(*static_cast<const T*>(host.data())); });
}

}  // namespace blade_tf

#endif  // BLADE_TF_GPU_STREAM_H_
