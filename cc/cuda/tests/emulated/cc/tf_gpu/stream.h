#ifndef BLADE_TF_GPU_STREAM_H_
#define BLADE_TF_GPU_STREAM_H_

#include <functional>

#include "tensorflow/core/framework/op_kernel.h"

// Registers the kernels for the processor, under a label of their own, to test them with the emulated interface.

namespace blade_tf {

constexpr auto& kDevice = tensorflow::DEVICE_CPU;
constexpr char kLabel[] = "emulated";

inline void* CudaStream(tensorflow::OpKernelContext*) { return nullptr; }

template <typename T>
absl::Status ReadBack(tensorflow::OpKernelContext*, const T* from, tensorflow::DataType, std::function<void(T)> then) {
  then(*from);
  return absl::OkStatus();
}

}  // namespace blade_tf

#endif  // BLADE_TF_GPU_STREAM_H_
