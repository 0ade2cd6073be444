#include <cmath>
#include <limits>

#include "cc/tests/test_util.h"

namespace blade {
namespace {

class FilterTest : public testing::TestWithParam<SimdLevel> {
 protected:
  std::mt19937 random_{20211016};
};

INSTANTIATE_TEST_SUITE_P(Levels, FilterTest, testing::ValuesIn(Levels()), LevelName);

TEST_P(FilterTest, ScaledIdentities) {
  const ImageShape shape = {2, 9, 37, 2};
  const FilterShape filter_shape = {4, 5, 5};
  std::vector<float> filters(100, 0.0f);
  for (size_t k = 0; k < 4; ++k) filters[k * 25 + 12] = static_cast<float>(k);
  const auto image = Normal<float>(&random_, Values(shape));
  const auto selection = Selection(&random_, Pixels(shape), 4);
  const auto output = Filter(GetParam(), shape, filter_shape, image, filters, selection);
  for (size_t i = 0; i < image.size(); ++i) ASSERT_EQ(output[i], static_cast<float>(selection[i / 2]) * image[i]);
}

// Filter t has a single 1, at tap t: each pixel takes the value of the neighbour that it selects, borders replicated.
TEST_P(FilterTest, Shifts) {
  for (const auto& [r, s] : {std::pair{1, 1},
                             {1, 5},
                             {5, 1},
                             {3, 3},
                             {5, 3},
                             {3, 5},
                             {5, 5},
                             {7, 7},
                             {9, 9},
                             {5, 6},
                             {6, 5},
                             {4, 4},
                             {2, 8},
                             {1, 2}}) {
    for (const ImageShape& shape : {ImageShape{1, 1, 1, 1}, {2, 11, 23, 1}, {1, 4, 300, 3}, {1, 3, 4, 2}}) {
      const Sizes sizes = {shape, {r * s, r, s}};
      const size_t taps = static_cast<size_t>(r * s);
      std::vector<float> filters(taps * taps, 0.0f);
      for (size_t t = 0; t < taps; ++t) filters[t * (taps + 1)] = 1.0f;
      const auto image = Normal<float>(&random_, Values(shape));
      const auto selection = Selection(&random_, Pixels(shape), r * s);
      const auto output = Filter(GetParam(), shape, sizes.filters, image, filters, selection);
      ForEachProduct(sizes, selection, [&](size_t i, size_t k, size_t t, size_t j) {
        if (t == k * (taps + 1)) {
          ASSERT_EQ(output[i], image[j]) << Name(sizes);
        }
      });
    }
  }
}

template <typename T>
void ExactOnIntegers(SimdLevel level, std::mt19937* random) {
  for (const Sizes& sizes : ManySizes()) {
    const auto image = Integers<T>(random, Values(sizes.image));
    const auto filters = Integers<T>(random, Values(sizes.filters));
    const auto selection = Selection(random, Pixels(sizes.image), sizes.filters.k);
    std::vector<T> expected(image.size());
    ForEachProduct(sizes, selection,
                   [&](size_t i, size_t, size_t t, size_t j) { expected[i] += filters[t] * image[j]; });
    ASSERT_EQ(Filter(level, sizes.image, sizes.filters, image, filters, selection), expected) << Name(sizes);
  }
}

TEST_P(FilterTest, ExactOnIntegersFloat) { ExactOnIntegers<float>(GetParam(), &random_); }
TEST_P(FilterTest, ExactOnIntegersDouble) { ExactOnIntegers<double>(GetParam(), &random_); }

TEST_P(FilterTest, AsAccurateAsItsType) {
  for (const Sizes& sizes : ManySizes()) {
    const auto image = Normal<float>(&random_, Values(sizes.image));
    const auto filters = Normal<float>(&random_, Values(sizes.filters));
    const auto selection = Selection(&random_, Pixels(sizes.image), sizes.filters.k);
    std::vector<double> expected(image.size()), magnitude(image.size());
    ForEachProduct(sizes, selection, [&](size_t i, size_t, size_t t, size_t j) {
      const double product = static_cast<double>(filters[t]) * static_cast<double>(image[j]);
      expected[i] += product;
      magnitude[i] += std::abs(product);
    });
    const auto output = Filter(GetParam(), sizes.image, sizes.filters, image, filters, selection);
    const std::vector<double> image64(image.begin(), image.end()), filters64(filters.begin(), filters.end());
    const auto output64 = Filter(GetParam(), sizes.image, sizes.filters, image64, filters64, selection);
    for (size_t i = 0; i < image.size(); ++i) {
      ASSERT_NEAR(static_cast<double>(output[i]), expected[i], 1e-6 * magnitude[i]) << Name(sizes);
      ASSERT_NEAR(output64[i], expected[i], 1e-14 * magnitude[i]) << Name(sizes);
    }
  }
}

template <typename T>
void RoundsOnce(SimdLevel level, std::mt19937* random) {
  for (const Sizes& sizes : ManySizes()) {
    const auto image = Normal<T>(random, Values(sizes.image));
    const auto filters = Normal<T>(random, Values(sizes.filters));
    const auto selection = Selection(random, Pixels(sizes.image), sizes.filters.k);
    const auto load = [](const std::vector<T>& values) {
      std::vector<float> loaded;
      for (T value : values) loaded.push_back(ToFloat(value));
      return loaded;
    };
    std::vector<T> expected;
    for (float value : Filter(level, sizes.image, sizes.filters, load(image), load(filters), selection)) {
      expected.push_back(FromFloat<T>(value));
    }
    ASSERT_TRUE(SameBits(Filter(level, sizes.image, sizes.filters, image, filters, selection), expected))
        << Name(sizes);
  }
}

TEST_P(FilterTest, HalfIsFloatRoundedOnce) { RoundsOnce<Half>(GetParam(), &random_); }
TEST_P(FilterTest, BFloat16IsFloatRoundedOnce) { RoundsOnce<BFloat16>(GetParam(), &random_); }

TEST_P(FilterTest, DoesNotDependOnThePartition) {
  for (const Sizes& sizes : ManySizes()) {
    const auto image = Normal<float>(&random_, Values(sizes.image));
    const auto filters = Normal<float>(&random_, Values(sizes.filters));
    const auto selection = Selection(&random_, Pixels(sizes.image), sizes.filters.k);
    const FilterBank<float> bank(sizes.filters, filters.data(), GetParam());
    std::vector<float> parts(image.size());
    InRanges(sizes.image.rows(), [&](int64_t begin, int64_t end) {
      FilterRows(bank, sizes.image, image.data(), selection.data(), begin, end, parts.data());
    });
    ASSERT_TRUE(SameBits(parts, Filter(GetParam(), sizes.image, sizes.filters, image, filters, selection)))
        << Name(sizes);
  }
}

TEST_P(FilterTest, NanAndInfinityStayInTheirStencil) {
  for (const auto& [r, s] : {std::pair{5, 5}, {3, 3}, {7, 7}, {1, 5}, {5, 3}, {5, 1}, {5, 6}, {6, 5}, {4, 4}, {2, 8}}) {
    const Sizes sizes = {{1, 9, 35, 2}, {3, r, s}};
    const auto clean = Normal<float>(&random_, Values(sizes.image));
    // No filter value is zero, so that each one passes a NaN on.
    std::vector<float> filters(static_cast<size_t>(Values(sizes.filters)), 0.5f);
    const auto selection = Selection(&random_, Pixels(sizes.image), 3);
    for (size_t at = 0; at < clean.size(); at += 3) {
      for (float wrong : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        auto image = clean;
        image[at] = wrong;
        std::vector<bool> reached(image.size());
        ForEachProduct(sizes, selection, [&](size_t i, size_t, size_t, size_t j) {
          if (j == at) reached[i] = true;
        });
        const auto output = Filter(GetParam(), sizes.image, sizes.filters, image, filters, selection);
        for (size_t i = 0; i < output.size(); ++i) ASSERT_EQ(!std::isfinite(output[i]), reached[i]) << r << s << at;
      }
    }
  }
}

TEST_P(FilterTest, ANanInAFilterStaysWithItsPixels) {
  const ImageShape shape = {1, 9, 35, 1};
  // Of 16 taps, filters lie without a gap.
  for (const auto& [r, s] : {std::pair{5, 5}, {5, 6}, {6, 5}, {4, 4}, {2, 8}, {2, 4}}) {
    const size_t taps = static_cast<size_t>(r * s);
    auto filters = Normal<float>(&random_, 6 * r * s);
    for (size_t t = 0; t < taps; t += 6) filters[2 * taps + t] = std::numeric_limits<float>::quiet_NaN();
    const auto image = Normal<float>(&random_, Values(shape));
    const auto selection = Selection(&random_, Pixels(shape), 6);
    const auto output = Filter(GetParam(), shape, {6, r, s}, image, filters, selection);
    for (size_t i = 0; i < output.size(); ++i) ASSERT_EQ(std::isnan(output[i]), selection[i] == 2) << r << s;
  }
}

TEST_P(FilterTest, ReportsTheFirstSelectionOutOfRange) {
  const ImageShape shape = {2, 7, 19, 1};
  const std::vector<float> image(static_cast<size_t>(Values(shape))), filters(4 * 9);
  const FilterBank<float> bank({4, 3, 3}, filters.data(), GetParam());
  for (int32_t wrong : {4, -1, 999, std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min()}) {
    for (int64_t first = 0; first < Pixels(shape); first += 5) {
      auto selection = Selection(&random_, Pixels(shape), 4);
      selection[static_cast<size_t>(first)] = wrong;
      selection[static_cast<size_t>(Pixels(shape)) - 1] = 4;
      std::vector<float> output(image.size());
      ASSERT_EQ(FilterRows(bank, shape, image.data(), selection.data(), 0, shape.rows(), output.data()), first);
      int64_t smallest = Pixels(shape);
      InRanges(shape.rows(), [&](int64_t begin, int64_t end) {
        const int64_t found = FilterRows(bank, shape, image.data(), selection.data(), begin, end, output.data());
        if (found != kSelectionInRange) smallest = std::min(smallest, found);
      });
      ASSERT_EQ(smallest, first);
    }
  }
}

TEST_P(FilterTest, NoSelectionIsInRangeOfAnEmptyBank) {
  const ImageShape shape = {1, 2, 3, 1};
  const std::vector<float> image(6);
  const FilterBank<float> bank({0, 5, 5}, nullptr, GetParam());
  for (int32_t value : {0, 1, -1, std::numeric_limits<int32_t>::max()}) {
    const std::vector<int32_t> selection(6, value);
    std::vector<float> output(6);
    EXPECT_EQ(FilterRows(bank, shape, image.data(), selection.data(), 0, 2, output.data()), 0);
  }
}

}  // namespace
}  // namespace blade
