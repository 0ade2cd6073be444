#include "cc/cuda/device.h"
#include "cc/cuda/launch.h"

// A block sums the products of its tiles into a table of its own; a second kernel adds up the blocks' tables. To sum
// without atomics and in a fixed order, a block sorts the pixels of a tile by filter. Each warp takes an equal part of
// the sorted pixels, so that it does not matter how many select which filter, and each of its lanes one tap. A warp
// adds the filters that begin in its part to the table. Where the first one began in an earlier warp's, its sum goes to
// `heads`, and one warp adds these up in order.

namespace blade {
namespace {

constexpr int kLanes = 32;
constexpr int kWarps = kThreads / kLanes;
constexpr int kPixels = kTile * kTile;
constexpr int kPart = kPixels / kWarps;
// Blocks depend on the shape alone, or the order of the sums would depend on the device.
constexpr int64_t kMaxBlocks = 256;
constexpr int kSlices = 8;

template <typename T>
struct GradFiltersArguments {
  BladeCudaShape shape;
  Tiles tiles;
  const T* image;
  Indices selection;
  const T* grad;
  double* tables;  // [blocks, k, taps]
  T* filters_grad;
  int64_t* first_wrong;
  int64_t blocks;
  int planes;
  bool shared_table;
};

// A pixel to sort: its filter, then its place in the tile, which makes all different. Those without a filter are last.
template <typename Key>
constexpr Key kNoFilter = static_cast<Key>(~Key{0});

// Bitonic.
template <typename Key>
__device__ void Sort(Key* keys) {
  for (int size = 2; size <= kPixels; size *= 2) {
    for (int distance = size / 2; distance > 0; distance /= 2) {
      __syncthreads();
      for (int i = static_cast<int>(threadIdx.x); i < kPixels / 2; i += kThreads) {
        const int low = 2 * i - (i & (distance - 1)), high = low + distance;
        const Key a = keys[low], b = keys[high];
        if ((a > b) == ((low & size) == 0)) {
          keys[low] = b;
          keys[high] = a;
        }
      }
    }
  }
  __syncthreads();
}

// Of the pixels of one tile and one group of channels.
template <typename T, bool kTiled>
struct Products {
  const GradFiltersArguments<T>& a;
  TileAt tile;
  int64_t channel;
  int count;
  const float *image, *grad;  // in shared memory where kTiled
  int rows, pitch;

  // The products of pixel `place` with tap (i, j), added to `sum`.
  __device__ float Add(int place, int i, int j, float sum) const {
    const int row = place / kTile, column = place % kTile;
    if constexpr (kTiled) {
      for (int p = 0; p < count; ++p) {
        sum = __fmaf_rn(image[(p * rows + row + i) * pitch + column + j], grad[p * kPixels + place], sum);
      }
    } else {
      const int32_t h = static_cast<int32_t>(a.shape.h), w = static_cast<int32_t>(a.shape.w);
      const int32_t y = tile.y + row, x = tile.x + column;
      const int32_t v = ClampIndex(y + i - static_cast<int32_t>((a.shape.r - 1) / 2), h);
      const int32_t u = ClampIndex(x + j - static_cast<int32_t>((a.shape.s - 1) / 2), w);
      const T* from = a.image + ((tile.image * h + v) * w + u) * a.shape.c + channel;
      const T* g = a.grad + ((tile.image * h + y) * w + x) * a.shape.c + channel;
      for (int p = 0; p < count; ++p) sum = __fmaf_rn(Storage<T>::Load(from[p]), Storage<T>::Load(g[p]), sum);
    }
    return sum;
  }
};

template <typename T, typename Key, bool kTiled>
__global__ void __launch_bounds__(kThreads) GradFiltersTiles(const __grid_constant__ GradFiltersArguments<T> a) {
  __shared__ Key keys[kPixels];
  __shared__ double heads[kWarps][kLanes];
  const int thread = static_cast<int>(threadIdx.x), warp = thread / kLanes, lane = thread % kLanes;
  const int r = static_cast<int>(a.shape.r), s = static_cast<int>(a.shape.s);
  const int above = (r - 1) / 2, left = (s - 1) / 2, rows = kTile + r - 1, pitch = kTile + s - 1;
  const int64_t taps = a.shape.r * a.shape.s, size = a.shape.k * taps;
  double* const result = a.tables + blockIdx.x * size;
  double* const table = a.shared_table ? reinterpret_cast<double*>(blade_cuda_shared) : result;
  float* const image = reinterpret_cast<float*>(blade_cuda_shared) + (a.shared_table ? 2 * size : 0);
  float* const grad = image + a.planes * rows * pitch;
  for (int64_t i = thread; i < size; i += kThreads) table[i] = 0;
  for (int64_t index = blockIdx.x; index < a.tiles.count; index += a.blocks) {
    const TileAt tile(a.tiles, index);
    const int32_t h = static_cast<int32_t>(a.shape.h), w = static_cast<int32_t>(a.shape.w);
    __syncthreads();
    for (int i = thread; i < kPixels; i += kThreads) {
      const int32_t y = tile.y + i / kTile, x = tile.x + i % kTile;
      keys[i] = kNoFilter<Key>;
      if (y >= h || x >= w) continue;
      const int64_t at = (tile.image * h + y) * w + x;
      keys[i] = static_cast<Key>(CheckedFilter(a.selection[at], at, a.shape.k, a.first_wrong)) * kPixels +
                static_cast<Key>(i);
    }
    Sort(keys);
    for (int64_t c = 0; c < a.shape.c; c += a.planes) {
      const int loaded = static_cast<int>(a.shape.c - c < a.planes ? a.shape.c - c : a.planes);
      if constexpr (kTiled) {
        StagePixels(a.shape, a.image, tile.image, tile.y - above, tile.x - left, rows, pitch, c, loaded, image);
        StagePixels(a.shape, a.grad, tile.image, tile.y, tile.x, kTile, kTile, c, loaded, grad);
      }
      const Products<T, kTiled> products = {a, tile, c, loaded, image, grad, rows, pitch};
      const Key* part = keys + warp * kPart;
      const Key before = warp > 0 ? part[-1] / kPixels : kNoFilter<Key>;
      for (int64_t first = 0; first < taps; first += kLanes) {
        __syncthreads();
        const int64_t tap = first + lane;
        const int i = static_cast<int>(tap / s), j = static_cast<int>(tap % s);
        if (tap < taps) {
          Key filter = part[0] / kPixels;
          float sum = 0;
          heads[warp][lane] = 0;
          const auto finish = [&]() {
            if (filter == before) {
              heads[warp][lane] = static_cast<double>(sum);
            } else {
              table[static_cast<int64_t>(filter) * taps + tap] += static_cast<double>(sum);
            }
          };
          for (int at = 0; at < kPart && part[at] != kNoFilter<Key>; ++at) {
            if (part[at] / kPixels != filter) {
              finish();
              filter = part[at] / kPixels;
              sum = 0;
            }
            sum = products.Add(static_cast<int>(part[at] % kPixels), i, j, sum);
          }
          if (part[0] != kNoFilter<Key>) finish();
        }
        __syncthreads();
        if (warp > 0 || tap >= taps) continue;
        for (int other = 1; other < kWarps; ++other) {
          const Key filter = keys[other * kPart - 1] / kPixels;
          if (keys[other * kPart] == kNoFilter<Key> || keys[other * kPart] / kPixels != filter) continue;
          table[static_cast<int64_t>(filter) * taps + tap] += heads[other][lane];
        }
      }
    }
  }
  if (!a.shared_table) return;
  __syncthreads();
  for (int64_t i = thread; i < size; i += kThreads) result[i] = table[i];
}

// A thread adds up one slice of the blocks for one tap, the first one then the slices.
template <typename T>
__global__ void __launch_bounds__(kThreads) GradFiltersReduce(const __grid_constant__ GradFiltersArguments<T> a) {
  __shared__ double sums[kSlices][kLanes];
  const int thread = static_cast<int>(threadIdx.x), slice = thread / kLanes, lane = thread % kLanes;
  const int64_t size = a.shape.k * a.shape.r * a.shape.s, step = int64_t{kLanes} * gridDim.x;
  for (int64_t first = int64_t{kLanes} * blockIdx.x; first < size; first += step) {
    const int64_t i = first + lane;
    double sum = 0;
    for (int64_t block = slice; i < size && block < a.blocks; block += kSlices) sum += a.tables[block * size + i];
    sums[slice][lane] = sum;
    __syncthreads();
    if (slice == 0 && i < size) {
      for (int other = 1; other < kSlices; ++other) sum += sums[other][lane];
      a.filters_grad[i] = Storage<T>::Store(static_cast<float>(sum));
    }
    __syncthreads();
  }
}

int64_t Blocks(const BladeCudaShape& shape) {
  // A block must be worth the table that it clears and that is added up.
  const double table = static_cast<double>(shape.k) * static_cast<double>(shape.r) * static_cast<double>(shape.s);
  const double wanted = static_cast<double>(Pixels(shape)) / std::max(static_cast<double>(kPixels), table / 2);
  const int64_t most = std::min(Tiles(shape).count, kMaxBlocks);
  return std::max<int64_t>(1, std::min(most, static_cast<int64_t>(std::min(wanted, 1e9))));
}

template <typename T>
const char* LaunchTyped(const GradFiltersArguments<T>& from, cudaStream_t stream) {
  GradFiltersArguments<T> a = from;
  int64_t limit = 0;
  const char* error = SharedLimit(&limit);
  if (error != nullptr) return error;
  // Sorting 64-bit keys takes twice the time; they are for millions of filters.
  const bool wide = a.shape.k >= int64_t{1} << 21;
  const int64_t fixed = kPixels * (wide ? 8 : 4) + kWarps * kLanes * 8;
  const double room = static_cast<double>(limit - fixed);
  const double plane = 4.0 * static_cast<double>(kTile + a.shape.r - 1) * static_cast<double>(kTile + a.shape.s - 1);
  const double both = plane + 4.0 * kPixels;
  const double table =
      8.0 * static_cast<double>(a.shape.k) * static_cast<double>(a.shape.r) * static_cast<double>(a.shape.s);
  const bool tiled = both <= room;
  a.shared_table = table + (tiled ? both : 0) <= room;
  const double left = room - (a.shared_table ? table : 0);
  const double planes = std::min(static_cast<double>(kMaxPlanes), static_cast<double>(std::max<int64_t>(a.shape.c, 1)));
  a.planes = static_cast<int>(tiled ? std::min(planes, left / both) : planes);
  const int64_t bytes = static_cast<int64_t>((a.shared_table ? table : 0) + (tiled ? both * a.planes : 0));
  const auto kernel = tiled ? (wide ? GradFiltersTiles<T, uint64_t, true> : GradFiltersTiles<T, uint32_t, true>)
                            : (wide ? GradFiltersTiles<T, uint64_t, false> : GradFiltersTiles<T, uint32_t, false>);
  error = LaunchBlocks(kernel, a.blocks, kThreads, bytes, stream, a);
  if (error != nullptr) return error;
  const int64_t size = a.shape.k * a.shape.r * a.shape.s;
  return Launch(GradFiltersReduce<T>, (size + kLanes - 1) / kLanes, kThreads, 0, stream, a);
}

}  // namespace
}  // namespace blade

int64_t blade_cuda_grad_filters_scratch(const BladeCudaShape* shape) {
  return 8 * blade::Blocks(*shape) * shape->k * shape->r * shape->s;
}

const char* blade_cuda_grad_filters(const BladeCudaShape* shape, const void* image, const void* selection,
                                    const void* grad, void* scratch, void* filters_grad, int64_t* first_wrong,
                                    void* stream) {
  const char* error = blade::CheckShape(*shape, true);
  const cudaStream_t on = static_cast<cudaStream_t>(stream);
  if (error == nullptr) error = blade::ResetFirstWrong(*shape, first_wrong, on);
  if (error != nullptr || shape->k == 0) return error;
  return blade::ForType(shape->values, [&](auto type) {
    using T = decltype(type);
    const blade::Indices indices = {selection, shape->indices == BLADE_CUDA_UINT8};
    return blade::LaunchTyped<T>(
        {*shape, blade::Tiles(*shape), static_cast<const T*>(image), indices, static_cast<const T*>(grad),
         static_cast<double*>(scratch), static_cast<T*>(filters_grad), first_wrong, blade::Blocks(*shape), 0, false},
        on);
  });
}
