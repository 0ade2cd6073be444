#include <cmath>
#include <limits>
#include <thread>

#include "cc/blade/flux_step.h"
#include "cc/tests/test_util.h"

namespace blade {
namespace {

class FluxTest : public testing::TestWithParam<SimdLevel> {
 protected:
  std::mt19937 random_{20211016};
};

INSTANTIATE_TEST_SUITE_P(Levels, FluxTest, testing::ValuesIn(Levels()), LevelName);

struct Case {
  SelectParameters parameters;
  std::vector<FluxFunction> functions;
  int64_t columns;
  bool limited;

  int64_t banks() const { return static_cast<int64_t>(functions.size()); }
  int64_t bins() const { return SelectPlan<float>(parameters).bins(); }
};

// Hard and soft, one bank and two, antisymmetric filters and others, with limits and without.
std::vector<Case> Cases() {
  const SelectParameters hard = {6, {0.3f, 0.8f}, {0.4f}, 0.5f};
  SelectParameters soft = hard;
  soft.soft = SoftFeature::kIntensity;
  soft.centers = {-1.0f, 0.0f, 0.5f};
  std::vector<Case> cases;
  for (const SelectParameters& parameters : {hard, soft})
    for (const auto& functions :
         {std::vector<FluxFunction>{FluxFunction::kDoubleWell}, {FluxFunction::kIdentity, FluxFunction::kDoubleWell}})
      for (int64_t columns : {3, 6})
        for (bool limited : {false, true}) cases.push_back({parameters, functions, columns, limited});
  return cases;
}

// Footprints higher and wider than the image, each tail of a vector, more columns than a strip of the selection.
std::vector<ImageShape> Shapes() {
  std::vector<ImageShape> shapes = {{1, 1, 1, 1}, {1, 1, 2, 1}, {2, 2, 1, 1}, {1, 9, 1, 1},  {3, 1, 20, 1},
                                    {0, 3, 4, 1}, {2, 0, 4, 1}, {2, 4, 0, 1}, {1, 8, 515, 1}};
  for (int64_t w = 3; w <= 36; ++w) shapes.push_back({1 + w % 2, 2 + w % 7, w, 1});
  return shapes;
}

std::string Name(const ImageShape& shape, const Case& c) {
  return testing::PrintToString(std::vector<int64_t>{shape.n, shape.h, shape.w}) + " banks " +
         std::to_string(c.banks()) + " columns " + std::to_string(c.columns) + (c.limited ? " limited" : "") +
         (c.parameters.soft == SoftFeature::kNone ? "" : " soft");
}

template <typename F>
struct Problem {
  std::vector<F> image, filters_x, filters_y;
  F dt = F(0.25);
  FluxLimits<F> limits = {F(-0.5), F(0.75), F(0.5)};
};

template <typename F>
Problem<F> Random(std::mt19937* random, const ImageShape& shape, const Case& c) {
  Problem<F> problem = {Normal<F>(random, Pixels(shape)), Normal<F>(random, c.bins() * c.banks() * 5 * c.columns),
                        Normal<F>(random, c.bins() * c.banks() * 5 * c.columns)};
  for (F& u : problem.image) u *= F(0.5);
  return problem;
}

const auto kAtOnce = [](int64_t total, const auto& work) {
  if (total > 0) work(0, total);
};

template <typename F, typename Ranges>
std::vector<F> Step(SimdLevel level, const ImageShape& shape, const Case& c, const Problem<F>& problem,
                    const Ranges& ranges) {
  const FluxPlan<F> plan(c.parameters, c.functions);
  const FluxBank<F> bank(c.bins(), c.banks(), c.columns, problem.filters_x.data(), problem.filters_y.data());
  const auto limits = c.limited ? std::make_optional(problem.limits) : std::nullopt;
  std::vector<F> output(problem.image.size());
  ranges(shape.rows(), [&](int64_t begin, int64_t end) {
    FluxStepRows(plan, bank, level, shape, problem.image.data(), problem.dt, limits, begin, end, output.data());
  });
  return output;
}

// What flows through the faces after all pixels along one axis, by the definition, in double.
template <typename F>
std::vector<double> Fluxes(SimdLevel level, const ImageShape& shape, const Case& c, const Problem<F>& problem,
                           SelectCenter center) {
  SelectParameters parameters = c.parameters;
  parameters.center = center;
  const SelectPlan<F> plan(parameters);
  const size_t size = problem.image.size();
  std::vector<int32_t> lower(size), upper(size);
  std::vector<F> weight(size);
  if (plan.soft == SoftFeature::kNone) {
    SelectRows(plan, level, shape, problem.image.data(), 0, shape.rows(), lower.data());
  } else {
    SelectSoftRows(plan, level, shape, problem.image.data(), 0, shape.rows(), lower.data(), upper.data(),
                   weight.data());
  }
  const bool along_x = center == SelectCenter::kFaceX;
  const std::vector<F>& filters = along_x ? problem.filters_x : problem.filters_y;
  std::vector<double> flux(size);
  for (int64_t i = 0; i < Pixels(shape); ++i) {
    const int64_t x = i % shape.w, y = i / shape.w % shape.h, top = i - x - y * shape.w;
    if (along_x ? x + 1 == shape.w : y + 1 == shape.h) continue;
    const auto coefficient = [&](int32_t k, int64_t b, int64_t r, int64_t s) {
      const bool mirrored = s >= c.columns;
      if (mirrored) r = 4 - r, s = 5 - s;
      const F h = filters[static_cast<size_t>(((k * c.banks() + b) * 5 + r) * c.columns + s)];
      return static_cast<double>(c.columns == 3 && !mirrored ? -h : h);
    };
    for (int64_t b = 0; b < c.banks(); ++b)
      for (int64_t r = 0; r < 5; ++r)
        for (int64_t s = 0; s < 6; ++s) {
          const int64_t v = std::clamp<int64_t>(y + (along_x ? r : s) - 2, 0, shape.h - 1);
          const int64_t u = std::clamp<int64_t>(x + (along_x ? s : r) - 2, 0, shape.w - 1);
          double value = static_cast<double>(problem.image[static_cast<size_t>(top + v * shape.w + u)]);
          if (c.functions[static_cast<size_t>(b)] == FluxFunction::kDoubleWell) {
            value = std::clamp(value, -0.5, 1.5);
            value *= 2 * (value - 1) * (2 * value - 1);
          }
          const size_t at = static_cast<size_t>(i);
          const double w = static_cast<double>(weight[at]);
          flux[at] += ((1 - w) * coefficient(lower[at], b, r, s) + w * coefficient(upper[at], b, r, s)) * value;
        }
  }
  return flux;
}

template <typename F>
std::vector<double> Definition(SimdLevel level, const ImageShape& shape, const Case& c, const Problem<F>& problem) {
  std::vector<double> u(problem.image.begin(), problem.image.end());
  if (u.empty()) return u;
  std::vector<double> flux[] = {Fluxes(level, shape, c, problem, SelectCenter::kFaceX),
                                Fluxes(level, shape, c, problem, SelectCenter::kFaceY)};
  const int64_t next[] = {1, shape.w};
  if (c.limited) {
    const auto& limits = problem.limits;
    std::vector<double> gained(u.size()), lost(u.size());
    for (int axis = 0; axis < 2; ++axis)
      for (size_t i = 0; i < u.size(); ++i) {
        const double g = flux[axis][i] * static_cast<double>(limits.dt);
        if (g == 0) continue;
        const size_t there = i + static_cast<size_t>(next[axis]);
        gained[g > 0 ? i : there] += std::abs(g);
        lost[g > 0 ? there : i] += std::abs(g);
      }
    const auto part = [](double room, double wanted) { return std::max(room, 0.0) / std::max(wanted, room); };
    for (int axis = 0; axis < 2; ++axis)
      for (size_t i = 0; i < u.size(); ++i) {
        double& g = flux[axis][i];
        if (g == 0) continue;
        const size_t there = i + static_cast<size_t>(next[axis]), to = g > 0 ? i : there, from = g > 0 ? there : i;
        g *= std::min(part(static_cast<double>(limits.high) - u[to], gained[to]),
                      part(u[from] - static_cast<double>(limits.low), lost[from]));
      }
  }
  std::vector<double> output = u;
  for (int axis = 0; axis < 2; ++axis)
    for (size_t i = 0; i < u.size(); ++i) {
      if (flux[axis][i] == 0) continue;
      output[i] += static_cast<double>(problem.dt) * flux[axis][i];
      output[i + static_cast<size_t>(next[axis])] -= static_cast<double>(problem.dt) * flux[axis][i];
    }
  return output;
}

template <typename F>
void IsItsDefinition(SimdLevel level, std::mt19937* random, double tolerance) {
  for (const Case& c : Cases())
    for (const ImageShape& shape : Shapes()) {
      const Problem<F> problem = Random<F>(random, shape, c);
      const auto found = Step(level, shape, c, problem, kAtOnce);
      const auto expected = Definition(level, shape, c, problem);
      for (size_t i = 0; i < found.size(); ++i)
        ASSERT_NEAR(static_cast<double>(found[i]), expected[i], tolerance) << Name(shape, c) << " at " << i;
    }
}

TEST_P(FluxTest, IsItsDefinitionFloat) { IsItsDefinition<float>(GetParam(), &random_, 2e-5); }
TEST_P(FluxTest, IsItsDefinitionDouble) { IsItsDefinition<double>(GetParam(), &random_, 2e-14); }

TEST_P(FluxTest, DependsNeitherOnThePartitionNorOnThreads) {
  const auto in_ranges = [](int64_t total, const auto& work) { InRanges(total, work); };
  const auto in_threads = [](int64_t total, const auto& work) {
    std::vector<std::thread> threads;
    for (int64_t first = 0; first < 3; ++first)
      threads.emplace_back([=, &work] {
        for (int64_t row = first; row < total; row += 3) work(row, row + 1);
      });
    for (std::thread& thread : threads) thread.join();
  };
  for (const Case& c : Cases())
    for (const ImageShape& shape : {ImageShape{2, 11, 37, 1}, ImageShape{1, 13, 300, 1}}) {
      Problem<float> problem = Random<float>(&random_, shape, c);
      problem.image[5] = std::numeric_limits<float>::quiet_NaN();
      problem.image[shape.w * 9 + 7] = -std::numeric_limits<float>::infinity();
      const auto whole = Step(GetParam(), shape, c, problem, kAtOnce);
      EXPECT_TRUE(SameBits(Step(GetParam(), shape, c, problem, in_ranges), whole)) << Name(shape, c);
      EXPECT_TRUE(SameBits(Step(GetParam(), shape, c, problem, in_threads), whole)) << Name(shape, c);
    }
}

// Fluxes of any size.
TEST_P(FluxTest, KeepsMassAndRange) {
  for (const Case& c : Cases()) {
    const ImageShape shape = {1, 17, 40, 1};
    for (float scale : {1.0f, 1e6f}) {
      Problem<float> problem = Random<float>(&random_, shape, c);
      for (float& u : problem.image) u = static_cast<float>(random_() % 1000) / 999 * 1.25f - 0.5f;
      if (c.limited)
        for (auto* filters : {&problem.filters_x, &problem.filters_y})
          for (float& h : *filters) h *= scale;
      problem.dt = problem.limits.dt;
      const auto found = Step(GetParam(), shape, c, problem, kAtOnce);
      double mass = 0, size = 0;
      for (size_t i = 0; i < found.size(); ++i) {
        mass += static_cast<double>(found[i]) - static_cast<double>(problem.image[i]);
        size += std::abs(static_cast<double>(found[i]));
        if (!c.limited) continue;
        ASSERT_GE(found[i], -0.5f - 1e-6f) << Name(shape, c);
        ASSERT_LE(found[i], 0.75f + 1e-6f) << Name(shape, c);
      }
      EXPECT_NEAR(mass, 0, 1e-7 * size) << Name(shape, c);
    }
  }
}

// Their faces' fluxes, and what shares a pixel with these.
TEST_P(FluxTest, NanAndInfinityStayInTheirStencil) {
  const ImageShape shape = {1, 21, 50, 1};
  for (const Case& c : Cases()) {
    Problem<float> problem = Random<float>(&random_, shape, c);
    const auto clean = Step(GetParam(), shape, c, problem, kAtOnce);
    for (float wrong : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      for (const auto& [y, x] : {std::pair<int64_t, int64_t>{10, 25}, {10, 15}, {0, 16}, {20, 49}}) {
        auto spoilt = problem;
        spoilt.image[static_cast<size_t>(y * shape.w + x)] = wrong;
        const auto found = Step(GetParam(), shape, c, spoilt, kAtOnce);
        for (int64_t i = 0; i < Pixels(shape); ++i) {
          const int64_t reach = std::max(std::abs(i / shape.w - y), std::abs(i % shape.w - x));
          const size_t at = static_cast<size_t>(i);
          if (reach <= 5) continue;
          ASSERT_EQ(found[at], clean[at]) << Name(shape, c) << " at " << i / shape.w << " " << i % shape.w;
        }
      }
    }
  }
}

TEST_P(FluxTest, SubnormalNumbersCountAsZero) {
  if (!kCanFlushSubnormals) GTEST_SKIP() << "this processor computes with subnormal numbers";
  const ImageShape shape = {1, 1, 2, 1};
  const Case c = {{1, {}, {}, 0.0f}, {FluxFunction::kIdentity}, 3, false};
  Problem<float> problem = {{0.0f, 1e-39f}, std::vector<float>(15, 1.0f), std::vector<float>(15, 1.0f)};
  EXPECT_EQ(Step(GetParam(), shape, c, problem, kAtOnce), std::vector<float>(2, 0.0f));
}

}  // namespace
}  // namespace blade
