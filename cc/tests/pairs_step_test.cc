#include "cc/blade/pairs_step.h"

#include "cc/blade/exchange.h"
#include "cc/blade/lookup.h"
#include "cc/blade/pairs_kernels.h"
#include "cc/tests/test_util.h"

namespace blade {
namespace {

class PairsStepTest : public testing::TestWithParam<SimdLevel> {
 protected:
  std::mt19937 random_{20230807};
};

INSTANTIATE_TEST_SUITE_P(Levels, PairsStepTest, testing::ValuesIn(Levels()), LevelName);

std::vector<Pair> List(const PairList& known) { return {known.pairs, known.pairs + known.count}; }

// The known ones, and some for which no level has kernels of its own.
std::vector<std::vector<Pair>> ManyPairs() {
  const std::vector<Pair> pairs = List(kPairs28);
  return {List(kPairs28), List(kPairs44), {pairs.begin() + 3, pairs.end() - 2}, {pairs.rbegin(), pairs.rend()}};
}

std::vector<SelectParameters> ManySelections() {
  const std::vector<float> none, two = {0.2f, 0.9f}, centers = {0.1f, 0.3f, 0.5f, 0.8f};
  const SelectCenter any = SelectCenter::kPixel;
  return {{24, two, two, 1.0f},
          {8, none, {0.5f}, 0.4f, {}, any, SoftFeature::kStrength, centers},
          {5, {0.5f}, none, 0.7f, {}, any, SoftFeature::kCoherence, centers},
          {8, {0.5f}, {0.5f}, 0.5f, {}, any, SoftFeature::kOrientation, {}},
          {4, none, {0.5f}, 0.0f, {}, any, SoftFeature::kIntensity, centers}};
}

template <typename F>
std::vector<F> Uniform(std::mt19937* random, int64_t n, float most) {
  std::uniform_real_distribution<float> distribution(0.0f, most);
  std::vector<F> values;
  for (int64_t i = 0; i < n; ++i) values.push_back(static_cast<F>(distribution(*random)));
  return values;
}

template <typename F>
struct Case {
  SelectParameters face, node;
  std::vector<Pair> pairs;
  int64_t face_planes, node_planes;
  std::vector<F> face_bank, node_bank;
  F dt = F(0.3), bank_dt = F(0.7);

  Case(std::mt19937* random, const SelectParameters& f, const SelectParameters& n, const std::vector<Pair>& p)
      : face(f), node(n), pairs(p), face_planes(4), node_planes(6) {
    for (const Pair& pair : pairs) {
      if (pair.plane >= 14) face_planes = 6, node_planes = 10;
    }
    // So that some limits are 1 and others are not.
    face_bank = Uniform<F>(random, SelectPlan<F>(face).bins() * face_planes, 0.1f);
    node_bank = Uniform<F>(random, SelectPlan<F>(node).bins() * node_planes, 0.1f);
  }
};

template <typename F>
std::vector<F> Step(const Case<F>& c, SimdLevel level, const ImageShape& shape, const std::vector<F>& image,
                    int64_t block) {
  const PairsPlan<F> plan(c.face, c.node, c.pairs);
  const PairsBank<F> bank(plan, c.face_planes, c.face_bank.data(), c.node_planes, c.node_bank.data());
  std::vector<F> output(image.size());
  for (int64_t row = 0; row < shape.n * shape.h; row += block)
    PairsStepRows(plan, bank, level, shape, image.data(), c.dt, c.bank_dt, row,
                  std::min(row + block, shape.n * shape.h), output.data());
  return output;
}

// Appends the conductances of one image.
template <typename F>
void Append(SelectParameters parameters, SelectCenter center, SimdLevel level, const ImageShape& shape, const F* image,
            int64_t planes, const std::vector<F>& bank, std::vector<F>* conductances) {
  parameters.center = center;
  const SelectPlan<F> plan(parameters);
  const size_t pixels = static_cast<size_t>(Pixels(shape));
  std::vector<int32_t> lower(pixels), upper(pixels);
  std::vector<F> weight(pixels), out(pixels * static_cast<size_t>(planes));
  if (plan.soft == SoftFeature::kNone) {
    SelectRows(plan, level, shape, image, 0, shape.h, lower.data());
    upper = lower;
  } else {
    SelectSoftRows(plan, level, shape, image, 0, shape.h, lower.data(), upper.data(), weight.data());
  }
  const LookupShape lookup = {1, planes, shape.h, shape.w, plan.bins()};
  ASSERT_EQ(LookupRows(lookup, level, bank.data(), lower.data(), upper.data(), weight.data(), 0, shape.h, out.data()),
            kSelectionInRange);
  conductances->insert(conductances->end(), out.begin(), out.end());
}

template <typename F>
std::vector<F> Composition(const Case<F>& c, SimdLevel level, const ImageShape& shape, const std::vector<F>& image) {
  const int64_t planes = 2 * c.face_planes + c.node_planes, rows = shape.n * shape.h;
  const ExchangeShape all = {shape.n, 1, planes, shape.h, shape.w};
  const ImageShape one = {1, shape.h, shape.w, 1};
  std::vector<F> conductances, limit(image.size()), change(image.size()), output;
  for (int64_t n = 0; n < shape.n; ++n) {
    const F* u = image.data() + n * shape.h * shape.w;
    Append(c.face, SelectCenter::kFaceX, level, one, u, c.face_planes, c.face_bank, &conductances);
    Append(c.face, SelectCenter::kFaceY, level, one, u, c.face_planes, c.face_bank, &conductances);
    Append(c.node, SelectCenter::kPixel, level, one, u, c.node_planes, c.node_bank, &conductances);
  }
  ExchangeLimitRows(all, c.pairs, level, conductances.data(), 0, rows, limit.data());
  ExchangeRows(all, c.pairs, level, image.data(), conductances.data(), limit.data(), 0, rows, change.data());
  for (size_t i = 0; i < image.size(); ++i) output.push_back(image[i] + c.dt * (change[i] / c.bank_dt));
  return output;
}

template <typename F>
void IsTheComposition(SimdLevel level, std::mt19937* random) {
  const std::vector<ImageShape> shapes = {{1, 1, 1, 1},  {2, 2, 3, 1},   {1, 3, 19, 1},  {1, 17, 5, 1},
                                          {2, 9, 16, 1}, {1, 12, 33, 1}, {1, 8, 271, 1}, {1, 16, 512, 1}};
  const std::vector<SelectParameters> selections = ManySelections();
  for (size_t i = 0; i < selections.size(); ++i) {
    const SelectParameters& node = selections[i < 2 ? i : selections.size() - i];
    for (const auto& pairs : ManyPairs()) {
      const Case<F> c(random, selections[i], node, pairs);
      for (const ImageShape& shape : shapes) {
        const auto image = Uniform<F>(random, Pixels(shape), 1.0f);
        const auto expected = Composition(c, level, shape, image);
        for (int64_t block : {shape.n * shape.h, int64_t{5}})
          ASSERT_EQ(Step(c, level, shape, image, block), expected)
              << "selection " << i << ", " << pairs.size() << " pairs, " << shape.n << " " << shape.h << " " << shape.w;
      }
    }
  }
}

TEST_P(PairsStepTest, IsTheCompositionFloat) { IsTheComposition<float>(GetParam(), &random_); }
TEST_P(PairsStepTest, IsTheCompositionDouble) { IsTheComposition<double>(GetParam(), &random_); }

TEST_P(PairsStepTest, LevelsAgree) {
  const ImageShape shape = {1, 21, 45, 1};
  for (const SelectParameters& selection : ManySelections()) {
    for (const auto& pairs : ManyPairs()) {
      const Case<float> c(&random_, selection, selection, pairs);
      const auto image = Uniform<float>(&random_, Pixels(shape), 1.0f);
      ASSERT_EQ(Step(c, GetParam(), shape, image, shape.h), Step(c, SimdLevel::kPortable, shape, image, shape.h));
    }
  }
}

TEST(SidesOfTest, PartnersFromAboveToBelowThenByPairs) {
  const auto sides = SidesOf({{0, 0, 0, 1, 0}, {1, 0, 0, 0, 1}, {2, 2, 0, 0, 0}});
  std::vector<int64_t> order;
  for (const PairSide& side : sides) order.push_back(side.is_a ? side.plane : -side.plane - 1);
  EXPECT_EQ(order, (std::vector<int64_t>{2, -1, 1, -2, 0, -3}));
}

}  // namespace
}  // namespace blade
