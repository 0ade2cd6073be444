#include "cc/blade/convolve.h"

#include <cmath>
#include <cstdlib>
#include <limits>
#include <utility>

#include "cc/tests/test_util.h"

namespace blade {
namespace {

class ConvolveTest : public testing::TestWithParam<SimdLevel> {
 protected:
  std::mt19937 random_{20261129};
};

INSTANTIATE_TEST_SUITE_P(Levels, ConvolveTest, testing::ValuesIn(Levels()), LevelName);

constexpr ImageShape kShapes[] = {{1, 1, 1, 1},  {2, 3, 2, 3},  {1, 7, 19, 1}, {2, 1, 40, 2},
                                  {1, 40, 1, 1}, {1, 9, 70, 3}, {1, 8, 12, 2}, {1, 4, 4, 1},
                                  {0, 3, 4, 1},  {2, 0, 4, 1},  {2, 3, 0, 1},  {2, 3, 4, 0}};
constexpr std::pair<int64_t, int64_t> kKernels[] = {{1, 1}, {3, 3}, {5, 1}, {1, 7}, {2, 4}, {4, 3}, {11, 9}, {1, 2}};

int64_t Inside(Border border, int64_t i, int64_t size) {
  while (border == Border::kPeriodic && i < 0) i += size;
  return border == Border::kPeriodic ? i % size : std::clamp<int64_t>(i, 0, size - 1);
}

// Of what the strides keep.
ImageShape Kept(const ConvolveParameters& p, const ImageShape& shape) {
  return {shape.n, shape.h / p.y.factor, shape.w / p.x.factor, shape.c};
}

// The definition: visit(output, tap, input) for each product.
template <typename Visit>
void ForEachProduct(const ConvolveParameters& p, const ImageShape& shape, const Visit& visit) {
  const auto [n, h, w, c] = shape;
  const ImageShape kept = Kept(p, shape);
  for (int64_t i = 0; i < Values(kept); ++i) {
    const int64_t channel = i % c, pixel = i / c, image = pixel / (kept.w * kept.h);
    const int64_t x = p.x.offset + p.x.factor * (pixel % kept.w);
    const int64_t y = p.y.offset + p.y.factor * (pixel / kept.w % kept.h);
    for (int64_t t = 0; t < p.r * p.s; ++t) {
      const int64_t v = Inside(p.border, y - t / p.s + (p.r - 1) / 2, h);
      const int64_t u = Inside(p.border, x - t % p.s + (p.s - 1) / 2, w);
      visit(static_cast<size_t>(i), static_cast<size_t>(t),
            static_cast<size_t>(((image * h + v) * w + u) * c + channel));
    }
  }
  static_cast<void>(n);
}

template <typename Check>
void ForEachCase(const Check& check) {
  constexpr Stride kStrides[] = {{1, 0}, {2, 1}, {3, 0}, {4, 2}};
  for (const ImageShape& shape : kShapes) {
    for (const auto& [r, s] : kKernels) {
      for (Border border : {Border::kReplicate, Border::kPeriodic}) {
        for (bool transposed : {false, true}) {
          for (const Stride& y : kStrides) {
            for (const Stride& x : kStrides) {
              if (shape.h % y.factor == 0 && shape.w % x.factor == 0)
                check(ConvolveParameters{r, s, border, transposed, y, x}, shape);
            }
          }
        }
      }
    }
  }
}

template <typename F>
void IsTheDefinition(SimdLevel level, std::mt19937* random) {
  ForEachCase([&](const ConvolveParameters& p, const ImageShape& shape) {
    const ImageShape from = p.transposed ? Kept(p, shape) : shape, to = p.transposed ? shape : Kept(p, shape);
    const auto kernel = Integers<F>(random, p.r * p.s), image = Integers<F>(random, Values(from));
    std::vector<F> expected(static_cast<size_t>(Values(to))), found(expected.size(), F(-1));
    ForEachProduct(p, shape, [&](size_t output, size_t tap, size_t input) {
      if (p.transposed) std::swap(output, input);
      expected[output] += kernel[tap] * image[input];
    });
    if (to.rows() > 0) ConvolveRows(p, shape, level, kernel.data(), image.data(), 0, to.rows(), found.data());
    ASSERT_EQ(found, expected) << p.r << " x " << p.s << ", transposed " << p.transposed << ", " << shape.h << " x "
                               << shape.w;
  });
}

TEST_P(ConvolveTest, IsTheDefinitionFloat) { IsTheDefinition<float>(GetParam(), &random_); }
TEST_P(ConvolveTest, IsTheDefinitionDouble) { IsTheDefinition<double>(GetParam(), &random_); }

TEST_P(ConvolveTest, LevelsAndRangesAgree) {
  ForEachCase([&](const ConvolveParameters& p, const ImageShape& shape) {
    const ImageShape from = p.transposed ? Kept(p, shape) : shape, to = p.transposed ? shape : Kept(p, shape);
    const auto kernel = Normal<float>(&random_, p.r * p.s), image = Normal<float>(&random_, Values(from));
    std::vector<float> whole(static_cast<size_t>(Values(to))), parts(whole.size());
    if (to.rows() > 0)
      ConvolveRows(p, shape, SimdLevel::kPortable, kernel.data(), image.data(), 0, to.rows(), whole.data());
    InRanges(to.rows(), [&](int64_t begin, int64_t end) {
      ConvolveRows(p, shape, GetParam(), kernel.data(), image.data(), begin, end, parts.data());
    });
    ASSERT_TRUE(SameBits(whole, parts));
  });
}

TEST_P(ConvolveTest, WhatIsNotFiniteStaysInItsFootprint) {
  const ImageShape shape = {1, 9, 40, 3};
  const auto kernel = Normal<float>(&random_, 9);
  auto image = Normal<float>(&random_, Values(shape));
  image[static_cast<size_t>((4 * 40 + 20) * 3 + 1)] = std::numeric_limits<float>::quiet_NaN();
  for (bool transposed : {false, true}) {
    std::vector<float> out(image.size());
    ConvolveRows({3, 3, Border::kReplicate, transposed, {1, 0}, {1, 0}}, shape, GetParam(), kernel.data(), image.data(),
                 0, 9, out.data());
    for (int64_t i = 0; i < Values(shape); ++i) {
      const int64_t c = i % 3, x = i / 3 % 40, y = i / 120;
      const bool near = c == 1 && std::abs(x - 20) <= 1 && std::abs(y - 4) <= 1;
      ASSERT_EQ(std::isnan(out[static_cast<size_t>(i)]), near) << i;
    }
  }
}

}  // namespace
}  // namespace blade
