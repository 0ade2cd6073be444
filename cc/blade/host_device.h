#ifndef BLADE_HOST_DEVICE_H_
#define BLADE_HOST_DEVICE_H_

// Marks what both the processor and CUDA devices run.
#ifdef __CUDACC__
#define BLADE_HOST_DEVICE __host__ __device__
#else
#define BLADE_HOST_DEVICE
#endif

#endif  // BLADE_HOST_DEVICE_H_
