#include <cmath>
#include <limits>

#include "cc/tests/test_util.h"

namespace blade {
namespace {

class GradientTest : public testing::TestWithParam<SimdLevel> {
 protected:
  std::mt19937 random_{20211016};
};

INSTANTIATE_TEST_SUITE_P(Levels, GradientTest, testing::ValuesIn(Levels()), LevelName);

template <typename T>
double Inner(const std::vector<T>& a, const std::vector<T>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

// <F(z, h), g> = <z, dz(h, g)> = <h, dh(z, g)>, exact where every number is an integer.
template <typename T>
void AdjointOnIntegers(SimdLevel level, std::mt19937* random) {
  for (const Sizes& sizes : ManySizes()) {
    const auto image = Integers<T>(random, Values(sizes.image)), grad = Integers<T>(random, Values(sizes.image));
    const auto filters = Integers<T>(random, Values(sizes.filters));
    const auto selection = Selection(random, Pixels(sizes.image), sizes.filters.k);
    const double inner = Inner(Filter(level, sizes.image, sizes.filters, image, filters, selection), grad);
    EXPECT_EQ(inner, Inner(image, GradImage(level, sizes.image, sizes.filters, filters, selection, grad)))
        << Name(sizes);
    EXPECT_EQ(inner, Inner(filters, GradFilters(level, sizes.image, sizes.filters, image, selection, grad)))
        << Name(sizes);
  }
}

TEST_P(GradientTest, AdjointOnIntegersFloat) { AdjointOnIntegers<float>(GetParam(), &random_); }
TEST_P(GradientTest, AdjointOnIntegersDouble) { AdjointOnIntegers<double>(GetParam(), &random_); }

template <typename T>
void ExactOnIntegers(SimdLevel level, std::mt19937* random) {
  for (const Sizes& sizes : ManySizes()) {
    const auto image = Integers<T>(random, Values(sizes.image)), grad = Integers<T>(random, Values(sizes.image));
    const auto filters = Integers<T>(random, Values(sizes.filters));
    const auto selection = Selection(random, Pixels(sizes.image), sizes.filters.k);
    std::vector<T> image_grad(image.size()), filters_grad(filters.size());
    ForEachProduct(sizes, selection, [&](size_t i, size_t, size_t t, size_t j) {
      image_grad[j] += filters[t] * grad[i];
      filters_grad[t] += image[j] * grad[i];
    });
    ASSERT_EQ(GradImage(level, sizes.image, sizes.filters, filters, selection, grad), image_grad) << Name(sizes);
    ASSERT_EQ(GradFilters(level, sizes.image, sizes.filters, image, selection, grad), filters_grad) << Name(sizes);
  }
}

TEST_P(GradientTest, ExactOnIntegersFloat) { ExactOnIntegers<float>(GetParam(), &random_); }
TEST_P(GradientTest, ExactOnIntegersDouble) { ExactOnIntegers<double>(GetParam(), &random_); }

// The gradient of a shift moves each value back, and piles up at the border what was replicated from there.
TEST_P(GradientTest, OfAShift) {
  const ImageShape shape = {1, 1, 6, 1};
  const std::vector<float> filters = {1, 0, 0, 0, 0}, grad = {1, 2, 4, 8, 16, 32};
  const std::vector<int32_t> selection(6, 0);
  const std::vector<float> expected = {1 + 2 + 4, 8, 16, 32, 0, 0};
  EXPECT_EQ(GradImage(GetParam(), shape, {1, 1, 5}, filters, selection, grad), expected);
  const std::vector<float> image = {1, 10, 100, 1000, 10000, 100000};
  const std::vector<float> by_taps = {
      1 * 7 + 8 * 10 + 16 * 100 + 32 * 1000, 1 * 3 + 4 * 10 + 8 * 100 + 16 * 1000 + 32 * 10000,
      1 + 20 + 400 + 8000 + 160000 + 3200000, 10 + 200 + 4000 + 80000 + 48 * 100000, 100 + 2000 + 40000 + 56 * 100000};
  EXPECT_EQ(GradFilters(GetParam(), shape, {1, 1, 5}, image, selection, grad), by_taps);
}

// The same of a footprint centred on the face x + 1/2: from one column before to two after the pixel.
TEST_P(GradientTest, OfAShiftOfEvenSize) {
  const ImageShape shape = {1, 1, 6, 1};
  const std::vector<int32_t> selection(6, 0);
  const std::vector<float> grad = {1, 2, 4, 8, 16, 32}, image = {1, 10, 100, 1000, 10000, 100000};
  EXPECT_EQ(GradImage(GetParam(), shape, {1, 1, 4}, {1, 0, 0, 0}, selection, grad),
            (std::vector<float>{1 + 2, 4, 8, 16, 32, 0}));
  EXPECT_EQ(GradImage(GetParam(), shape, {1, 1, 4}, {0, 0, 0, 1}, selection, grad),
            (std::vector<float>{0, 0, 1, 2, 4, 8 + 16 + 32}));
  EXPECT_EQ(
      GradFilters(GetParam(), shape, {1, 1, 4}, image, selection, grad),
      (std::vector<float>{3 * 1 + 4 * 10 + 8 * 100 + 16 * 1000 + 32 * 10000, 1 + 20 + 400 + 8000 + 160000 + 3200000,
                          10 + 200 + 4000 + 80000 + 48 * 100000, 100 + 2000 + 40000 + 56 * 100000}));
}

template <typename T>
void RoundsOnce(SimdLevel level, std::mt19937* random) {
  const auto load = [](const std::vector<T>& values) {
    std::vector<float> loaded;
    for (T value : values) loaded.push_back(ToFloat(value));
    return loaded;
  };
  const auto round = [](const std::vector<float>& values) {
    std::vector<T> rounded;
    for (float value : values) rounded.push_back(FromFloat<T>(value));
    return rounded;
  };
  for (const Sizes& sizes : ManySizes()) {
    const auto image = Normal<T>(random, Values(sizes.image)), grad = Normal<T>(random, Values(sizes.image));
    const auto filters = Normal<T>(random, Values(sizes.filters));
    const auto selection = Selection(random, Pixels(sizes.image), sizes.filters.k);
    ASSERT_TRUE(SameBits(GradImage(level, sizes.image, sizes.filters, filters, selection, grad),
                         round(GradImage(level, sizes.image, sizes.filters, load(filters), selection, load(grad)))))
        << Name(sizes);
    ASSERT_TRUE(SameBits(GradFilters(level, sizes.image, sizes.filters, image, selection, grad),
                         round(GradFilters(level, sizes.image, sizes.filters, load(image), selection, load(grad)))))
        << Name(sizes);
  }
}

TEST_P(GradientTest, HalfIsFloatRoundedOnce) { RoundsOnce<Half>(GetParam(), &random_); }
TEST_P(GradientTest, BFloat16IsFloatRoundedOnce) { RoundsOnce<BFloat16>(GetParam(), &random_); }

TEST_P(GradientTest, ToTheImageDoesNotDependOnThePartition) {
  for (const Sizes& sizes : ManySizes()) {
    const auto filters = Normal<float>(&random_, Values(sizes.filters));
    const auto grad = Normal<float>(&random_, Values(sizes.image));
    const auto selection = Selection(&random_, Pixels(sizes.image), sizes.filters.k);
    const FilterBank<float> bank(sizes.filters, filters.data(), GetParam());
    std::vector<float> parts(grad.size());
    InRanges(sizes.image.rows(), [&](int64_t begin, int64_t end) {
      FilterGradImageRows(bank, sizes.image, selection.data(), grad.data(), begin, end, parts.data());
    });
    ASSERT_TRUE(SameBits(parts, GradImage(GetParam(), sizes.image, sizes.filters, filters, selection, grad)))
        << Name(sizes);
  }
}

TEST_P(GradientTest, NanStaysInItsStencil) {
  for (const auto& [r, s] : {std::pair{5, 5}, {3, 3}, {7, 7}, {1, 5}, {5, 3}, {5, 1}, {5, 6}, {6, 5}, {4, 4}, {2, 8}}) {
    const Sizes sizes = {{1, 8, 35, 2}, {5, r, s}};
    const auto image = Normal<float>(&random_, Values(sizes.image)),
               clean = Normal<float>(&random_, Values(sizes.image));
    const auto filters = Normal<float>(&random_, Values(sizes.filters));
    const auto selection = Selection(&random_, Pixels(sizes.image), 5);
    for (size_t at = 0; at < clean.size(); at += 7) {
      auto grad = clean;
      grad[at] = std::numeric_limits<float>::quiet_NaN();
      std::vector<bool> image_reached(image.size()), filter_reached(filters.size());
      ForEachProduct(sizes, selection, [&](size_t i, size_t, size_t t, size_t j) {
        if (i == at) image_reached[j] = filter_reached[t] = true;
      });
      const auto image_grad = GradImage(GetParam(), sizes.image, sizes.filters, filters, selection, grad);
      const auto filters_grad = GradFilters(GetParam(), sizes.image, sizes.filters, image, selection, grad);
      for (size_t i = 0; i < image.size(); ++i) ASSERT_EQ(std::isnan(image_grad[i]), image_reached[i]) << r << s << at;
      for (size_t i = 0; i < filters.size(); ++i)
        ASSERT_EQ(std::isnan(filters_grad[i]), filter_reached[i]) << r << s << at;
    }
  }
}

TEST_P(GradientTest, ReportsTheFirstSelectionOutOfRange) {
  const ImageShape shape = {2, 7, 19, 1};
  const FilterShape filter_shape = {4, 5, 5};
  const std::vector<float> image(static_cast<size_t>(Values(shape))), filters(100);
  const FilterBank<float> bank(filter_shape, filters.data(), GetParam());
  const GradFiltersBlocks blocks(shape, filter_shape);
  std::vector<double> sums(static_cast<size_t>(blocks.size()));
  for (int64_t first = 0; first < Pixels(shape); first += 5) {
    auto selection = Selection(&random_, Pixels(shape), 4);
    selection[static_cast<size_t>(first)] = 4;
    selection[static_cast<size_t>(Pixels(shape)) - 1] = -7;
    std::vector<float> output(image.size());
    int64_t to_image = Pixels(shape), to_filters = Pixels(shape);
    InRanges(shape.rows(), [&](int64_t begin, int64_t end) {
      const int64_t a = FilterGradImageRows(bank, shape, selection.data(), image.data(), begin, end, output.data());
      const int64_t b = FilterGradFiltersRows(filter_shape, GetParam(), shape, image.data(), selection.data(),
                                              image.data(), begin, end, sums.data());
      if (a != kSelectionInRange) to_image = std::min(to_image, a);
      if (b != kSelectionInRange) to_filters = std::min(to_filters, b);
    });
    ASSERT_EQ(to_image, first);
    ASSERT_EQ(to_filters, first);
  }
}

// A flat image puts all pixels into one sum, which a single float would lose digits of.
TEST_P(GradientTest, LongSumsKeepTheirDigits) {
  const ImageShape shape = {1, 700, 700, 1};
  const std::vector<float> image(490000, 0.1f), grad(490000, 0.7f);
  const std::vector<int32_t> selection(490000, 1);
  const double expected = 490000.0 * static_cast<double>(0.1f) * static_cast<double>(0.7f);
  const auto filters_grad = GradFilters(GetParam(), shape, {3, 3, 3}, image, selection, grad);
  for (size_t t = 9; t < 18; ++t) EXPECT_NEAR(static_cast<double>(filters_grad[t]), expected, 1e-6 * expected);
}

TEST(GradFiltersBlocksTest, CoverTheRowsInOrder) {
  for (const ImageShape& shape : {ImageShape{1, 512, 768, 1},
                                  {4, 128, 128, 3},
                                  {1, 1, 1000000, 1},
                                  {100000, 1, 1, 1},
                                  {64, 256, 256, 1},
                                  {0, 3, 3, 1},
                                  {2, 3, 0, 1},
                                  {1, 7, 7, 0}}) {
    for (int64_t k : {0, 1, 216, 1000000}) {
      const GradFiltersBlocks blocks(shape, {k, 5, 5});
      ASSERT_GE(blocks.count(), 1);
      ASSERT_LE(blocks.count(), 64);
      ASSERT_EQ(blocks.begin(0), 0);
      ASSERT_EQ(blocks.end(blocks.count() - 1), shape.rows());
      for (int64_t block = 0; block < blocks.count(); ++block) {
        ASSERT_TRUE(blocks.begin(block) < blocks.end(block) || shape.rows() == 0);
      }
    }
  }
}

}  // namespace
}  // namespace blade
