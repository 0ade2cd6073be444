#include "cc/blade/resample.h"

#include <cmath>
#include <limits>

#include "cc/tests/test_util.h"

namespace blade {
namespace {

class ResampleTest : public testing::TestWithParam<SimdLevel> {
 protected:
  std::mt19937 random_{20261130};
};

INSTANTIATE_TEST_SUITE_P(Levels, ResampleTest, testing::ValuesIn(Levels()), LevelName);

constexpr double kFill = -77;

struct Sides {
  ImageShape image;
  FilterShape filters;
  ResampleParameters parameters;
};

constexpr Sides kSides[] = {
    {{1, 9, 40, 1}, {6, 5, 5}, {3, false, kFill}}, {{2, 8, 35, 3}, {6, 5, 5}, {3, true, kFill}},
    {{1, 7, 21, 2}, {3, 3, 5}, {2, true, kFill}},  {{1, 11, 17, 4}, {3, 5, 5}, {1, false, kFill}},
    {{1, 6, 9, 5}, {2, 3, 3}, {2, false, kFill}},  {{1, 1, 1, 1}, {1, 5, 5}, {1, false, kFill}},
    {{1, 1, 1, 3}, {1, 5, 5}, {3, false, kFill}},  {{2, 2, 3, 3}, {2, 7, 7}, {2, true, kFill}},
    {{1, 16, 3, 1}, {4, 1, 1}, {3, false, kFill}}, {{0, 4, 5, 1}, {2, 3, 3}, {1, false, kFill}},
    {{1, 4, 0, 1}, {2, 3, 3}, {1, false, kFill}},  {{1, 4, 5, 0}, {2, 3, 3}, {1, false, kFill}},
};

template <typename V>
struct Case {
  std::vector<float> image, coefficients, filters;
  std::vector<int32_t> selection;
  std::vector<V> displacement;

  Case(std::mt19937* random, const Sides& sides)
      : image(Normal<float>(random, Values(sides.image))),
        coefficients(Normal<float>(random, Values(sides.image))),
        filters(Normal<float>(random, sides.parameters.monomials() * Values(sides.filters))),
        selection(Selection(random, Pixels(sides.image), sides.filters.k)),
        displacement(Normal<V>(random, 2 * Pixels(sides.image))) {
    const V far[] = {V(1e8), V(-1e8), V(1.5), V(-0.5), V(2e9), std::numeric_limits<V>::quiet_NaN(), V(0)};
    for (size_t i = 0; i < displacement.size(); ++i) displacement[i] = i % 11 < 7 ? 3 * displacement[i] : far[i % 7];
  }
};

template <typename V>
std::vector<float> Resampled(SimdLevel level, const Sides& sides, const Case<V>& c, bool bytes = false,
                             bool whole = false) {
  std::vector<float> out(c.image.size());
  const ResampleBank bank(sides.filters, sides.parameters.monomials(), c.filters.data());
  const std::vector<uint8_t> narrow = Bytes(c.selection);
  const auto rows = [&](int64_t begin, int64_t end) {
    if (bytes) {
      ResampleRows(bank, sides.parameters, sides.image, level, c.image.data(), c.coefficients.data(), narrow.data(),
                   c.displacement.data(), begin, end, out.data());
    } else {
      ResampleRows(bank, sides.parameters, sides.image, level, c.image.data(), c.coefficients.data(),
                   c.selection.data(), c.displacement.data(), begin, end, out.data());
    }
  };
  if (!whole) {
    InRanges(sides.image.rows(), rows);
  } else if (sides.image.rows() > 0) {
    rows(0, sides.image.rows());
  }
  return out;
}

template <typename V>
void IsTheDefinition(SimdLevel level, std::mt19937* random) {
  for (const Sides& sides : kSides) {
    const Case<V> c(random, sides);
    const std::vector<float> found = Resampled(level, sides, c);
    const auto [n, h, w, channels] = sides.image;
    const FilterShape& f = sides.filters;
    const auto clamp = [](int64_t i, int64_t size) { return std::clamp<int64_t>(i, 0, size - 1); };
    for (int64_t i = 0; i < Values(sides.image); ++i) {
      const int64_t k = i % channels, pixel = i / channels, x = pixel % w, y = pixel / w % h, first = pixel / w / h * h;
      const double u = static_cast<double>(c.displacement[static_cast<size_t>(2 * pixel)]);
      const double v = static_cast<double>(c.displacement[static_cast<size_t>(2 * pixel + 1)]);
      if (!(std::abs(u) <= kUnknownDisplacement && std::abs(v) <= kUnknownDisplacement)) {
        ASSERT_EQ(static_cast<double>(found[static_cast<size_t>(i)]), kFill);
        continue;
      }
      // Of the position clamped to the image.
      const auto place = [&](double at, double start, int64_t size, int64_t* nearest) {
        *nearest = clamp(static_cast<int64_t>(start + std::nearbyint(at)), size);
        const double position = std::clamp(start + at, 0.0, static_cast<double>(size - 1));
        return position - static_cast<double>(*nearest);
      };
      int64_t px = 0, py = 0;
      const double dx = place(u, static_cast<double>(x), w, &px), dy = place(v, static_cast<double>(y), h, &py);
      const auto at = [&](const std::vector<float>& values, int64_t row, int64_t column) {
        const int64_t place = ((first + clamp(row, h)) * w + clamp(column, w)) * channels + k;
        return static_cast<double>(values[static_cast<size_t>(place)]);
      };
      const int64_t bin = c.selection[static_cast<size_t>((first + py) * w + px)];
      double expected = at(c.image, py, px), scale = std::abs(expected);
      int64_t monomial = 0;
      for (int64_t degree = sides.parameters.constant ? 0 : 1; degree <= sides.parameters.order; ++degree) {
        for (int64_t j = 0; j <= degree; ++j, ++monomial) {
          const double weight = std::pow(dx, static_cast<double>(degree - j)) * std::pow(dy, static_cast<double>(j));
          for (int64_t t = 0; t < f.taps(); ++t) {
            const double tap =
                static_cast<double>(c.filters[static_cast<size_t>((monomial * f.k + bin) * f.taps() + t)]);
            const double product = weight * tap * at(c.coefficients, py + t / f.s - f.above(), px + t % f.s - f.left());
            expected += product;
            scale += std::abs(product);
          }
        }
      }
      ASSERT_NEAR(static_cast<double>(found[static_cast<size_t>(i)]), expected, 2e-6 * scale) << i;
    }
    static_cast<void>(n);
  }
}

TEST_P(ResampleTest, IsTheDefinition) { IsTheDefinition<double>(GetParam(), &random_); }
TEST_P(ResampleTest, IsTheDefinitionFloat) { IsTheDefinition<float>(GetParam(), &random_); }

TEST_P(ResampleTest, LevelsAndSelectionsAgree) {
  for (const Sides& sides : kSides) {
    const Case<float> c(&random_, sides);
    const std::vector<float> expected = Resampled(SimdLevel::kPortable, sides, c, false, true);
    ASSERT_TRUE(SameBits(Resampled(GetParam(), sides, c), expected));
    ASSERT_TRUE(SameBits(Resampled(GetParam(), sides, c, true), expected));
  }
}

TEST_P(ResampleTest, WhatIsNotFiniteStaysInItsFootprint) {
  for (int64_t channels : {1, 2, 3, 4}) {
    const Sides sides = {{1, 9, 24, channels}, {1, 5, 5}, {1, false, kFill}};
    Case<float> c(&random_, sides);
    std::fill(c.displacement.begin(), c.displacement.end(), 0.25f);
    c.coefficients[static_cast<size_t>((4 * 24 + 12) * channels)] = std::numeric_limits<float>::infinity();
    const std::vector<float> found = Resampled(GetParam(), sides, c);
    for (int64_t i = 0; i < Values(sides.image); ++i) {
      const int64_t x = i / channels % 24, y = i / channels / 24;
      const bool near = i % channels == 0 && std::abs(x - 12) <= 2 && std::abs(y - 4) <= 2;
      ASSERT_EQ(std::isfinite(found[static_cast<size_t>(i)]), !near) << i << " of " << channels;
    }
  }
}

}  // namespace
}  // namespace blade
