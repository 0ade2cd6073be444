#include "cc/blade/arithmetic.h"

#include <limits>

#include "cc/tests/test_util.h"

namespace blade {
namespace {

template <typename F>
SelectConstants<F> Constants(const SelectPlan<F>& plan) {
  const auto count = [](const auto& v) { return static_cast<int32_t>(v.size()); };
  return {static_cast<int32_t>(plan.orientations),
          static_cast<int32_t>(plan.strengths),
          static_cast<int32_t>(plan.coherences),
          plan.folds,
          static_cast<int32_t>(plan.low_edges),
          static_cast<int32_t>(plan.radius()),
          count(plan.edge_cos),
          count(plan.strength),
          count(plan.coherence),
          count(plan.intensity),
          plan.weights.data(),
          plan.edge_cos.data(),
          plan.edge_sin.data(),
          plan.strength.data(),
          plan.coherence.data(),
          plan.intensity.data()};
}

// The selection by the arithmetic that CUDA shares, a pixel at a time.
template <typename T>
std::vector<int32_t> Reference(const SelectPlan<ComputeOf<T>>& plan, const ImageShape& shape,
                               const std::vector<T>& image) {
  using F = ComputeOf<T>;
  const ScopedFlushSubnormals flush;
  const SelectConstants<F> constants = Constants(plan);
  const int32_t h = static_cast<int32_t>(shape.h), w = static_cast<int32_t>(shape.w);
  std::vector<int32_t> selection;
  for (int64_t n = 0; n < shape.n; ++n) {
    const auto at = [&](int32_t y, int32_t x, int64_t c) {
      const int64_t pixel = (n * h + ClampIndex(y, h)) * w + ClampIndex(x, w);
      return Storage<T>::Load(image[static_cast<size_t>(pixel * shape.c + c)]);
    };
    std::vector<F> planes[3], smooth[3];
    for (int32_t y = 0; y < h; ++y) {
      for (int32_t x = 0; x < w; ++x) {
        Tensor<F> j = {0, 0, 0};
        for (int64_t c = 0; c < shape.c; ++c) {
          AddChannel(at(y, x - 1, c), at(y, x + 1, c), at(y - 1, x, c), at(y + 1, x, c), &j);
        }
        planes[0].push_back(j.j11);
        planes[1].push_back(j.j12);
        planes[2].push_back(j.j22);
      }
    }
    const auto smoothed = [&](const std::vector<F>& plane, int32_t first, int64_t step, int32_t i, int32_t size) {
      return GaussianAt(plane.data() + first, step, i, size, constants.weights, constants.radius);
    };
    for (int part = 0; part < 3; ++part) {
      for (int32_t i = 0; i < h * w; ++i) {
        smooth[part].push_back(smoothed(planes[part], i - i % w, 1, i % w, w));
      }
    }
    for (int32_t i = 0; i < h * w; ++i) {
      Tensor<F> j = {smoothed(smooth[0], i % w, w, i / w, h), smoothed(smooth[1], i % w, w, i / w, h),
                     smoothed(smooth[2], i % w, w, i / w, h)};
      F sum = 0;
      for (int64_t c = 0; c < shape.c; ++c) sum = sum + at(i / w, i % w, c);
      selection.push_back(SelectPixel(constants, j, Mean(sum, shape.c)));
    }
  }
  return selection;
}

class ArithmeticTest : public testing::TestWithParam<SimdLevel> {
 protected:
  std::mt19937 random_{20211016};

  template <typename T>
  void Compare(const SelectParameters& parameters) {
    ASSERT_EQ(ValidateSelect(parameters), "");
    const SelectPlan<ComputeOf<T>> plan(parameters);
    for (const ImageShape& shape :
         {ImageShape{1, 1, 1, 1}, {2, 1, 9, 1}, {1, 23, 1, 2}, {2, 30, 41, 1}, {1, 20, 300, 3}, {1, 2, 3, 0}}) {
      auto image = Normal<T>(&random_, Values(shape));
      // Integers make ties; some pixels are no numbers, infinite or subnormal.
      if (shape.c == 1) image = Integers<T>(&random_, Values(shape));
      const float wild[] = {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 1e-40f};
      for (size_t i = 5; i < image.size(); i += 97) image[i] = FromFloat<T>(wild[i % 3]);
      std::vector<int32_t> selection(static_cast<size_t>(Pixels(shape)));
      SelectRows(plan, GetParam(), shape, image.data(), 0, shape.rows(), selection.data());
      ASSERT_EQ(Reference<T>(plan, shape, image), selection) << shape.h << " x " << shape.w;
    }
  }
};

INSTANTIATE_TEST_SUITE_P(Levels, ArithmeticTest, testing::ValuesIn(Levels()), LevelName);

TEST_P(ArithmeticTest, SelectsAsTheKernelsDo) {
  for (int64_t orientations : {1, 2, 3, 4, 6, 7, 8, 24}) {
    for (float rho : {0.0f, 0.4f, 1.0f, 3.7f}) {
      const SelectParameters parameters = {orientations, {0.5f, 1.0f}, {0.2f, 0.6f}, rho, {-0.5f, 0.5f}};
      Compare<float>(parameters);
      Compare<double>(parameters);
    }
  }
  Compare<Half>({24, {0.5f, 1.0f}, {0.2f, 0.6f}, 1.0f});
  Compare<BFloat16>({24, {0.5f, 1.0f}, {0.2f, 0.6f}, 1.0f});
}

}  // namespace
}  // namespace blade
