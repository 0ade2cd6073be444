#include "cc/cuda/device.h"
#include "cc/cuda/launch.h"

// Each pixel of the image gathers from the pixels whose footprints hold it, in ascending rows, columns and taps.

namespace blade {
namespace {

template <typename T>
struct GradImageArguments {
  BladeCudaShape shape;
  Tiles tiles;
  const T* filters;
  Indices selection;
  const T* grad;
  T* image_grad;
  int64_t* first_wrong;
  int planes;
};

// Indices first .. last.
struct Range {
  int32_t first, last;
};

// The pixels along one axis whose footprints hold pixel `at`.
__device__ inline Range Sources(int32_t at, int32_t size, int32_t before, int32_t after) {
  return {ClampIndex(at - after, size), ClampIndex(at + before, size)};
}

// The taps of pixel `from` that fall on pixel `to`: one, and at a border all those beyond it.
__device__ inline Range Taps(int32_t from, int32_t to, int32_t size, int32_t before, int32_t after) {
  const int32_t tap = to - from + before, last = before + after;
  return {to == 0 || tap < 0 ? 0 : tap, to == size - 1 || tap > last ? last : tap};
}

// The sum for pixel (y, x). read(v, u, taps, grad) sets the filter and the gradient of pixel (v, u).
template <typename Read>
__device__ inline float Gather(const BladeCudaShape& shape, int32_t y, int32_t x, const Read& read) {
  const int32_t h = static_cast<int32_t>(shape.h), w = static_cast<int32_t>(shape.w);
  const int32_t s = static_cast<int32_t>(shape.s), above = static_cast<int32_t>((shape.r - 1) / 2);
  const int32_t below = static_cast<int32_t>(shape.r / 2), left = (s - 1) / 2, right = s / 2;
  const Range rows = Sources(y, h, above, below), columns = Sources(x, w, left, right);
  float sum = 0;
  for (int32_t v = rows.first; v <= rows.last; ++v) {
    const Range down = Taps(v, y, h, above, below);
    for (int32_t u = columns.first; u <= columns.last; ++u) {
      const Range across = Taps(u, x, w, left, right);
      for (int32_t i = down.first; i <= down.last; ++i) {
        for (int32_t j = across.first; j <= across.last; ++j) sum = read.Add(v, u, int64_t{i} * s + j, sum);
      }
    }
  }
  return sum;
}

// A tile's filters and one plane of its gradient in shared memory.
struct FromTile {
  const float* bank;
  const int* chosen;
  const float* grad;
  int32_t y, x;
  int pitch;

  __device__ float Add(int32_t v, int32_t u, int64_t tap, float sum) const {
    const int at = (v - y) * pitch + u - x;
    return __fmaf_rn(bank[chosen[at] + tap], grad[at], sum);
  }
};

template <typename T, int kR, int kS>
__global__ void __launch_bounds__(kThreads, kResident) GradImageTiles(const __grid_constant__ GradImageArguments<T> a) {
  const int r = kR > 0 ? kR : static_cast<int>(a.shape.r), s = kS > 0 ? kS : static_cast<int>(a.shape.s);
  const int below = r / 2, right = s / 2, rows = kTile + r - 1, pitch = kTile + s - 1;
  const int32_t h = static_cast<int32_t>(a.shape.h), w = static_cast<int32_t>(a.shape.w);
  // Threads read one tap at a time: an odd distance between filters spreads them over all banks.
  const int stride = r * s | 1;
  float* bank = reinterpret_cast<float*>(blade_cuda_shared);
  float* planes = bank + a.shape.k * stride;
  int* chosen = reinterpret_cast<int*>(planes + a.planes * rows * pitch);
  StageFilters(a.shape, a.filters, stride, bank);
  for (int64_t index = blockIdx.x; index < a.tiles.count; index += gridDim.x) {
    const TileAt tile(a.tiles, index);
    const int row = ThreadRow(), column = ThreadColumn();
    const int count = tile.x + column < w ? h - tile.y - row : 0;
    const int64_t at = (tile.image * h + tile.y + row) * w + tile.x + column;
    const bool inside = tile.y > below && tile.y + kTile + r < h && tile.x > right && tile.x + kTile + s < w;
    for (int64_t c = 0; c < a.shape.c; c += a.planes) {
      const int loaded = static_cast<int>(a.shape.c - c < a.planes ? a.shape.c - c : a.planes);
      __syncthreads();
      for (int i = static_cast<int>(threadIdx.x); c == 0 && i < rows * pitch; i += kThreads) {
        const int32_t v = tile.y - below + i / pitch, u = tile.x - right + i % pitch;
        if (v < 0 || v >= h || u < 0 || u >= w) continue;
        const int64_t source = (tile.image * h + v) * w + u;
        chosen[i] = CheckedFilter(a.selection[source], source, a.shape.k, a.first_wrong) * stride;
      }
      StagePixels(a.shape, a.grad, tile.image, tile.y - below, tile.x - right, rows, pitch, c, loaded, planes);
      __syncthreads();
      for (int p = 0; p < loaded; ++p) {
        const float* plane = planes + p * rows * pitch;
        float sum[kRun] = {};
        if (kR > 0 && inside) {
          // Every pixel around has one tap on this one.
#pragma unroll
          for (int i = 0; i < kRun; ++i) {
            const int corner = (row + i) * pitch + column;
#pragma unroll
            for (int t = 0; t < kR * kS; ++t) {
              const int from = corner + t / (kS + !kS) * pitch + t % (kS + !kS);
              sum[i] = __fmaf_rn(bank[chosen[from] + kR * kS - 1 - t], plane[from], sum[i]);
            }
          }
        } else {
          const FromTile tile_read = {bank, chosen, plane, tile.y - below, tile.x - right, pitch};
          for (int i = 0; i < kRun && i < count; ++i) {
            sum[i] = Gather(a.shape, tile.y + row + i, tile.x + column, tile_read);
          }
        }
#pragma unroll
        for (int i = 0; i < kRun; ++i) {
          if (i < count) a.image_grad[(at + i * a.shape.w) * a.shape.c + c + p] = Storage<T>::Store(sum[i]);
        }
      }
    }
  }
}

// One image of the gradient in device memory, at one channel.
template <typename T>
struct FromMemory {
  const GradImageArguments<T>& a;
  int64_t image, channel;

  __device__ float Add(int32_t v, int32_t u, int64_t tap, float sum) const {
    const int64_t at = (image * a.shape.h + v) * a.shape.w + u;
    const int64_t filter = CheckedFilter(a.selection[at], at, a.shape.k, a.first_wrong);
    return __fmaf_rn(Storage<T>::Load(a.filters[filter * a.shape.r * a.shape.s + tap]),
                     Storage<T>::Load(a.grad[at * a.shape.c + channel]), sum);
  }
};

// For filters or footprints that do not fit into shared memory.
template <typename T>
__global__ void __launch_bounds__(kThreads) GradImagePixels(const __grid_constant__ GradImageArguments<T> a) {
  const int64_t pixels = a.shape.n * a.shape.h * a.shape.w, step = int64_t{kThreads} * gridDim.x;
  for (int64_t at = int64_t{kThreads} * blockIdx.x + threadIdx.x; at < pixels; at += step) {
    const int32_t x = static_cast<int32_t>(at % a.shape.w), y = static_cast<int32_t>(at / a.shape.w % a.shape.h);
    CheckedFilter(a.selection[at], at, a.shape.k, a.first_wrong);
    for (int64_t c = 0; c < a.shape.c; ++c) {
      const FromMemory<T> read = {a, at / (a.shape.h * a.shape.w), c};
      a.image_grad[at * a.shape.c + c] = Storage<T>::Store(Gather(a.shape, y, x, read));
    }
  }
}

template <typename T>
const char* LaunchTyped(const GradImageArguments<T>& from, cudaStream_t stream) {
  GradImageArguments<T> a = from;
  int64_t limit = 0;
  const char* error = SharedLimit(&limit);
  if (error != nullptr) return error;
  const double taps = static_cast<double>(a.shape.r) * static_cast<double>(a.shape.s);
  const double plane = 4.0 * static_cast<double>(kTile + a.shape.r - 1) * static_cast<double>(kTile + a.shape.s - 1);
  // One plane more is for the filters' places.
  const double room = (static_cast<double>(limit) - 4.0 * static_cast<double>(a.shape.k) * (taps + 1)) / plane - 1;
  a.planes = static_cast<int>(std::min({static_cast<double>(kMaxPlanes), static_cast<double>(a.shape.c), room}));
  if (a.planes < 1) {
    return Launch(GradImagePixels<T>, (Pixels(a.shape) + kThreads - 1) / kThreads, kThreads, 0, stream, a);
  }
  const int64_t stride = static_cast<int64_t>(taps) | 1;
  const int64_t bytes = 4 * a.shape.k * stride + static_cast<int64_t>(plane) * (a.planes + 1);
  const auto kernel = a.shape.r == 5 && a.shape.s == 5 ? GradImageTiles<T, 5, 5> : GradImageTiles<T, 0, 0>;
  return Launch(kernel, a.tiles.count, kThreads, bytes, stream, a);
}

}  // namespace
}  // namespace blade

const char* blade_cuda_grad_image(const BladeCudaShape* shape, const void* filters, const void* selection,
                                  const void* grad, void* image_grad, int64_t* first_wrong, void* stream) {
  const char* error = blade::CheckShape(*shape, true);
  const cudaStream_t on = static_cast<cudaStream_t>(stream);
  if (error == nullptr) error = blade::ResetFirstWrong(*shape, first_wrong, on);
  if (error != nullptr || shape->k == 0) return error;
  return blade::ForType(shape->values, [&](auto type) {
    using T = decltype(type);
    const blade::Indices indices = {selection, shape->indices == BLADE_CUDA_UINT8};
    return blade::LaunchTyped<T>({*shape, blade::Tiles(*shape), static_cast<const T*>(filters), indices,
                                  static_cast<const T*>(grad), static_cast<T*>(image_grad), first_wrong, 0},
                                 on);
  });
}
