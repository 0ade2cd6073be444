#include <cmath>
#include <limits>
#include <tuple>

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

// Rows [begin, end) of the gradient to the image are written with the same bits whatever rows go with them, and no
// others are.
template <typename T>
void AnyRowsGiveTheSame(SimdLevel level, std::mt19937* random) {
  for (const auto& [h, w, c] : {std::tuple{7, 21, 1}, {4, 258, 1}, {5, 33, 3}, {1, 40, 1}, {2, 7, 2}}) {
    for (const FilterShape& filter_shape : {FilterShape{9, 5, 5}, {9, 3, 3}}) {
      const ImageShape shape = {2, h, w, c};
      const auto grad = Normal<T>(random, Values(shape)), filters = Normal<T>(random, Values(filter_shape));
      const auto selection = Selection(random, Pixels(shape), filter_shape.k);
      const auto expected = GradImage(level, shape, filter_shape, filters, selection, grad);
      const FilterBank<T> bank(filter_shape, filters.data(), level);
      ForEachRange(shape.rows(), [&](int64_t begin, int64_t end) {
        const auto before = Normal<T>(random, Values(shape));
        auto output = before, wanted = before;
        std::copy(expected.begin() + begin * w * c, expected.begin() + end * w * c, wanted.begin() + begin * w * c);
        FilterGradImageRows(bank, shape, selection.data(), grad.data(), begin, end, output.data());
        ASSERT_TRUE(SameBits(output, wanted)) << h << " " << w << " " << c << ", rows " << begin << " to " << end;
      });
    }
  }
}

TEST_P(GradientTest, AnyRowsGiveTheSameFloat) { AnyRowsGiveTheSame<float>(GetParam(), &random_); }
TEST_P(GradientTest, AnyRowsGiveTheSameDouble) { AnyRowsGiveTheSame<double>(GetParam(), &random_); }
TEST_P(GradientTest, AnyRowsGiveTheSameHalf) { AnyRowsGiveTheSame<Half>(GetParam(), &random_); }
TEST_P(GradientTest, AnyRowsGiveTheSameBFloat16) { AnyRowsGiveTheSame<BFloat16>(GetParam(), &random_); }

// The sums over rows [begin, end) contain the pixels of these rows, exactly where every number is an integer.
TEST_P(GradientTest, SumsOverAnyRows) {
  for (const auto& [h, w, c] : {std::tuple{7, 21, 1}, {4, 258, 1}, {3, 33, 3}, {1, 40, 1}}) {
    const Sizes sizes = {{2, h, w, c}, {9, 5, 5}};
    const auto image = Integers<float>(&random_, Values(sizes.image)),
               grad = Integers<float>(&random_, Values(sizes.image));
    const auto selection = Selection(&random_, Pixels(sizes.image), 9);
    std::vector<double> sums(static_cast<size_t>(GradFiltersBlocks(sizes.image, sizes.filters).size()));
    ForEachRange(sizes.image.rows(), [&](int64_t begin, int64_t end) {
      std::vector<float> expected(225), found(225);
      ForEachProduct(sizes, selection, [&](size_t i, size_t, size_t t, size_t j) {
        const int64_t row = static_cast<int64_t>(i) / (w * c);
        if (begin <= row && row < end) expected[t] += image[j] * grad[i];
      });
      FilterGradFiltersRows(sizes.filters, GetParam(), sizes.image, image.data(), selection.data(), grad.data(), begin,
                            end, sums.data());
      FilterGradFiltersReduce(sizes.filters, sums.data(), 1, 0, 9, found.data());
      ASSERT_EQ(found, expected) << Name(sizes) << ", rows " << begin << " to " << end;
    });
  }
}

TEST_P(GradientTest, SelectionsOfOneByteGiveTheSame) {
  for (const Sizes& sizes : ManySizes()) {
    const auto image = Normal<float>(&random_, Values(sizes.image)),
               grad = Normal<float>(&random_, Values(sizes.image));
    const auto filters = Normal<float>(&random_, Values(sizes.filters));
    const auto selection = Selection(&random_, Pixels(sizes.image), std::min<int64_t>(sizes.filters.k, 256));
    ASSERT_TRUE(SameBits(GradImage(GetParam(), sizes.image, sizes.filters, filters, Bytes(selection), grad),
                         GradImage(GetParam(), sizes.image, sizes.filters, filters, selection, grad)))
        << Name(sizes);
    ASSERT_TRUE(SameBits(GradFilters(GetParam(), sizes.image, sizes.filters, image, Bytes(selection), grad),
                         GradFilters(GetParam(), sizes.image, sizes.filters, image, selection, grad)))
        << Name(sizes);
  }
}

// Beside the borders of runs of 256 columns and in either row of a pair: of the gradient, to the image and the filters;
// of the image, to the filters.
TEST_P(GradientTest, NanAndInfinityStayInTheirStencilAcrossRuns) {
  for (const auto& [h, w, c] : {std::tuple{5, 520, 1}, {3, 258, 3}, {6, 261, 1}}) {
    const Sizes sizes = {{1, h, w, c}, {40, 5, 5}};
    const auto image = Normal<float>(&random_, Values(sizes.image)),
               grad = Normal<float>(&random_, Values(sizes.image));
    const auto filters = Normal<float>(&random_, Values(sizes.filters));
    const auto selection = Selection(&random_, Pixels(sizes.image), 40);
    for (int64_t y = 0; y < h; ++y) {
      for (int64_t x : {0, 253, 255, 256, 257, 511, 512, 519}) {
        if (x >= w) continue;
        const size_t at = static_cast<size_t>((y * w + x) * c + x % c);
        for (float wrong : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
          auto bad_grad = grad, bad_image = image;
          bad_grad[at] = bad_image[at] = wrong;
          std::vector<bool> to_image(image.size()), to_filters(filters.size()), image_to_filters(filters.size());
          ForEachProduct(sizes, selection, [&](size_t i, size_t, size_t t, size_t j) {
            if (i == at) to_image[j] = to_filters[t] = true;
            if (j == at) image_to_filters[t] = true;
          });
          const auto compare = [&](const std::vector<float>& found, const std::vector<bool>& reached) {
            for (size_t i = 0; i < found.size(); ++i)
              ASSERT_EQ(!std::isfinite(found[i]), reached[i]) << at << ": " << i;
          };
          compare(GradImage(GetParam(), sizes.image, sizes.filters, filters, selection, bad_grad), to_image);
          compare(GradFilters(GetParam(), sizes.image, sizes.filters, image, selection, bad_grad), to_filters);
          compare(GradFilters(GetParam(), sizes.image, sizes.filters, bad_image, selection, grad), image_to_filters);
        }
      }
    }
  }
}

TEST_P(GradientTest, NanAndInfinityInATapStayWithItsPixels) {
  const Sizes sizes = {{1, 5, 300, 1}, {40, 5, 5}};
  for (size_t tap = 0; tap < 25; ++tap) {
    for (float wrong : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      auto filters = Normal<float>(&random_, Values(sizes.filters));
      filters[3 * 25 + tap] = wrong;
      const auto grad = Normal<float>(&random_, Values(sizes.image));
      const auto selection = Selection(&random_, Pixels(sizes.image), 40);
      std::vector<bool> reached(grad.size());
      ForEachProduct(sizes, selection, [&](size_t, size_t, size_t t, size_t j) {
        if (t == 3 * 25 + tap) reached[j] = true;
      });
      const auto found = GradImage(GetParam(), sizes.image, sizes.filters, filters, selection, grad);
      for (size_t i = 0; i < found.size(); ++i) ASSERT_EQ(!std::isfinite(found[i]), reached[i]) << tap << ": " << i;
    }
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

// The rows that the gradient to the image reads are its own and those within the footprints' reach of them; of the
// others none is looked at.
template <typename S>
void ReportsWhatIsWrongInReach(SimdLevel level, std::mt19937* random, const FilterShape& filter_shape, S wrong) {
  for (const auto& [h, w] : {std::pair{5, 260}, {7, 17}, {2, 8}}) {
    const ImageShape shape = {2, h, w, 1};
    const std::vector<float> image(static_cast<size_t>(Values(shape))),
        filters(static_cast<size_t>(Values(filter_shape)));
    const FilterBank<float> bank(filter_shape, filters.data(), level);
    const GradFiltersBlocks blocks(shape, filter_shape);
    std::vector<double> sums(static_cast<size_t>(blocks.size()));
    std::vector<float> output(image.size());
    for (int64_t first = 0; first < Pixels(shape); first += 1 + 4 * w / 3) {
      const auto good = Selection(random, Pixels(shape), filter_shape.k);
      std::vector<S> selection(good.begin(), good.end());
      const int64_t second = std::min<int64_t>(first + 3 * w / 4, Pixels(shape) - 1);
      selection[static_cast<size_t>(first)] = selection[static_cast<size_t>(second)] = wrong;
      ForEachRange(shape.rows(), [&](int64_t begin, int64_t end) {
        const auto expected = [&](int64_t from, int64_t to) {
          const auto inside = [&](int64_t at) { return from * w <= at && at < to * w; };
          return inside(first) ? first : inside(second) ? second : kSelectionInRange;
        };
        // Of their exact size, for the address sanitizer to see a read beyond them.
        const auto rows = [&](int64_t from, int64_t to) {
          return std::vector<S>(selection.begin() + from * w, selection.begin() + to * w);
        };
        const auto own = rows(begin, end);
        ASSERT_EQ(FilterGradFiltersRows(filter_shape, level, shape, image.data(), own.data() - begin * w, image.data(),
                                        begin, end, sums.data()),
                  expected(begin, end))
            << begin << " " << end;
        const int64_t above = std::max(begin - filter_shape.below(), begin / h * h);
        const int64_t below = std::min(end + filter_shape.above(), ((end - 1) / h + 1) * h);
        const auto reached = rows(above, below);
        ASSERT_EQ(FilterGradImageRows(bank, shape, reached.data() - above * w, image.data(), begin, end, output.data()),
                  expected(above, below))
            << begin << " " << end;
      });
    }
  }
}

TEST_P(GradientTest, ReportsWhatIsWrongInReach) {
  for (const FilterShape& filter_shape : {FilterShape{4, 5, 5}, {4, 3, 3}}) {
    for (int32_t wrong : {4, -1, std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min()})
      ReportsWhatIsWrongInReach<int32_t>(GetParam(), &random_, filter_shape, wrong);
    ReportsWhatIsWrongInReach<uint8_t>(GetParam(), &random_, filter_shape, 4);
  }
  ReportsWhatIsWrongInReach<uint8_t>(GetParam(), &random_, {255, 5, 5}, 255);
}

TEST_P(GradientTest, NoSelectionIsInRangeOfAnEmptyBank) {
  const ImageShape shape = {1, 3, 5, 1};
  const std::vector<float> image(15);
  const std::vector<uint8_t> selection(15, 0);
  const FilterBank<float> bank({0, 5, 5}, nullptr, GetParam());
  std::vector<float> output(15);
  std::vector<double> sums;
  EXPECT_EQ(FilterGradImageRows(bank, shape, selection.data(), image.data(), 0, 3, output.data()), 0);
  EXPECT_EQ(FilterGradFiltersRows({0, 5, 5}, GetParam(), shape, image.data(), selection.data(), image.data(), 0, 3,
                                  sums.data()),
            0);
}

// A flat image puts all pixels into one sum, which a single float would lose digits of: each addition of a value that
// is no power of two rounds the same way.
TEST_P(GradientTest, LongSumsKeepTheirDigits) {
  for (const auto& [shape, r] :
       {std::pair{ImageShape{1, 450, 450, 1}, 3}, {ImageShape{1, 450, 450, 1}, 5}, {ImageShape{1, 201, 333, 3}, 5}}) {
    for (float value : {0.1f, 1 / 3.0f, 0.7f, 1.37f}) {
      const size_t size = static_cast<size_t>(Values(shape));
      const std::vector<float> image(size, value), grad(size, 0.7f);
      const std::vector<uint8_t> selection(static_cast<size_t>(Pixels(shape)), 1);
      const double expected = static_cast<double>(size) * static_cast<double>(value) * static_cast<double>(0.7f);
      const auto filters_grad = GradFilters(GetParam(), shape, {3, r, r}, image, selection, grad);
      const size_t taps = static_cast<size_t>(r * r);
      for (size_t t = taps; t < 2 * taps; ++t)
        ASSERT_NEAR(static_cast<double>(filters_grad[t]) / expected, 1, kGradFiltersError) << r << ", " << value;
    }
  }
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
