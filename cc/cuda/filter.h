#ifndef BLADE_CUDA_FILTER_H_
#define BLADE_CUDA_FILTER_H_

#include "cc/cuda/device.h"
#include "cc/cuda/launch.h"

namespace blade {

// blade_cuda_filter for a checked shape; output = image + dt filter where dt is not null.
const char* LaunchFilter(const BladeCudaShape& shape, const void* image, const void* filters, const void* selection,
                         const void* dt, void* output, int64_t* first_wrong, cudaStream_t stream);

}  // namespace blade

#endif  // BLADE_CUDA_FILTER_H_
