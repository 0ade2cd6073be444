#include "cc/cuda/filter.h"

namespace blade {
namespace {

// The Gaussian's radius up to which a tile with its margins has room in shared memory: a rho of 3.
constexpr int kMaxTileRadius = 9;

template <typename T>
struct SelectArguments {
  BladeCudaShape shape;
  Tiles tiles;
  BladeCudaPlan plan;
  const T* image;
  IndicesOut selection;
  float* scratch;
  // Of a step.
  const T* filters = nullptr;
  const T* dt = nullptr;
  T* output = nullptr;
  int64_t* first_wrong = nullptr;
  int planes = 0, halo = 0;
};

__device__ inline SelectConstants<float> Constants(const BladeCudaPlan& plan) {
  const float* weights = plan.values;
  const float* edge_cos = weights + plan.radius + 1;
  const float* edge_sin = edge_cos + plan.edges;
  const float* strength = edge_sin + plan.edges;
  const float* coherence = strength + plan.strength_thresholds;
  const float* intensity = coherence + plan.coherence_thresholds;
  return {plan.orientations,
          plan.strengths,
          plan.coherences,
          plan.folds,
          plan.low_edges,
          plan.radius,
          plan.edges,
          plan.strength_thresholds,
          plan.coherence_thresholds,
          plan.intensity_thresholds,
          weights,
          edge_cos,
          edge_sin,
          strength,
          coherence,
          intensity};
}

// The mean of the channels of the pixel at `position`, where the plan asks for it.
template <typename T>
__device__ inline float Intensity(const SelectArguments<T>& a, int64_t position) {
  if (a.plan.intensity_thresholds == 0) return 0;
  float sum = 0;
  for (int64_t c = 0; c < a.shape.c; ++c) sum = sum + Storage<T>::Load(a.image[position * a.shape.c + c]);
  return Mean(sum, a.shape.c);
}

// Of a tile's tensors, and of those smoothed along rows.
int64_t TensorBytes(int64_t radius) {
  const int64_t side = kTile + 2 * radius;
  return 3 * 4 * (side * side + side * kTile);
}

// One tile after the other: pixels, structure tensor, Gaussian along rows, then along columns, and the bins; for a step
// the filter and the update too. kRadius is the radius where the compiler knows it, otherwise -1.
template <typename T, int kRadius, int kR, int kS, bool kStep>
__global__ void __launch_bounds__(kThreads, kResident) SelectTiles(const __grid_constant__ SelectArguments<T> a) {
  const int radius = kRadius >= 0 ? kRadius : a.plan.radius;
  const int r = kR > 0 ? kR : static_cast<int>(a.shape.r), s = kS > 0 ? kS : static_cast<int>(a.shape.s);
  const int halo = kRadius == 3 && (kR == 5 || !kStep) ? 4 : a.halo;
  const int side = kTile + 2 * radius, pitch = kTile + 2 * halo;
  const int32_t h = static_cast<int32_t>(a.shape.h), w = static_cast<int32_t>(a.shape.w);
  const int quads = FilterQuads(r * s);
  const SelectConstants<float> plan = Constants(a.plan);
  float4* const bank = blade_cuda_shared;
  float* const planes = reinterpret_cast<float*>(bank + (kStep ? a.shape.k * quads : 0));
  float* const tensor = planes + a.planes * pitch * pitch;
  float* const smooth = tensor + 3 * side * side;
  const int row = ThreadRow(), column = ThreadColumn();
  if constexpr (kStep) StageFilters(a.shape, a.filters, 4 * quads, reinterpret_cast<float*>(bank));
  for (int64_t index = blockIdx.x; index < a.tiles.count; index += gridDim.x) {
    const TileAt tile(a.tiles, index);
    const int count = tile.x + column < w ? h - tile.y - row : 0;
    const int64_t at = (tile.image * h + tile.y + row) * w + tile.x + column;
    for (int64_t c = 0; c == 0 || c < a.shape.c; c += a.planes) {
      const int loaded = static_cast<int>(a.shape.c - c < a.planes ? a.shape.c - c : a.planes);
      __syncthreads();
      StagePixels(a.shape, a.image, tile.image, tile.y - halo, tile.x - halo, pitch, pitch, c, loaded, planes);
      __syncthreads();
      for (int i = static_cast<int>(threadIdx.x); i < side * side; i += kThreads) {
        const int y = ClampIndex(tile.y - radius + i / side, h) - tile.y + halo;
        const int x = ClampIndex(tile.x - radius + i % side, w) - tile.x + halo;
        const float* pixel = planes + y * pitch + x;
        Tensor<float> j = {0, 0, 0};
        if (c > 0) j = {tensor[i], tensor[side * side + i], tensor[2 * side * side + i]};
        for (int p = 0; p < loaded; ++p, pixel += pitch * pitch) {
          AddChannel(pixel[-1], pixel[1], pixel[-pitch], pixel[pitch], &j);
        }
        tensor[i] = j.j11;
        tensor[side * side + i] = j.j12;
        tensor[2 * side * side + i] = j.j22;
      }
    }
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < side * kTile; i += kThreads) {
      const float* center = tensor + i / kTile * side + i % kTile + radius;
      for (int part = 0; part < 3; ++part) {
        smooth[part * side * kTile + i] = Gaussian(center + part * side * side, 1, plan.weights, radius);
      }
    }
    __syncthreads();
    const float4* chosen[kRun];
#pragma unroll
    for (int i = 0; i < kRun; ++i) {
      const float* center = smooth + (row + i + radius) * kTile + column;
      const Tensor<float> j = {Gaussian(center, kTile, plan.weights, radius),
                               Gaussian(center + side * kTile, kTile, plan.weights, radius),
                               Gaussian(center + 2 * side * kTile, kTile, plan.weights, radius)};
      chosen[i] = bank;
      if (i >= count) continue;
      const int64_t position = at + i * a.shape.w;
      const int32_t filter = SelectPixel(plan, j, Intensity(a, position));
      a.selection.Store(position, filter);
      if constexpr (kStep) chosen[i] += CheckedFilter(filter, position, a.shape.k, a.first_wrong) * quads;
    }
    for (int64_t c = 0; kStep && c < a.shape.c; c += a.planes) {
      const int loaded = static_cast<int>(a.shape.c - c < a.planes ? a.shape.c - c : a.planes);
      if (a.shape.c > a.planes) {
        __syncthreads();
        StagePixels(a.shape, a.image, tile.image, tile.y - halo, tile.x - halo, pitch, pitch, c, loaded, planes);
        __syncthreads();
      }
      FilterRun<T, kR, kS>(a.shape, chosen, planes + (row + halo) * pitch + column + halo, pitch * pitch, pitch, loaded,
                           count, a.dt, a.output + at * a.shape.c + c);
    }
  }
}

// For a Gaussian that does not fit into a tile: tensors, those smoothed along rows, and the selection of whole images.
// The tensors' components are planes of `scratch`, the smoothed ones follow.

template <typename T>
__global__ void __launch_bounds__(kThreads) TensorPixels(const __grid_constant__ SelectArguments<T> a) {
  const int32_t h = static_cast<int32_t>(a.shape.h), w = static_cast<int32_t>(a.shape.w);
  const int64_t pixels = a.shape.n * h * w, step = int64_t{kThreads} * gridDim.x;
  for (int64_t at = int64_t{kThreads} * blockIdx.x + threadIdx.x; at < pixels; at += step) {
    const int32_t x = static_cast<int32_t>(at % w), y = static_cast<int32_t>(at / w % h);
    const int64_t left = at - x + ClampIndex(x - 1, w), right = at - x + ClampIndex(x + 1, w);
    const int64_t up = at + int64_t{ClampIndex(y - 1, h) - y} * w, down = at + int64_t{ClampIndex(y + 1, h) - y} * w;
    Tensor<float> j = {0, 0, 0};
    for (int64_t c = 0; c < a.shape.c; ++c) {
      const T* image = a.image + c;
      AddChannel(Storage<T>::Load(image[left * a.shape.c]), Storage<T>::Load(image[right * a.shape.c]),
                 Storage<T>::Load(image[up * a.shape.c]), Storage<T>::Load(image[down * a.shape.c]), &j);
    }
    a.scratch[at] = j.j11;
    a.scratch[pixels + at] = j.j12;
    a.scratch[2 * pixels + at] = j.j22;
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads) SmoothPixels(const __grid_constant__ SelectArguments<T> a) {
  const int32_t w = static_cast<int32_t>(a.shape.w);
  const int64_t values = 3 * a.shape.n * a.shape.h * w, step = int64_t{kThreads} * gridDim.x;
  for (int64_t at = int64_t{kThreads} * blockIdx.x + threadIdx.x; at < values; at += step) {
    const int32_t x = static_cast<int32_t>(at % w);
    a.scratch[values + at] = GaussianAt(a.scratch + at - x, int64_t{1}, x, w, a.plan.values, a.plan.radius);
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads) SelectPixels(const __grid_constant__ SelectArguments<T> a) {
  const int32_t h = static_cast<int32_t>(a.shape.h), w = static_cast<int32_t>(a.shape.w);
  const int64_t pixels = a.shape.n * h * w, step = int64_t{kThreads} * gridDim.x;
  const SelectConstants<float> plan = Constants(a.plan);
  for (int64_t at = int64_t{kThreads} * blockIdx.x + threadIdx.x; at < pixels; at += step) {
    const int32_t y = static_cast<int32_t>(at / w % h);
    const float* first = a.scratch + 3 * pixels + at - int64_t{y} * w;
    const Tensor<float> j = {GaussianAt(first, a.shape.w, y, h, plan.weights, plan.radius),
                             GaussianAt(first + pixels, a.shape.w, y, h, plan.weights, plan.radius),
                             GaussianAt(first + 2 * pixels, a.shape.w, y, h, plan.weights, plan.radius)};
    a.selection.Store(at, SelectPixel(plan, j, Intensity(a, at)));
  }
}

template <typename T>
const char* LaunchSelect(const SelectArguments<T>& from, cudaStream_t stream) {
  SelectArguments<T> a = from;
  const int64_t radius = a.plan.radius, pixels = Pixels(a.shape);
  if (radius > kMaxTileRadius) {
    const int64_t blocks = (pixels + kThreads - 1) / kThreads;
    const char* error = Launch(TensorPixels<T>, blocks, kThreads, 0, stream, a);
    if (error == nullptr) error = Launch(SmoothPixels<T>, 3 * blocks, kThreads, 0, stream, a);
    if (error == nullptr) error = Launch(SelectPixels<T>, blocks, kThreads, 0, stream, a);
    return error;
  }
  a.halo = static_cast<int>(radius) + 1;
  a.planes = static_cast<int>(std::clamp<int64_t>(a.shape.c, 1, kMaxPlanes));
  const int64_t pitch = kTile + 2 * a.halo, bytes = TensorBytes(radius) + 4 * a.planes * pitch * pitch;
  const auto kernel = radius == 3 ? SelectTiles<T, 3, 0, 0, false> : SelectTiles<T, -1, 0, 0, false>;
  return Launch(kernel, a.tiles.count, kThreads, bytes, stream, a);
}

template <typename T>
const char* LaunchStep(const SelectArguments<T>& from, cudaStream_t stream) {
  SelectArguments<T> a = from;
  int64_t limit = 0;
  const char* error = SharedLimit(&limit);
  if (error == nullptr) error = ResetFirstWrong(a.shape, a.first_wrong, stream);
  if (error != nullptr) return error;
  const int64_t radius = a.plan.radius, halo = std::max({radius + 1, a.shape.r / 2, a.shape.s / 2});
  const double taps = static_cast<double>(a.shape.r) * static_cast<double>(a.shape.s);
  const double plane = 4.0 * static_cast<double>(kTile + 2 * halo) * static_cast<double>(kTile + 2 * halo);
  const double room =
      (static_cast<double>(limit - TensorBytes(radius)) - 4.0 * static_cast<double>(a.shape.k) * (taps + 8)) / plane;
  a.planes = static_cast<int>(std::min({static_cast<double>(kMaxPlanes), static_cast<double>(a.shape.c), room}));
  a.halo = static_cast<int>(halo);
  if (radius <= kMaxTileRadius && a.planes >= 1 && a.shape.k > 0) {
    const int64_t bytes = 16 * a.shape.k * FilterQuads(static_cast<int>(taps)) + TensorBytes(radius) +
                          static_cast<int64_t>(plane) * a.planes;
    const bool usual = radius == 3 && a.shape.r == 5 && a.shape.s == 5;
    const auto kernel = usual ? SelectTiles<T, 3, 5, 5, true> : SelectTiles<T, -1, 0, 0, true>;
    return Launch(kernel, a.tiles.count, kThreads, bytes, stream, a);
  }
  error = LaunchSelect(from, stream);
  if (error != nullptr) return error;
  return LaunchFilter(a.shape, a.image, a.filters, a.selection.data, a.dt, a.output, a.first_wrong, stream);
}

const char* CheckBins(const BladeCudaShape& shape, const BladeCudaPlan& plan) {
  return shape.indices == BLADE_CUDA_UINT8 && blade_cuda_plan_bins(&plan) > 256
             ? "selection: expected at most 256 bins for bytes"
             : nullptr;
}

}  // namespace
}  // namespace blade

int64_t blade_cuda_select_scratch(const BladeCudaShape* shape, const BladeCudaPlan* plan) {
  return plan->radius > blade::kMaxTileRadius ? 6 * 4 * blade::Pixels(*shape) : 0;
}

const char* blade_cuda_select(const BladeCudaShape* shape, const BladeCudaPlan* plan, const void* image, void* scratch,
                              void* selection, void* stream) {
  const char* error = blade::CheckShape(*shape, false);
  if (error == nullptr) error = blade::CheckBins(*shape, *plan);
  if (error != nullptr) return error;
  return blade::ForType(shape->values, [&](auto type) {
    using T = decltype(type);
    const blade::SelectArguments<T> a = {*shape,
                                         blade::Tiles(*shape),
                                         *plan,
                                         static_cast<const T*>(image),
                                         {selection, shape->indices == BLADE_CUDA_UINT8},
                                         static_cast<float*>(scratch)};
    return blade::LaunchSelect(a, static_cast<cudaStream_t>(stream));
  });
}

const char* blade_cuda_step(const BladeCudaShape* shape, const BladeCudaPlan* plan, const void* image,
                            const void* filters, const void* dt, void* scratch, void* output, void* selection,
                            int64_t* first_wrong, void* stream) {
  const char* error = blade::CheckShape(*shape, true);
  if (error == nullptr) error = blade::CheckBins(*shape, *plan);
  if (error != nullptr) return error;
  return blade::ForType(shape->values, [&](auto type) {
    using T = decltype(type);
    const blade::SelectArguments<T> a = {*shape,
                                         blade::Tiles(*shape),
                                         *plan,
                                         static_cast<const T*>(image),
                                         {selection, shape->indices == BLADE_CUDA_UINT8},
                                         static_cast<float*>(scratch),
                                         static_cast<const T*>(filters),
                                         static_cast<const T*>(dt),
                                         static_cast<T*>(output),
                                         first_wrong};
    return blade::LaunchStep(a, static_cast<cudaStream_t>(stream));
  });
}
