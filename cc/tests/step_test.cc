#include "cc/blade/step.h"

#include <cmath>
#include <functional>
#include <limits>
#include <tuple>

#include "cc/tests/test_util.h"

namespace blade {
namespace {

class StepTest : public testing::TestWithParam<SimdLevel> {
 protected:
  std::mt19937 random_{20211016};
};

INSTANTIATE_TEST_SUITE_P(Levels, StepTest, testing::ValuesIn(Levels()), LevelName);

int64_t Bins(const SelectParameters& p) {
  return p.orientations *
         static_cast<int64_t>((p.strength_thresholds.size() + 1) * (p.coherence_thresholds.size() + 1) *
                              (p.intensity_thresholds.size() + 1));
}

template <typename T, typename S>
struct Result {
  std::vector<T> output;
  std::vector<S> selection;
};

// a + b or a * b, rounded to T.
template <typename T, typename Operation>
T Rounded(T a, T b, const Operation& operation) {
  return Storage<T>::Store(operation(Storage<T>::Load(a), Storage<T>::Load(b)));
}

// image + dt * FilterRows(SelectRows(image)), an operation after the other.
template <typename T, typename S>
Result<T, S> Composition(const SelectParameters& parameters, SimdLevel level, const ImageShape& shape,
                         const FilterShape& filter_shape, const std::vector<T>& image, const std::vector<T>& filters,
                         T dt) {
  const ScopedFlushSubnormals flush;
  Result<T, S> found = {{}, std::vector<S>(static_cast<size_t>(Pixels(shape)))};
  const SelectPlan<ComputeOf<T>> plan(parameters);
  if (shape.rows() > 0) SelectRows(plan, level, shape, image.data(), 0, shape.rows(), found.selection.data());
  found.output = Filter(level, shape, filter_shape, image, filters, found.selection);
  for (size_t i = 0; i < image.size(); ++i) {
    const T change = Rounded(dt, found.output[i], std::multiplies<>());
    found.output[i] = Rounded(image[i], change, std::plus<>());
  }
  return found;
}

template <typename T, typename S>
Result<T, S> Step(const SelectParameters& parameters, SimdLevel level, const ImageShape& shape,
                  const FilterShape& filter_shape, const std::vector<T>& image, const std::vector<T>& filters, T dt) {
  Result<T, S> found = {std::vector<T>(image.size()), std::vector<S>(static_cast<size_t>(Pixels(shape)))};
  const SelectPlan<ComputeOf<T>> plan(parameters);
  const FilterBank<T> bank(filter_shape, filters.data(), level);
  if (shape.rows() > 0)
    StepRows(plan, bank, level, shape, image.data(), dt, 0, shape.rows(), found.output.data(), found.selection.data());
  return found;
}

template <typename T, typename S>
void EqualsTheComposition(const SelectParameters& parameters, SimdLevel level, std::mt19937* random,
                          const ImageShape& shape, const FilterShape& filter_shape) {
  const auto image = Normal<T>(random, Values(shape)), filters = Normal<T>(random, Values(filter_shape));
  const T dt = FromFloat<T>(0.37f);
  const auto expected = Composition<T, S>(parameters, level, shape, filter_shape, image, filters, dt);
  const auto found = Step<T, S>(parameters, level, shape, filter_shape, image, filters, dt);
  const Sizes sizes = {shape, filter_shape};
  ASSERT_TRUE(SameBits(found.selection, expected.selection)) << Name(sizes) << " at " << parameters.rho;
  ASSERT_TRUE(SameBits(found.output, expected.output)) << Name(sizes) << " at " << parameters.rho;
}

// The usual plan and others, with each radius of the Gaussian that has code of its own and some that have none.
std::vector<SelectParameters> ManyParameters() {
  std::vector<SelectParameters> many;
  for (float rho : {0.0f, 0.3f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f}) many.push_back({24, {0.3f, 1.1f}, {0.2f, 0.6f}, rho});
  for (int64_t orientations : {1, 2, 3, 4, 6, 7, 8, 24, 64}) many.push_back({orientations, {0.5f}, {0.4f}, 1.0f});
  many.push_back({8, {0.5f}, {}, 1.0f, {-0.5f, 0.2f, 0.7f}});
  many.push_back({24, {0.3f, 1.1f}, {0.2f, 0.6f}, 1.0f, {0.1f}});  // 432 bins
  return many;
}

TEST_P(StepTest, EqualsTheCompositionForAllParameters) {
  for (const SelectParameters& parameters : ManyParameters()) {
    const int64_t bins = Bins(parameters);
    for (const ImageShape& shape : {ImageShape{2, 11, 37, 1}, {1, 9, 261, 1}, {1, 17, 20, 3}, {2, 1, 1, 1}}) {
      EqualsTheComposition<float, int32_t>(parameters, GetParam(), &random_, shape, {bins, 5, 5});
      EqualsTheComposition<double, int32_t>(parameters, GetParam(), &random_, shape, {bins + 3, 5, 5});
      if (bins > 256) continue;
      EqualsTheComposition<float, uint8_t>(parameters, GetParam(), &random_, shape, {bins + 3, 5, 5});
      EqualsTheComposition<double, uint8_t>(parameters, GetParam(), &random_, shape, {bins, 5, 5});
    }
  }
}

template <typename T>
void ForAllSizes(SimdLevel level, std::mt19937* random) {
  const SelectParameters parameters = {4, {0.5f}, {0.3f}, 1.0f};
  for (Sizes sizes : ManySizes()) {
    sizes.filters.k = std::max<int64_t>(sizes.filters.k, 16);
    EqualsTheComposition<T, uint8_t>(parameters, level, random, sizes.image, sizes.filters);
    EqualsTheComposition<T, int32_t>(parameters, level, random, sizes.image, sizes.filters);
  }
}

TEST_P(StepTest, EqualsTheCompositionForAllSizesFloat) { ForAllSizes<float>(GetParam(), &random_); }
TEST_P(StepTest, EqualsTheCompositionForAllSizesDouble) { ForAllSizes<double>(GetParam(), &random_); }
TEST_P(StepTest, EqualsTheCompositionForAllSizesHalf) { ForAllSizes<Half>(GetParam(), &random_); }
TEST_P(StepTest, EqualsTheCompositionForAllSizesBFloat16) { ForAllSizes<BFloat16>(GetParam(), &random_); }

// Rows [begin, end) are written with the same bits whatever rows go with them, and no others are.
template <typename T, typename S>
void AnyRowsGiveTheSame(SimdLevel level, std::mt19937* random) {
  // More rows than a block of the step has.
  for (const auto& [h, w, c] : {std::tuple{19, 21, 1}, {10, 259, 1}, {9, 33, 3}, {1, 17, 2}}) {
    for (const FilterShape& filter_shape : {FilterShape{16, 5, 5}, {16, 3, 4}}) {
      const SelectParameters parameters = {4, {0.5f}, {0.3f}, c == 1 ? 1.0f : 0.6f};
      const ImageShape shape = {2, h, w, c};
      const auto image = Normal<T>(random, Values(shape)), filters = Normal<T>(random, Values(filter_shape));
      const T dt = FromFloat<T>(0.37f);
      const auto expected = Step<T, S>(parameters, level, shape, filter_shape, image, filters, dt);
      const SelectPlan<ComputeOf<T>> plan(parameters);
      const FilterBank<T> bank(filter_shape, filters.data(), level);
      for (int64_t begin = 0; begin < shape.rows(); ++begin) {
        for (int64_t end : {begin + 1, begin + 2, begin + 7, begin + 8, begin + 9, begin + 16, shape.rows()}) {
          if (end > shape.rows()) continue;
          Result<T, S> found = {Normal<T>(random, Values(shape)),
                                std::vector<S>(static_cast<size_t>(Pixels(shape)), S{99})};
          auto wanted = found;
          const auto copy = [&](const auto& from, int64_t row, auto* to) {
            std::copy(from.begin() + begin * row, from.begin() + end * row, to->begin() + begin * row);
          };
          copy(expected.output, w * c, &wanted.output);
          copy(expected.selection, w, &wanted.selection);
          StepRows(plan, bank, level, shape, image.data(), dt, begin, end, found.output.data(), found.selection.data());
          ASSERT_TRUE(SameBits(found.selection, wanted.selection)) << h << " " << w << ", " << begin << " to " << end;
          ASSERT_TRUE(SameBits(found.output, wanted.output)) << h << " " << w << ", " << begin << " to " << end;
        }
      }
    }
  }
}

TEST_P(StepTest, AnyRowsGiveTheSameFloat) { AnyRowsGiveTheSame<float, uint8_t>(GetParam(), &random_); }
TEST_P(StepTest, AnyRowsGiveTheSameDouble) { AnyRowsGiveTheSame<double, int32_t>(GetParam(), &random_); }
TEST_P(StepTest, AnyRowsGiveTheSameHalf) { AnyRowsGiveTheSame<Half, uint8_t>(GetParam(), &random_); }
TEST_P(StepTest, AnyRowsGiveTheSameBFloat16) { AnyRowsGiveTheSame<BFloat16, int32_t>(GetParam(), &random_); }

// With NaN, infinities and numbers whose squares overflow, of which there are no bins but the bank's.
TEST_P(StepTest, AnyNumbersEqualTheComposition) {
  const SelectParameters parameters = {24, {0.3f, 1.1f}, {0.2f, 0.6f}, 1.0f};
  const ImageShape shape = {1, 19, 300, 1};
  const FilterShape filter_shape = {216, 5, 5};
  const auto filters = Normal<float>(&random_, Values(filter_shape));
  for (float wrong : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -3e19f, 1e38f}) {
    auto image = Normal<float>(&random_, Values(shape));
    for (size_t i = 0; i < image.size(); i += 173) image[i] = wrong;
    const auto expected =
        Composition<float, uint8_t>(parameters, GetParam(), shape, filter_shape, image, filters, 0.2f);
    const auto found = Step<float, uint8_t>(parameters, GetParam(), shape, filter_shape, image, filters, 0.2f);
    ASSERT_TRUE(SameBits(found.selection, expected.selection)) << wrong;
    for (size_t i = 0; i < image.size(); ++i) {
      // The bits of a NaN may be any.
      if (std::isnan(expected.output[i])) {
        ASSERT_TRUE(std::isnan(found.output[i])) << wrong << " " << i;
      } else {
        ASSERT_EQ(found.output[i], expected.output[i]) << wrong << " " << i;
      }
    }
  }
}

// A step of no length, and one of filters of zeros, leave the image as it is.
TEST_P(StepTest, StandsStill) {
  const SelectParameters parameters = {4, {0.5f}, {0.3f}, 1.0f};
  const ImageShape shape = {1, 9, 33, 2};
  const auto image = Normal<float>(&random_, Values(shape)), filters = Normal<float>(&random_, 16 * 25);
  const std::vector<float> zeros(16 * 25);
  EXPECT_EQ((Step<float, uint8_t>(parameters, GetParam(), shape, {16, 5, 5}, image, filters, 0.0f).output), image);
  EXPECT_EQ((Step<float, uint8_t>(parameters, GetParam(), shape, {16, 5, 5}, image, zeros, 1.0f).output), image);
}

TEST_P(StepTest, SubnormalChangesCountAsZeroInAnyMode) {
  if (!kCanFlushSubnormals) GTEST_SKIP() << "this processor cannot";
  const ImageShape shape = {1, 5, 21, 1};
  const std::vector<float> image(static_cast<size_t>(Values(shape)), 1e-20f), filters(25, 1.0f);
  const auto found = Step<float, uint8_t>({1, {}, {}, 0.0f}, GetParam(), shape, {1, 5, 5}, image, filters, 1e-20f);
  EXPECT_EQ(found.output, image);
  const std::vector<float> tiny(image.size(), 1e-39f), zeros(image.size());
  EXPECT_EQ((Step<float, uint8_t>({1, {}, {}, 0.0f}, GetParam(), shape, {1, 5, 5}, tiny, filters, 1.0f).output), zeros);
}

}  // namespace
}  // namespace blade
