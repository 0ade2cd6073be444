#include <cmath>
#include <limits>
#include <tuple>

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

// Rows [begin, end) are written with the same bits whatever rows go with them, and no others are.
template <typename T>
void AnyRowsGiveTheSame(SimdLevel level, std::mt19937* random) {
  for (const auto& [h, w, c] : {std::tuple{7, 21, 1}, {4, 258, 1}, {5, 33, 3}, {1, 40, 1}, {2, 7, 2}}) {
    for (const FilterShape& filter_shape : {FilterShape{9, 5, 5}, {9, 3, 3}}) {
      const ImageShape shape = {2, h, w, c};
      const auto image = Normal<T>(random, Values(shape)), filters = Normal<T>(random, Values(filter_shape));
      const auto selection = Selection(random, Pixels(shape), filter_shape.k);
      const auto expected = Filter(level, shape, filter_shape, image, filters, selection);
      const FilterBank<T> bank(filter_shape, filters.data(), level);
      ForEachRange(shape.rows(), [&](int64_t begin, int64_t end) {
        const auto before = Normal<T>(random, Values(shape));
        auto output = before, wanted = before;
        std::copy(expected.begin() + begin * w * c, expected.begin() + end * w * c, wanted.begin() + begin * w * c);
        FilterRows(bank, shape, image.data(), selection.data(), begin, end, output.data());
        ASSERT_TRUE(SameBits(output, wanted)) << h << " " << w << " " << c << ", rows " << begin << " to " << end;
      });
    }
  }
}

TEST_P(FilterTest, AnyRowsGiveTheSameFloat) { AnyRowsGiveTheSame<float>(GetParam(), &random_); }
TEST_P(FilterTest, AnyRowsGiveTheSameDouble) { AnyRowsGiveTheSame<double>(GetParam(), &random_); }
TEST_P(FilterTest, AnyRowsGiveTheSameHalf) { AnyRowsGiveTheSame<Half>(GetParam(), &random_); }
TEST_P(FilterTest, AnyRowsGiveTheSameBFloat16) { AnyRowsGiveTheSame<BFloat16>(GetParam(), &random_); }

TEST_P(FilterTest, SelectionsOfOneByteGiveTheSame) {
  for (const Sizes& sizes : ManySizes()) {
    const auto image = Normal<float>(&random_, Values(sizes.image));
    const auto filters = Normal<float>(&random_, Values(sizes.filters));
    const auto selection = Selection(&random_, Pixels(sizes.image), std::min<int64_t>(sizes.filters.k, 256));
    ASSERT_TRUE(SameBits(Filter(GetParam(), sizes.image, sizes.filters, image, filters, Bytes(selection)),
                         Filter(GetParam(), sizes.image, sizes.filters, image, filters, selection)))
        << Name(sizes);
  }
}

// Beside the borders of runs of 256 columns and in either row of a pair.
TEST_P(FilterTest, NanAndInfinityStayInTheirStencilAcrossRuns) {
  for (const auto& [h, w, c] : {std::tuple{5, 520, 1}, {3, 258, 3}, {6, 261, 1}}) {
    const Sizes sizes = {{1, h, w, c}, {3, 5, 5}};
    const auto clean = Normal<float>(&random_, Values(sizes.image));
    const std::vector<float> filters(static_cast<size_t>(Values(sizes.filters)), 0.5f);
    const auto selection = Selection(&random_, Pixels(sizes.image), 3);
    for (int64_t y = 0; y < h; ++y) {
      for (int64_t x : {0, 250, 253, 254, 255, 256, 257, 510, 511, 512, 515, 519}) {
        if (x >= w) continue;
        const int64_t at = (y * w + x) * c + x % c;
        for (float wrong : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
          auto image = clean;
          image[static_cast<size_t>(at)] = wrong;
          const auto output = Filter(GetParam(), sizes.image, sizes.filters, image, filters, selection);
          for (int64_t i = 0; i < Values(sizes.image); ++i) {
            const bool reached = i % c == at % c && std::abs(i / c % w - x) <= 2 && std::abs(i / (c * w) - y) <= 2;
            ASSERT_EQ(!std::isfinite(output[static_cast<size_t>(i)]), reached) << i << " from " << at;
          }
        }
      }
    }
  }
}

TEST_P(FilterTest, NanAndInfinityInATapStayWithItsPixels) {
  const ImageShape shape = {1, 5, 300, 1};
  for (size_t tap = 0; tap < 25; ++tap) {
    for (float wrong : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      auto filters = Normal<float>(&random_, 6 * 25);
      filters[3 * 25 + tap] = wrong;
      const auto image = Normal<float>(&random_, Values(shape));
      const auto selection = Selection(&random_, Pixels(shape), 6);
      const auto output = Filter(GetParam(), shape, {6, 5, 5}, image, filters, selection);
      for (size_t i = 0; i < output.size(); ++i) ASSERT_EQ(std::isfinite(output[i]), selection[i] != 3) << tap;
    }
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

// Values outside are looked for in the rows that are asked for, no others: with any rows, at any column.
template <typename S>
void ReportsWhatIsWrongInItsRows(SimdLevel level, std::mt19937* random, const FilterShape& filter_shape, S wrong) {
  for (const auto& [h, w] : {std::pair{3, 300}, {5, 17}, {4, 8}}) {
    const ImageShape shape = {2, h, w, 2};
    const std::vector<float> image(static_cast<size_t>(Values(shape))),
        filters(static_cast<size_t>(Values(filter_shape)));
    const FilterBank<float> bank(filter_shape, filters.data(), level);
    std::vector<float> output(image.size());
    for (int64_t first = 0; first < Pixels(shape); first += 1 + w / 4) {
      const auto good = Selection(random, Pixels(shape), filter_shape.k);
      std::vector<S> selection(good.begin(), good.end());
      const int64_t second = std::min<int64_t>(first + 3 * w / 4, Pixels(shape) - 1);
      selection[static_cast<size_t>(first)] = selection[static_cast<size_t>(second)] = wrong;
      ForEachRange(shape.rows(), [&](int64_t begin, int64_t end) {
        const auto inside = [&](int64_t at) { return begin * w <= at && at < end * w; };
        // Of their exact size, for the address sanitizer to see a read beyond them.
        const std::vector<S> rows(selection.begin() + begin * w, selection.begin() + end * w);
        const int64_t found = FilterRows(bank, shape, image.data(), rows.data() - begin * w, begin, end, output.data());
        ASSERT_EQ(found, inside(first) ? first : inside(second) ? second : kSelectionInRange) << begin << " " << end;
      });
    }
  }
}

TEST_P(FilterTest, ReportsWhatIsWrongInItsRows) {
  for (const FilterShape& filter_shape : {FilterShape{4, 5, 5}, {4, 3, 3}}) {
    for (int32_t wrong : {4, -1, std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min()})
      ReportsWhatIsWrongInItsRows<int32_t>(GetParam(), &random_, filter_shape, wrong);
    for (uint8_t wrong : {uint8_t{4}, uint8_t{255}})
      ReportsWhatIsWrongInItsRows<uint8_t>(GetParam(), &random_, filter_shape, wrong);
  }
  ReportsWhatIsWrongInItsRows<uint8_t>(GetParam(), &random_, {255, 5, 5}, 255);
}

TEST_P(FilterTest, NoSelectionIsInRangeOfAnEmptyBank) {
  const ImageShape shape = {1, 2, 3, 1};
  const std::vector<float> image(6);
  const FilterBank<float> bank({0, 5, 5}, nullptr, GetParam());
  for (uint8_t value : {uint8_t{0}, uint8_t{255}}) {
    const std::vector<uint8_t> selection(6, value);
    std::vector<float> output(6);
    EXPECT_EQ(FilterRows(bank, shape, image.data(), selection.data(), 0, 2, output.data()), 0);
  }
  for (int32_t value : {0, 1, -1, std::numeric_limits<int32_t>::max()}) {
    const std::vector<int32_t> selection(6, value);
    std::vector<float> output(6);
    EXPECT_EQ(FilterRows(bank, shape, image.data(), selection.data(), 0, 2, output.data()), 0);
  }
}

}  // namespace
}  // namespace blade
