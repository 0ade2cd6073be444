#include "cc/blade/level_set.h"

#include <cmath>

#include "cc/tests/test_util.h"

namespace blade {
namespace {

class LevelSetTest : public testing::TestWithParam<SimdLevel> {
 protected:
  std::mt19937 random_{20230807};
};

INSTANTIATE_TEST_SUITE_P(Levels, LevelSetTest, testing::ValuesIn(Levels()), LevelName);

constexpr LevelSetShape kShapes[] = {{1, 1, 1, 1},  {2, 3, 2, 3},  {1, 2, 5, 7},  {1, 1, 4, 8}, {2, 1, 3, 16},
                                     {1, 3, 9, 17}, {1, 1, 6, 40}, {1, 0, 3, 33}, {0, 1, 3, 5}, {2, 1, 0, 5}};

template <typename F>
struct Case {
  std::vector<F> phi, before, f;

  Case(std::mt19937* random, const LevelSetShape& shape)
      : phi(Normal<F>(random, shape.rows() * shape.w)),
        before(Normal<F>(random, shape.rows() * shape.w)),
        f(Normal<F>(random, shape.rows() * shape.w * shape.channels)) {
    // Beyond the bounds between which H is computed, and 0.
    const float extremes[] = {0.0f, 1e-20f, -1e-20f, 1e15f, -1e15f, 1.0f, -1.0f};
    for (size_t i = 0; i < std::min<size_t>(phi.size(), 7); ++i) phi[phi.size() - 1 - i] = static_cast<F>(extremes[i]);
  }
};

template <typename F>
std::vector<double> Sums(SimdLevel level, const LevelSetShape& shape, const Case<F>& c, int64_t block) {
  std::vector<double> rows(static_cast<size_t>(shape.rows() * shape.sums()), -1.0);
  std::vector<double> sums(static_cast<size_t>(shape.n * shape.sums()), -1.0);
  for (int64_t row = 0; row < shape.rows(); row += block)
    LevelSetRowSums(shape, level, c.phi.data(), c.before.data(), c.f.data(), row, std::min(row + block, shape.rows()),
                    rows.data());
  LevelSetSums(shape, rows.data(), sums.data());
  return sums;
}

template <typename F>
void IsTheDefinition(SimdLevel level, std::mt19937* random, double tolerance) {
  for (const LevelSetShape& shape : kShapes) {
    const Case<F> c(random, shape);
    std::vector<double> expected(static_cast<size_t>(shape.n * shape.sums())), scale(expected);
    for (int64_t n = 0; n < shape.n; ++n) {
      const auto add = [&](int64_t i, double value) {
        expected[static_cast<size_t>(n * shape.sums() + i)] += value;
        scale[static_cast<size_t>(n * shape.sums() + i)] += std::abs(value);
      };
      for (int64_t y = 0; y < shape.h; ++y) {
        for (int64_t x = 0; x < shape.w; ++x) {
          const auto at = [&](int64_t v, int64_t u) {
            v = std::clamp<int64_t>(v, 0, shape.h - 1), u = std::clamp<int64_t>(u, 0, shape.w - 1);
            return static_cast<size_t>((n * shape.h + v) * shape.w + u);
          };
          const auto phi = [&](int64_t v, int64_t u) { return static_cast<double>(c.phi[at(v, u)]); };
          const double pi = std::acos(-1.0), here = phi(y, x), h = 0.5 + std::atan(here) / pi;
          const double gradient = std::hypot(phi(y, x + 1) - phi(y, x - 1), phi(y + 1, x) - phi(y - 1, x)) / 2;
          const double change = here - static_cast<double>(c.before[at(y, x)]);
          add(0, here > 0);
          add(1, h);
          add(2, gradient / (pi * (1 + here * here)));
          add(3, change * change);
          for (int64_t k = 0; k < shape.channels; ++k) {
            const double f =
                static_cast<double>(c.f[static_cast<size_t>(((n * shape.channels + k) * shape.h + y) * shape.w + x)]);
            add(4 + 3 * k, here > 0 ? f : 0);
            add(5 + 3 * k, h * f);
            add(6 + 3 * k, h * f * f);
          }
        }
      }
    }
    const auto sums = Sums(level, shape, c, std::max<int64_t>(shape.rows(), 1));
    for (size_t i = 0; i < sums.size(); ++i) ASSERT_NEAR(sums[i], expected[i], tolerance * scale[i]) << i;
  }
}

TEST_P(LevelSetTest, IsTheDefinitionFloat) { IsTheDefinition<float>(GetParam(), &random_, 1e-6); }
TEST_P(LevelSetTest, IsTheDefinitionDouble) { IsTheDefinition<double>(GetParam(), &random_, 1e-7); }

TEST_P(LevelSetTest, LevelsAndBlocksAgree) {
  for (const LevelSetShape& shape : kShapes) {
    const Case<float> single(&random_, shape);
    const Case<double> twice(&random_, shape);
    const int64_t rows = std::max<int64_t>(shape.rows(), 1);
    for (int64_t block : {rows, int64_t{1}, int64_t{2}}) {
      ASSERT_TRUE(SameBits(Sums(GetParam(), shape, single, block), Sums(SimdLevel::kPortable, shape, single, rows)));
      ASSERT_TRUE(SameBits(Sums(GetParam(), shape, twice, block), Sums(SimdLevel::kPortable, shape, twice, rows)));
    }
  }
}

}  // namespace
}  // namespace blade
