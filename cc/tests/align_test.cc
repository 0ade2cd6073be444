#include "cc/blade/align.h"

#include <cmath>
#include <limits>

#include "cc/tests/test_util.h"

namespace blade {
namespace {

using Plane = std::vector<float>;

constexpr AlignParameters kParameters = {3e-4f, 0.02f, 0.002f, 2, 7, 6, 0.99f, 2.0f};

class AlignTest : public testing::TestWithParam<SimdLevel> {
 protected:
  Plane Random(int64_t n, float low, float high) {
    std::uniform_real_distribution<float> distribution(low, high);
    Plane values(static_cast<size_t>(n));
    for (float& value : values) value = distribution(random_);
    return values;
  }
  std::mt19937 random_{20211016};
};

INSTANTIATE_TEST_SUITE_P(Levels, AlignTest, testing::ValuesIn(Levels()), LevelName);

// Sizes 0 and 1, images smaller than what a pixel depends on, and what vectors of 4 to 16 numbers leave over.
std::vector<PlaneShape> ManyShapes() {
  std::vector<PlaneShape> shapes = {{0, 4, 5}, {2, 1, 1}, {1, 1, 40}, {1, 40, 1}, {2, 3, 2}, {1, 30, 33}};
  for (int64_t w : {3, 7, 8, 9, 15, 16, 17, 31, 33, 67}) shapes.push_back({2, 9, w});
  return shapes;
}

std::string Name(const PlaneShape& shape) {
  return std::to_string(shape.n) + " " + std::to_string(shape.h) + " " + std::to_string(shape.w);
}

size_t At(const PlaneShape& shape, int64_t y, int64_t x) {
  return static_cast<size_t>(std::clamp<int64_t>(y, 0, shape.h - 1) * shape.w + std::clamp<int64_t>(x, 0, shape.w - 1));
}

Plane Extend(const PlaneShape& shape, const Plane& image) {
  Plane out(static_cast<size_t>(shape.extended().pixels()));
  ExtendRows(shape, image.data(), 0, shape.extended().rows(), out.data());
  return out;
}

// All passes, each over ranges of rows: that of the halved flow first.
struct Passes {
  Plane halved, doubled, extended, matched, system, solved, median;
};

template <typename Ranges>
Passes RunAll(const PlaneShape& shape, SimdLevel level, const Plane& reference, const Plane& moving, const Plane& flow,
              const Plane& coarse, const Ranges& ranges) {
  const auto sized = [](int64_t n) { return Plane(static_cast<size_t>(n)); };
  const int64_t pixels = shape.pixels(), rows = shape.rows();
  Passes p = {sized(shape.halved().pixels()),
              sized(2 * pixels),
              sized(shape.extended().pixels()),
              sized(2 * pixels),
              sized(kAlignPlanes * pixels),
              sized(2 * pixels),
              sized(2 * pixels)};
  ranges(shape.halved().rows(),
         [&](int64_t begin, int64_t end) { HalveRows(shape, level, reference.data(), begin, end, p.halved.data()); });
  ranges(rows,
         [&](int64_t begin, int64_t end) { DoubleRows(shape, level, coarse.data(), begin, end, p.doubled.data()); });
  ranges(shape.extended().rows(),
         [&](int64_t begin, int64_t end) { ExtendRows(shape, moving.data(), begin, end, p.extended.data()); });
  ranges(rows, [&](int64_t begin, int64_t end) {
    MatchRows(shape, kParameters, level, reference.data(), p.extended.data(), flow.data(), begin, end,
              p.matched.data());
  });
  ranges(rows, [&](int64_t begin, int64_t end) {
    SystemRows(shape, kParameters, level, reference.data(), p.extended.data(), flow.data(), begin, end,
               p.system.data());
  });
  ranges(rows, [&](int64_t begin, int64_t end) {
    SolveRows(shape, kParameters, level, p.system.data(), flow.data(), begin, end, p.solved.data());
  });
  ranges(rows,
         [&](int64_t begin, int64_t end) { MedianRows(shape, level, p.solved.data(), begin, end, p.median.data()); });
  return p;
}

TEST_P(AlignTest, AnyRowsAndLevelsGiveTheSame) {
  for (const PlaneShape& shape : ManyShapes()) {
    SCOPED_TRACE(Name(shape));
    const Plane reference = Random(shape.pixels(), 0, 1), moving = Random(shape.pixels(), 0, 1);
    const Plane flow = Random(2 * shape.pixels(), -4, 4), coarse = Random(2 * shape.halved().pixels(), -4, 4);
    const auto at_once = [](int64_t total, const auto& work) { work(int64_t{0}, total); };
    const auto in_ranges = [](int64_t total, const auto& work) { InRanges(total, work); };
    const Passes one = RunAll(shape, SimdLevel::kPortable, reference, moving, flow, coarse, at_once);
    const Passes two = RunAll(shape, GetParam(), reference, moving, flow, coarse, in_ranges);
    EXPECT_TRUE(SameBits(one.halved, two.halved));
    EXPECT_TRUE(SameBits(one.doubled, two.doubled));
    EXPECT_TRUE(SameBits(one.extended, two.extended));
    EXPECT_TRUE(SameBits(one.matched, two.matched));
    EXPECT_TRUE(SameBits(one.system, two.system));
    EXPECT_TRUE(SameBits(one.solved, two.solved));
    EXPECT_TRUE(SameBits(one.median, two.median));
  }
}

// Both keep linear functions of the position, away from the borders.
TEST_P(AlignTest, HalvesAndDoublesRamps) {
  const PlaneShape shape = {1, 13, 38}, half = shape.halved();
  Plane ramp(static_cast<size_t>(shape.pixels())), found(static_cast<size_t>(half.pixels()));
  for (int64_t y = 0; y < shape.h; ++y)
    for (int64_t x = 0; x < shape.w; ++x) ramp[At(shape, y, x)] = static_cast<float>(3 * x - 5 * y);
  HalveRows(shape, GetParam(), ramp.data(), 0, half.rows(), found.data());
  for (int64_t y = 1; y + 1 < half.h; ++y)
    for (int64_t x = 1; x + 1 < half.w; ++x)
      EXPECT_EQ(found[At(half, y, x)],
                3.0f * (2.0f * static_cast<float>(x) + 0.5f) - 5.0f * (2.0f * static_cast<float>(y) + 0.5f));
  Plane coarse = found, doubled(static_cast<size_t>(2 * shape.pixels()));
  coarse.insert(coarse.end(), found.begin(), found.end());
  DoubleRows(shape, GetParam(), coarse.data(), 0, shape.rows(), doubled.data());
  for (int64_t y = 3; y + 4 < shape.h; ++y)
    for (int64_t x = 3; x + 4 < shape.w; ++x)
      for (size_t part = 0; part < 2; ++part)
        EXPECT_EQ(doubled[part * static_cast<size_t>(shape.pixels()) + At(shape, y, x)], 2 * ramp[At(shape, y, x)]);
}

TEST_P(AlignTest, MatchesWholePixels) {
  const PlaneShape shape = {1, 40, 51};
  const Plane reference = Random(shape.pixels(), 0, 1);
  for (const int64_t dx : {-2, 0, 1}) {
    for (const int64_t dy : {-1, 0, 2}) {
      Plane moving(reference.size());
      for (int64_t y = 0; y < shape.h; ++y)
        for (int64_t x = 0; x < shape.w; ++x) moving[At(shape, y, x)] = reference[At(shape, y - dy, x - dx)];
      // On the way already, by a pixel too much along y.
      Plane flow(2 * reference.size(), 0.0f), found(flow.size());
      std::fill(flow.begin() + shape.pixels(), flow.end(), static_cast<float>(dy == 2 ? 1 : dy + 1));
      const Plane extended = Extend(shape, moving);
      MatchRows(shape, kParameters, GetParam(), reference.data(), extended.data(), flow.data(), 0, shape.rows(),
                found.data());
      for (int64_t y = 6; y + 6 < shape.h; ++y)
        for (int64_t x = 6; x + 6 < shape.w; ++x) {
          ASSERT_EQ(found[At(shape, y, x)], static_cast<float>(dx));
          ASSERT_EQ(found[static_cast<size_t>(shape.pixels()) + At(shape, y, x)], static_cast<float>(dy));
        }
    }
  }
}

// The definition, for a flow of whole pixels, where interpolation gives the moving image's own values.
TEST_P(AlignTest, SystemsAreThoseOfTheirDefinition) {
  const PlaneShape shape = {1, 11, 19};
  const Plane reference = Random(shape.pixels(), 0, 1), moving = Random(shape.pixels(), 0, 1);
  Plane flow(2 * reference.size(), 1.0f);
  std::fill(flow.begin() + shape.pixels(), flow.end(), -2.0f);
  const Plane extended = Extend(shape, moving);
  Plane s(kAlignPlanes * reference.size());
  SystemRows(shape, kParameters, GetParam(), reference.data(), extended.data(), flow.data(), 0, shape.rows(), s.data());
  const auto mean = [&](int64_t y, int64_t x) {
    y = std::clamp<int64_t>(y, 0, shape.h - 1), x = std::clamp<int64_t>(x, 0, shape.w - 1);
    return 0.5 * (double{reference[At(shape, y, x)]} + double{moving[At(shape, y - 2, x + 1)]});
  };
  const double w = kParameters.smoothness, sum[2] = {0.7, -1.3};
  for (int64_t y = 0; y < shape.h; ++y) {
    for (int64_t x = 0; x < shape.w; ++x) {
      const size_t at = At(shape, y, x);
      const double gx = (8 * (mean(y, x + 1) - mean(y, x - 1)) - mean(y, x + 2) + mean(y, x - 2)) / 12;
      const double gy = (8 * (mean(y + 1, x) - mean(y - 1, x)) - mean(y + 2, x) + mean(y - 2, x)) / 12;
      const double d = double{moving[At(shape, y - 2, x + 1)]} - reference[at];
      const bool inside = y >= 2 && x + 1 < shape.w;
      const double k = inside ? 1 / (1 + std::pow(d / kParameters.robust, 2)) : 0;
      const auto plane = [&](size_t i) { return double{s[i * reference.size() + at]}; };
      const double zx = plane(0) + plane(2) * sum[0] + plane(4) * sum[1];
      const double zy = plane(1) + plane(4) * sum[0] + plane(3) * sum[1];
      const double change = k * (gx * (zx - 1) + gy * (zy + 2) + d);
      EXPECT_NEAR(change * gx + 4 * w * zx, w * sum[0], 1e-6);
      EXPECT_NEAR(change * gy + 4 * w * zy, w * sum[1], 1e-6);
    }
  }
}

// Squared gradients up to 1e11 times the smoothness, where a float's determinant would be lost in rounding.
TEST_P(AlignTest, SystemsKeepTheirPrecision) {
  const PlaneShape shape = {1, 12, 21};
  const Plane reference = Random(shape.pixels(), 0, 255), moving = reference, extended = Extend(shape, moving);
  Plane flow(2 * reference.size(), 0.0f), s(kAlignPlanes * reference.size());
  AlignParameters parameters = kParameters;
  parameters.smoothness = 1e-7f;
  SystemRows(shape, parameters, GetParam(), reference.data(), extended.data(), flow.data(), 0, shape.rows(), s.data());
  for (int64_t y = 0; y < shape.h; ++y) {
    for (int64_t x = 0; x < shape.w; ++x) {
      const size_t at = At(shape, y, x);
      const auto value = [&](int64_t dy, int64_t dx) {
        return double{reference[At(shape, std::clamp<int64_t>(y + dy, 0, shape.h - 1),
                                   std::clamp<int64_t>(x + dx, 0, shape.w - 1))]};
      };
      const double gx = (8 * (value(0, 1) - value(0, -1)) - value(0, 2) + value(0, -2)) / 12;
      const double gy = (8 * (value(1, 0) - value(-1, 0)) - value(2, 0) + value(-2, 0)) / 12;
      const double sides = 4 * double{parameters.smoothness}, xx = gx * gx + sides, yy = gy * gy + sides;
      const double det = sides * (gx * gx + yy);
      EXPECT_EQ(s[at], 0.0f);
      EXPECT_EQ(s[reference.size() + at], 0.0f);
      EXPECT_NEAR(s[2 * reference.size() + at], sides / 4 * yy / det, 1e-5);
      EXPECT_NEAR(s[3 * reference.size() + at], sides / 4 * xx / det, 1e-5);
      EXPECT_NEAR(s[4 * reference.size() + at], -sides / 4 * gx * gy / det, 1e-5);
    }
  }
}

TEST_P(AlignTest, ManySweepsSolveTheSystem) {
  const PlaneShape shape = {1, 14, 21};
  const Plane reference = Random(shape.pixels(), 0.4f, 0.6f), moving = Random(shape.pixels(), 0.4f, 0.6f);
  const Plane flow(2 * reference.size(), 0.0f), extended = Extend(shape, moving);
  AlignParameters parameters = kParameters;
  parameters.sweeps = 400;
  parameters.largest = 1e6f;
  Plane s(kAlignPlanes * reference.size()), z(flow.size());
  SystemRows(shape, parameters, GetParam(), reference.data(), extended.data(), flow.data(), 0, shape.rows(), s.data());
  SolveRows(shape, parameters, GetParam(), s.data(), flow.data(), 0, shape.rows(), z.data());
  const size_t pixels = reference.size();
  for (int64_t y = 0; y < shape.h; ++y) {
    for (int64_t x = 0; x < shape.w; ++x) {
      const size_t at = At(shape, y, x);
      float sums[2];
      for (size_t part = 0; part < 2; ++part) {
        const float* plane = z.data() + part * pixels;
        sums[part] = plane[At(shape, y, x + 1)] + plane[At(shape, y, x - 1)] + plane[At(shape, y + 1, x)] +
                     plane[At(shape, y - 1, x)];
      }
      EXPECT_NEAR(z[at], s[at] + s[2 * pixels + at] * sums[0] + s[4 * pixels + at] * sums[1], 1e-4);
      EXPECT_NEAR(z[pixels + at], s[pixels + at] + s[4 * pixels + at] * sums[0] + s[3 * pixels + at] * sums[1], 1e-4);
    }
  }
  // No step moves farther than it may.
  parameters.largest = 0.25f;
  SolveRows(shape, parameters, GetParam(), s.data(), flow.data(), 0, shape.rows(), z.data());
  EXPECT_EQ(*std::max_element(z.begin(), z.end()), 0.25f);
  EXPECT_EQ(*std::min_element(z.begin(), z.end()), -0.25f);
}

TEST_P(AlignTest, MediansOfFive) {
  for (const PlaneShape& shape : ManyShapes()) {
    if (shape.n != 1) continue;
    const Plane flow = Random(2 * shape.pixels(), -1, 1);
    Plane found(flow.size());
    MedianRows(shape, GetParam(), flow.data(), 0, shape.rows(), found.data());
    const auto median = [](Plane five) {
      std::sort(five.begin(), five.end());
      return five[2];
    };
    for (int64_t part = 0; part < 2; ++part) {
      const float* plane = flow.data() + part * shape.pixels();
      for (int64_t y = 0; y < shape.h; ++y) {
        for (int64_t x = 0; x < shape.w; ++x) {
          Plane rows;
          for (int64_t i = -2; i <= 2; ++i) {
            Plane row;
            for (int64_t j = -2; j <= 2; ++j) row.push_back(plane[At(shape, y + i, x + j)]);
            rows.push_back(median(row));
          }
          ASSERT_EQ(found[static_cast<size_t>(part * shape.pixels()) + At(shape, y, x)], median(rows)) << Name(shape);
        }
      }
    }
  }
}

// No access out of bounds, which the sanitizers see.
TEST_P(AlignTest, WhatIsNotFiniteStaysWithoutHarm) {
  const PlaneShape shape = {1, 9, 21};
  const Plane image = Random(shape.pixels(), 0, 1);
  for (const float wrong : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity(), 1e30f, -1e30f}) {
    const auto at_once = [](int64_t total, const auto& work) { work(int64_t{0}, total); };
    const Plane flow(2 * image.size(), wrong), coarse(static_cast<size_t>(2 * shape.halved().pixels()), wrong);
    RunAll(shape, GetParam(), image, image, flow, coarse, at_once);
    RunAll(shape, GetParam(), image, Plane(image.size(), wrong), Plane(flow.size(), 0.5f), coarse, at_once);
  }
}

TEST(ValidateAlignTest, NamesWhatIsWrong) {
  EXPECT_EQ(ValidateAlign(kParameters), "");
  const auto error = [](const auto& change) {
    AlignParameters parameters = kParameters;
    change(&parameters);
    return ValidateAlign(parameters);
  };
  EXPECT_EQ(error([](AlignParameters* p) { p->smoothness = 0; }).substr(0, 31), "smoothness: expected a number i");
  EXPECT_EQ(error([](AlignParameters* p) { p->robust = NAN; }).substr(0, 8), "robust: ");
  EXPECT_EQ(error([](AlignParameters* p) { p->bias = -1; }).substr(0, 6), "bias: ");
  EXPECT_EQ(error([](AlignParameters* p) { p->radius = 17; }), "radius: expected a number in [0, 16], got 17");
  EXPECT_EQ(error([](AlignParameters* p) { p->tile = 6; }), "tile: expected an odd number, got 6");
  EXPECT_EQ(error([](AlignParameters* p) { p->tile = 33; }), "tile: expected a number in [1, 32], got 33");
  EXPECT_EQ(error([](AlignParameters* p) { p->sweeps = 0; }), "sweeps: expected a number in [1, 1000], got 0");
  EXPECT_EQ(error([](AlignParameters* p) { p->acceleration = 1.5f; }),
            "acceleration: expected a number in [0, 1], got 1.5");
  EXPECT_EQ(error([](AlignParameters* p) { p->largest = -1; }).substr(0, 9), "largest: ");
  // Bounds are allowed as floats.
  const AlignParameters least = {1e-7f, 1e-6f, 0, 0, 1, 1, 0, 0}, most = {1e12f, 1e12f, 1e12f, 16, 31, 1000, 1, 1e12f};
  EXPECT_EQ(ValidateAlign(least), "");
  EXPECT_EQ(ValidateAlign(most), "");
}

}  // namespace
}  // namespace blade
