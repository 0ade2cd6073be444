#include "cc/cuda/filter.h"

namespace blade {
namespace {

template <typename T>
struct FilterArguments {
  BladeCudaShape shape;
  Tiles tiles;
  const T* image;
  const T* filters;
  Indices selection;
  const T* dt;
  T* output;
  int64_t* first_wrong;
  int planes;
};

// The filters and a tile with its margins in shared memory.
template <typename T, int kR, int kS>
__global__ void __launch_bounds__(kThreads, kResident) FilterTiles(const __grid_constant__ FilterArguments<T> a) {
  const int r = kR > 0 ? kR : static_cast<int>(a.shape.r), s = kS > 0 ? kS : static_cast<int>(a.shape.s);
  const int above = (r - 1) / 2, left = (s - 1) / 2, rows = kTile + r - 1, pitch = kTile + s - 1;
  const int quads = FilterQuads(r * s);
  float4* bank = blade_cuda_shared;
  float* planes = reinterpret_cast<float*>(bank + a.shape.k * quads);
  StageFilters(a.shape, a.filters, 4 * quads, reinterpret_cast<float*>(bank));
  for (int64_t index = blockIdx.x; index < a.tiles.count; index += gridDim.x) {
    const TileAt tile(a.tiles, index);
    const int row = ThreadRow(), column = ThreadColumn();
    const int count = tile.x + column < a.shape.w ? static_cast<int>(a.shape.h) - tile.y - row : 0;
    const int64_t at = (tile.image * a.shape.h + tile.y + row) * a.shape.w + tile.x + column;
    const float4* chosen[kRun];
#pragma unroll
    for (int i = 0; i < kRun; ++i) {
      const int64_t position = at + i * a.shape.w;
      chosen[i] = bank;
      if (i < count) chosen[i] += CheckedFilter(a.selection[position], position, a.shape.k, a.first_wrong) * quads;
    }
    for (int64_t c = 0; c < a.shape.c; c += a.planes) {
      const int loaded = static_cast<int>(a.shape.c - c < a.planes ? a.shape.c - c : a.planes);
      __syncthreads();
      StagePixels(a.shape, a.image, tile.image, tile.y - above, tile.x - left, rows, pitch, c, loaded, planes);
      __syncthreads();
      FilterRun<T, kR, kS>(a.shape, chosen, planes + (row + above) * pitch + column + left, rows * pitch, pitch, loaded,
                           count, a.dt, a.output + at * a.shape.c + c);
    }
  }
}

// For filters or footprints that do not fit into shared memory.
template <typename T>
__global__ void __launch_bounds__(kThreads) FilterPixels(const __grid_constant__ FilterArguments<T> a) {
  const int32_t h = static_cast<int32_t>(a.shape.h), w = static_cast<int32_t>(a.shape.w);
  const int32_t r = static_cast<int32_t>(a.shape.r), s = static_cast<int32_t>(a.shape.s);
  const int64_t pixels = a.shape.n * h * w, step = int64_t{kThreads} * gridDim.x;
  for (int64_t at = int64_t{kThreads} * blockIdx.x + threadIdx.x; at < pixels; at += step) {
    const int32_t x = static_cast<int32_t>(at % w), y = static_cast<int32_t>(at / w % h);
    const T* taps = a.filters + int64_t{CheckedFilter(a.selection[at], at, a.shape.k, a.first_wrong)} * r * s;
    for (int64_t c = 0; c < a.shape.c; ++c) {
      float sum = 0;
      for (int32_t i = 0; i < r; ++i) {
        const int64_t row = at / w - y + ClampIndex(y + i - (r - 1) / 2, h);
        for (int32_t j = 0; j < s; ++j) {
          const int32_t column = ClampIndex(x + j - (s - 1) / 2, w);
          const float pixel = Storage<T>::Load(a.image[(row * w + column) * a.shape.c + c]);
          sum = __fmaf_rn(Storage<T>::Load(taps[int64_t{i} * s + j]), pixel, sum);
        }
      }
      const int64_t value = at * a.shape.c + c;
      a.output[value] = Update(sum, Storage<T>::Load(a.image[value]), a.dt);
    }
  }
}

template <typename T>
const char* LaunchTyped(const FilterArguments<T>& from, cudaStream_t stream) {
  FilterArguments<T> a = from;
  int64_t limit = 0;
  const char* error = SharedLimit(&limit);
  if (error != nullptr) return error;
  const double taps = static_cast<double>(a.shape.r) * static_cast<double>(a.shape.s);
  const double plane = 4.0 * static_cast<double>(kTile + a.shape.r - 1) * static_cast<double>(kTile + a.shape.s - 1);
  const double bank = 4.0 * static_cast<double>(a.shape.k) * (taps + 8);
  const double room = (static_cast<double>(limit) - bank) / plane;
  a.planes = static_cast<int>(std::min({static_cast<double>(kMaxPlanes), static_cast<double>(a.shape.c), room}));
  if (a.planes < 1) {
    return Launch(FilterPixels<T>, (Pixels(a.shape) + kThreads - 1) / kThreads, kThreads, 0, stream, a);
  }
  const int64_t quads = FilterQuads(static_cast<int>(taps));
  const int64_t bytes = 16 * a.shape.k * quads + static_cast<int64_t>(plane) * a.planes;
  const auto kernel = a.shape.r == 5 && a.shape.s == 5 ? FilterTiles<T, 5, 5> : FilterTiles<T, 0, 0>;
  return Launch(kernel, a.tiles.count, kThreads, bytes, stream, a);
}

}  // namespace

const char* LaunchFilter(const BladeCudaShape& shape, const void* image, const void* filters, const void* selection,
                         const void* dt, void* output, int64_t* first_wrong, cudaStream_t stream) {
  const char* error = ResetFirstWrong(shape, first_wrong, stream);
  if (error != nullptr || shape.k == 0) return error;
  return ForType(shape.values, [&](auto type) {
    using T = decltype(type);
    const Indices indices = {selection, shape.indices == BLADE_CUDA_UINT8};
    return LaunchTyped<T>({shape, Tiles(shape), static_cast<const T*>(image), static_cast<const T*>(filters), indices,
                           static_cast<const T*>(dt), static_cast<T*>(output), first_wrong, 0},
                          stream);
  });
}

}  // namespace blade

const char* blade_cuda_filter(const BladeCudaShape* shape, const void* image, const void* filters,
                              const void* selection, void* output, int64_t* first_wrong, void* stream) {
  const char* error = blade::CheckShape(*shape, true);
  if (error != nullptr) return error;
  return blade::LaunchFilter(*shape, image, filters, selection, nullptr, output, first_wrong,
                             static_cast<cudaStream_t>(stream));
}
