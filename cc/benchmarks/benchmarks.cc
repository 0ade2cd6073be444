// Micro-benchmarks of the row functions on one thread, without TensorFlow: 216 filters of 5x5, 24x3x3 bins, rho 1.
//
// Arguments are width, height and channels; "time/pixel" is the figure to compare. The image is smooth noise, so that
// its selection changes as often as a photograph's: a constant one would be predicted, a random one would miss every
// cache.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "cc/blade/filter.h"
#include "cc/blade/select.h"
#include "cc/blade/simd.h"

namespace {

constexpr blade::FilterShape kFilters{216, 5, 5};
const blade::SelectParameters kParameters{24, {0.02f, 0.07f}, {0.4f, 0.7f}, 1.0f};

blade::SimdLevel Level() {
  blade::SimdLevel level = blade::SimdLevel::kPortable;
  const std::string error = blade::ChosenSimdLevel(&level);
  if (!error.empty()) {
    std::fprintf(stderr, "%s\n", error.c_str());
    std::exit(1);
  }
  return level;
}

std::vector<float> Noise(int64_t size, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(size);
  std::generate(values.begin(), values.end(), [&] { return normal(generator); });
  return values;
}

// Waves of some directions and lengths, and a little noise.
std::vector<float> Image(const blade::ImageShape& shape) {
  std::vector<float> values = Noise(shape.rows() * shape.w * shape.c, 1);
  const std::vector<float> waves = Noise(16, 2);
  for (int64_t i = 0; i < static_cast<int64_t>(values.size()); ++i) {
    const float x = static_cast<float>(i / shape.c % shape.w), y = static_cast<float>(i / shape.c / shape.w);
    float sum = 0.5f + 0.01f * values[i];
    for (int k = 0; k < 16; k += 2) sum += 0.06f * std::sin(0.15f * (waves[k] * x + waves[k + 1] * y));
    values[i] = sum;
  }
  return values;
}

struct Inputs {
  explicit Inputs(const benchmark::State& state)
      : shape{1, state.range(1), state.range(0), state.range(2)},
        image(Image(shape)),
        filters(Noise(kFilters.k * kFilters.taps(), 3)),
        selection(shape.rows() * shape.w),
        output(image.size()) {
    blade::SelectRows<float>(blade::SelectPlan<float>(kParameters), Level(), shape, image.data(), 0, shape.rows(),
                             selection.data());
  }
  int64_t pixels() const { return shape.rows() * shape.w; }

  blade::ImageShape shape;
  std::vector<float> image, filters;
  std::vector<int32_t> selection;
  std::vector<float> output;
};

void Report(benchmark::State& state, const Inputs& inputs) {
  // An inverted rate is the time for each.
  state.counters["time/pixel"] =
      benchmark::Counter(static_cast<double>(inputs.pixels()),
                         benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

void Filter(benchmark::State& state) {
  Inputs in(state);
  const blade::FilterBank<float> bank(kFilters, in.filters.data(), Level());
  for (auto _ : state) {
    benchmark::DoNotOptimize(blade::FilterRows<float>(bank, in.shape, in.image.data(), in.selection.data(), 0,
                                                      in.shape.rows(), in.output.data()));
    benchmark::ClobberMemory();
  }
  Report(state, in);
}

// What the operation does at each call before its first row.
void MakeFilterBank(benchmark::State& state) {
  const std::vector<float> filters = Noise(kFilters.k * kFilters.taps(), 3);
  for (auto _ : state) {
    const blade::FilterBank<float> bank(kFilters, filters.data(), Level());
    benchmark::DoNotOptimize(bank.table());
  }
}

void FilterGradImage(benchmark::State& state) {
  Inputs in(state);
  const blade::FilterBank<float> bank(kFilters, in.filters.data(), Level());
  for (auto _ : state) {
    benchmark::DoNotOptimize(blade::FilterGradImageRows<float>(bank, in.shape, in.selection.data(), in.image.data(), 0,
                                                               in.shape.rows(), in.output.data()));
    benchmark::ClobberMemory();
  }
  Report(state, in);
}

void FilterGradFilters(benchmark::State& state) {
  Inputs in(state);
  const std::vector<float> grad = Noise(static_cast<int64_t>(in.image.size()), 4);
  const blade::GradFiltersBlocks blocks(in.shape, kFilters);
  std::vector<double> sums(blocks.count() * blocks.size());
  std::vector<float> filters_grad(in.filters.size());
  for (auto _ : state) {
    for (int64_t block = 0; block < blocks.count(); ++block) {
      benchmark::DoNotOptimize(blade::FilterGradFiltersRows<float>(
          kFilters, Level(), in.shape, in.image.data(), in.selection.data(), grad.data(), blocks.begin(block),
          blocks.end(block), sums.data() + block * blocks.size()));
    }
    blade::FilterGradFiltersReduce<float>(kFilters, sums.data(), blocks.count(), 0, kFilters.k, filters_grad.data());
    benchmark::ClobberMemory();
  }
  Report(state, in);
}

void Select(benchmark::State& state) {
  Inputs in(state);
  const blade::SelectPlan<float> plan(kParameters);
  for (auto _ : state) {
    blade::SelectRows<float>(plan, Level(), in.shape, in.image.data(), 0, in.shape.rows(), in.selection.data());
    benchmark::ClobberMemory();
  }
  Report(state, in);
}

void Sizes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"w", "h", "c"})->Unit(benchmark::kMicrosecond);
  for (const auto& size : {std::pair<int64_t, int64_t>{192, 128}, {768, 512}, {2048, 2048}}) {
    for (const int64_t channels : {1, 3}) benchmark->Args({size.first, size.second, channels});
  }
}

BENCHMARK(Filter)->Apply(Sizes);
BENCHMARK(MakeFilterBank)->Unit(benchmark::kMicrosecond);
BENCHMARK(FilterGradImage)->Apply(Sizes);
BENCHMARK(FilterGradFilters)->Apply(Sizes);
BENCHMARK(Select)->Apply(Sizes);

}  // namespace

BENCHMARK_MAIN();
