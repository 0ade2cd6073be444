#ifndef BLADE_CUDA_LAUNCH_H_
#define BLADE_CUDA_LAUNCH_H_

#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "cc/blade/half.h"
#include "cc/cuda/blade_cuda.h"

// Checks, launches and dispatch on the host.

namespace blade {

constexpr int64_t kMaxSize = int64_t{1} << 30;

inline const char* Text(cudaError_t error) { return error == cudaSuccess ? nullptr : cudaGetErrorString(error); }

inline const char* CheckShape(const BladeCudaShape& s, bool filters) {
  for (int64_t size : {s.n, s.h, s.w, s.c}) {
    if (size < 0 || size > kMaxSize) return "image: expected sizes in [0, 2^30]";
  }
  if (filters && s.k < 0) return "filters: expected a number of filters of at least 0";
  for (int64_t size : {s.r, s.s}) {
    if (filters && (size < 1 || size > kMaxSize)) return "filters: expected a footprint of sizes in [1, 2^30]";
  }
  if (s.values < BLADE_CUDA_FLOAT32 || s.values > BLADE_CUDA_BFLOAT16) return "values: expected a BLADE_CUDA type";
  if (s.indices < BLADE_CUDA_INT32 || s.indices > BLADE_CUDA_UINT8) return "indices: expected a BLADE_CUDA type";
  return nullptr;
}

inline int64_t Pixels(const BladeCudaShape& s) { return s.n * s.h * s.w; }

// Sets `first_wrong` before a pass over the pixels: to -1, or to 0 where there are pixels and no filters.
inline const char* ResetFirstWrong(const BladeCudaShape& s, int64_t* first_wrong, cudaStream_t stream) {
  if (first_wrong == nullptr) return nullptr;
  return Text(cudaMemsetAsync(first_wrong, s.k == 0 && Pixels(s) > 0 ? 0 : 0xff, sizeof(*first_wrong), stream));
}

inline const char* Attribute(cudaDeviceAttr attribute, int* value) {
  int device = 0;
  const cudaError_t error = cudaGetDevice(&device);
  return Text(error != cudaSuccess ? error : cudaDeviceGetAttribute(value, attribute, device));
}

// Bytes of shared memory that a block may have.
inline const char* SharedLimit(int64_t* limit) {
  int bytes = 0;
  const char* error = Attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, &bytes);
  *limit = bytes;
  return error;
}

// Launches so many blocks of kernels whose threads and blocks have one dimension.
template <typename... Parameters, typename... Arguments>
const char* LaunchBlocks(void (*kernel)(Parameters...), int64_t blocks, int threads, int64_t shared_bytes,
                         cudaStream_t stream, Arguments... arguments) {
  // More than 48 KiB must be asked for; some of them may be the kernel's own.
  constexpr int64_t kWithoutAsking = 32 << 10;
  if (shared_bytes > kWithoutAsking) {
    const char* error =
        Text(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(shared_bytes)));
    if (error != nullptr) return error;
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = static_cast<size_t>(shared_bytes);
  config.stream = stream;
  return Text(cudaLaunchKernelEx(&config, kernel, arguments...));
}

// Launches as many blocks as the device holds at a time, or `most` if they are fewer.
template <typename... Parameters, typename... Arguments>
const char* Launch(void (*kernel)(Parameters...), int64_t most, int threads, int64_t shared_bytes, cudaStream_t stream,
                   Arguments... arguments) {
  if (most == 0) return nullptr;
  int processors = 0, resident = 0;
  const char* error = Attribute(cudaDevAttrMultiProcessorCount, &processors);
  if (error != nullptr) return error;
  error = Text(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, reinterpret_cast<const void*>(kernel), threads,
                                                             static_cast<size_t>(shared_bytes)));
  if (error != nullptr) return error;
  const int64_t blocks = std::min<int64_t>(most, int64_t{processors} * std::max(resident, 1));
  return LaunchBlocks(kernel, blocks, threads, shared_bytes, stream, arguments...);
}

// Calls work(T()) for the type of the values.
template <typename Work>
const char* ForType(int32_t values, const Work& work) {
  if (values == BLADE_CUDA_FLOAT16) return work(Half());
  if (values == BLADE_CUDA_BFLOAT16) return work(BFloat16());
  return work(float());
}

}  // namespace blade

#endif  // BLADE_CUDA_LAUNCH_H_
