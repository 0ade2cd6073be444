#ifndef BLADE_CUDA_DEVICE_H_
#define BLADE_CUDA_DEVICE_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "cc/blade/arithmetic.h"
#include "cc/blade/half.h"
#include "cc/cuda/blade_cuda.h"

// What the kernels share. A block computes tiles of kTile x kTile pixels, one after the other, a thread a run of kRun
// pixels in one column of each.

// Memory of a block, divided by the kernels; its size is the launch's.
extern __shared__ float4 blade_cuda_shared[];

namespace blade {

constexpr int kTile = 32;
constexpr int kRun = 4;
constexpr int kThreads = kTile * kTile / kRun;
// Blocks that a processor should hold at a time: with fewer, loading one tile would not hide behind computing another.
// Without it the compiler takes so many registers that one block is left.
constexpr int kResident = 3;
// Channels of a tile that are in shared memory at a time.
constexpr int kMaxPlanes = 4;

struct Indices {
  const void* data;
  bool bytes;

  __device__ int64_t operator[](int64_t i) const {
    return bytes ? static_cast<const uint8_t*>(data)[i] : static_cast<const int32_t*>(data)[i];
  }
};

struct IndicesOut {
  void* data;
  bool bytes;

  __device__ void Store(int64_t i, int32_t value) const {
    if (bytes) {
      static_cast<uint8_t*>(data)[i] = static_cast<uint8_t>(value);
    } else {
      static_cast<int32_t*>(data)[i] = value;
    }
  }
};

// The filter that the pixel at `position` selects, or filter 0 if there is no such one.
__device__ inline int32_t CheckedFilter(int64_t filter, int64_t position, int64_t k, int64_t* first_wrong) {
  if (filter >= 0 && filter < k) return static_cast<int32_t>(filter);
  // As unsigned numbers, no position is greater than the -1 that stands for none.
  if (first_wrong != nullptr) {
    atomicMin(reinterpret_cast<unsigned long long*>(first_wrong), static_cast<unsigned long long>(position));
  }
  return 0;
}

struct Tiles {
  int64_t across, down, count;

  explicit Tiles(const BladeCudaShape& shape)
      : across((shape.w + kTile - 1) / kTile), down((shape.h + kTile - 1) / kTile), count(shape.n * down * across) {}
};

// The tile number `index`: its image and its first row and column.
struct TileAt {
  int64_t image;
  int32_t y, x;

  __device__ TileAt(const Tiles& tiles, int64_t index) {
    const int64_t row = index / tiles.across;
    image = row / tiles.down;
    y = static_cast<int32_t>(row % tiles.down) * kTile;
    x = static_cast<int32_t>(index % tiles.across) * kTile;
  }
};

__device__ inline int ThreadColumn() { return static_cast<int>(threadIdx.x) % kTile; }
__device__ inline int ThreadRow() { return static_cast<int>(threadIdx.x) / kTile * kRun; }

// planes[p][i][j] = image[n, Y, X, first + p], Y = y + i and X = x + j clamped to the image.
template <typename T>
__device__ inline void StagePixels(const BladeCudaShape& shape, const T* image, int64_t n, int32_t y, int32_t x,
                                   int rows, int columns, int64_t first, int count, float* planes) {
  const int32_t h = static_cast<int32_t>(shape.h), w = static_cast<int32_t>(shape.w);
  for (int i = static_cast<int>(threadIdx.x); i < rows * columns; i += kThreads) {
    const int64_t row = n * h + ClampIndex(y + i / columns, h);
    const T* from = image + (row * w + ClampIndex(x + i % columns, w)) * shape.c + first;
    for (int p = 0; p < count; ++p) planes[p * rows * columns + i] = Storage<T>::Load(from[p]);
  }
}

// bank[k * stride + t] = filters[k, t]
template <typename T>
__device__ inline void StageFilters(const BladeCudaShape& shape, const T* filters, int stride, float* bank) {
  const int taps = static_cast<int>(shape.r * shape.s), size = static_cast<int>(shape.k) * taps;
  for (int i = static_cast<int>(threadIdx.x); i < size; i += kThreads) {
    bank[i / taps * stride + i % taps] = Storage<T>::Load(filters[i]);
  }
}

// Threads read filters of their own choice, four taps at a time. Eight threads at a time have all 32 banks to
// themselves; their filters meet in none unless they differ by a multiple of eight, since filters are an odd number of
// fours apart.
BLADE_HOST_DEVICE constexpr int FilterQuads(int taps) { return ((taps + 3) / 4) | 1; }

// The sum over a footprint of taps times pixels, whose rows are `pitch` apart. With kR and kS the footprint known to
// the compiler, or 0.
template <int kR, int kS>
__device__ inline float Correlate(const float4* filter, const float* pixels, int pitch, int r, int s) {
  float sum = 0;
  if constexpr (kR > 0) {
    constexpr int kQuads = (kR * kS + 3) / 4;
    float4 quads[kQuads];
#pragma unroll
    for (int i = 0; i < kQuads; ++i) quads[i] = filter[i];
#pragma unroll
    for (int t = 0; t < kR * kS; ++t) {
      const float4 q = quads[t / 4];
      const float tap = t % 4 == 0 ? q.x : t % 4 == 1 ? q.y : t % 4 == 2 ? q.z : q.w;
      sum = __fmaf_rn(tap, pixels[t / kS * pitch + t % kS], sum);
    }
  } else {
    const float* tap = reinterpret_cast<const float*>(filter);
    for (int i = 0; i < r; ++i) {
      for (int j = 0; j < s; ++j) sum = __fmaf_rn(*tap++, pixels[i * pitch + j], sum);
    }
  }
  return sum;
}

// The filter's sum, or pixel + dt sum, every operation rounded to T.
template <typename T>
__device__ inline T Update(float sum, float pixel, const T* dt) {
  const T filtered = Storage<T>::Store(sum);
  if (dt == nullptr) return filtered;
  const T product = Storage<T>::Store(Product(Storage<T>::Load(*dt), Storage<T>::Load(filtered)));
  return Storage<T>::Store(pixel + Storage<T>::Load(product));
}

// Filters the first `count` pixels of a run with their `chosen` filters, in `loaded` channels. Its first pixel is at
// `center` in the first plane, and its first result at `output`.
template <typename T, int kR, int kS>
__device__ inline void FilterRun(const BladeCudaShape& shape, const float4* const (&chosen)[kRun], const float* center,
                                 int plane, int pitch, int loaded, int count, const T* dt, T* output) {
  const int r = kR > 0 ? kR : static_cast<int>(shape.r), s = kS > 0 ? kS : static_cast<int>(shape.s);
  for (int p = 0; p < loaded; ++p, center += plane) {
    const float* corner = center - (r - 1) / 2 * pitch - (s - 1) / 2;
    float sum[kRun];
#pragma unroll
    for (int i = 0; i < kRun; ++i) {
      // Keeps the compiler from loading the pixels and taps of all of them at once, more than there are registers for.
      if (i % 2 == 0) asm volatile("" ::: "memory");
      sum[i] = Correlate<kR, kS>(chosen[i], corner + i * pitch, pitch, r, s);
    }
#pragma unroll
    for (int i = 0; i < kRun; ++i) {
      if (i < count) output[i * shape.w * shape.c + p] = Update(sum[i], center[i * pitch], dt);
    }
  }
}

}  // namespace blade

#endif  // BLADE_CUDA_DEVICE_H_
