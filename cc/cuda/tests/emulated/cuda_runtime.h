#ifndef BLADE_CUDA_TESTS_EMULATED_CUDA_RUNTIME_H_
#define BLADE_CUDA_TESTS_EMULATED_CUDA_RUNTIME_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>

// Stands in for CUDA's header of this name where the kernels are compiled for the processor, to be tested without a
// device: as much of it as the kernels use. Blocks run one after the other, the threads of a block in turns, each from
// one barrier to the next.

#define __global__
#define __device__
#define __host__
#define __grid_constant__
#define __launch_bounds__(...)
// One block runs at a time, all of it in one thread, whose memory can be the block's.
#define __shared__ thread_local

struct alignas(16) float4 {
  float x, y, z, w;
};

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned size = 1) : x(size), y(1), z(1) {}
};

using cudaStream_t = struct CUstream_st*;
enum cudaError_t { cudaSuccess, cudaErrorInvalidConfiguration };
enum cudaDeviceAttr { cudaDevAttrMaxSharedMemoryPerBlockOptin, cudaDevAttrMultiProcessorCount };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
  void* attrs;
  unsigned numAttrs;
};

namespace emulated {

// In which order the threads of a block run between two barriers, and the blocks. No result may depend on it.
enum class Order { kAscending, kDescending, kShuffled };

struct Device {
  Order order = Order::kAscending;
  int processors = 2;
  int shared_bytes = 227 << 10;
  int64_t launches = 0;
};
extern Device device;

// Runs a grid of one dimension; fails where some threads wait at a barrier that others do not reach.
cudaError_t Run(unsigned blocks, unsigned threads, size_t shared_bytes, const std::function<void()>& kernel);
void Barrier();

}  // namespace emulated

extern dim3 threadIdx, blockIdx, blockDim, gridDim;

inline void __syncthreads() { emulated::Barrier(); }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline unsigned long long atomicMin(unsigned long long* to, unsigned long long value) {
  unsigned long long found = __atomic_load_n(to, __ATOMIC_RELAXED);
  while (value < found && !__atomic_compare_exchange_n(to, &found, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return found;
}

inline const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaSuccess ? "no error" : "invalid configuration argument";
}
inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = attribute == cudaDevAttrMultiProcessorCount ? emulated::device.processors : emulated::device.shared_bytes;
  return cudaSuccess;
}
inline cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int bytes) {
  return bytes <= emulated::device.shared_bytes ? cudaSuccess : cudaErrorInvalidConfiguration;
}
inline cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int, size_t) {
  *blocks = 1;
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
  std::memset(to, value, bytes);
  return cudaSuccess;
}

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  const std::tuple<Parameters...> copies(arguments...);
  return emulated::Run(config->gridDim.x, config->blockDim.x, config->dynamicSmemBytes,
                       [&] { std::apply(kernel, copies); });
}

#endif  // BLADE_CUDA_TESTS_EMULATED_CUDA_RUNTIME_H_
