#include "cc/blade/exchange.h"

#include <cmath>
#include <limits>
#include <thread>

#include "cc/tests/test_util.h"

namespace blade {
namespace {

class ExchangeTest : public testing::TestWithParam<SimdLevel> {
 protected:
  std::mt19937 random_{20211016};
};

INSTANTIATE_TEST_SUITE_P(Levels, ExchangeTest, testing::ValuesIn(Levels()), LevelName);

using Pairs = std::vector<Pair>;

// Neighbours; both pixels on one side of p, or on either side; a plane used twice; partners farther than small images
// are wide. Plane 3 couples nothing.
const Pairs kPairs = {{0, 0, 0, 0, 1}, {1, 0, 0, 1, 0},    {1, 0, -1, 0, 1}, {2, 1, -1, -1, 1}, {2, -2, 0, 1, -2},
                      {0, 1, 1, 2, 3}, {2, -1, -3, 0, -1}, {4, 0, -1, 0, 2}, {4, 3, 5, -2, -4}};
constexpr int64_t kPlanes = 5;

int64_t Values(const ExchangeShape& shape) { return shape.rows() * shape.w * shape.channels; }
int64_t Pixels(const ExchangeShape& shape) { return shape.rows() * shape.w; }
int64_t Conductances(const ExchangeShape& shape) { return Pixels(shape) * shape.planes; }

// Every size 0 and 1, images smaller than the pairs' reach, and what vectors of 4 to 16 numbers leave over.
std::vector<ExchangeShape> ManyShapes() {
  std::vector<ExchangeShape> shapes = {{0, 1, kPlanes, 4, 5}, {2, 0, kPlanes, 4, 5}, {2, 1, kPlanes, 0, 5},
                                       {2, 1, kPlanes, 4, 0}, {1, 1, kPlanes, 1, 1}, {2, 3, kPlanes, 1, 1},
                                       {1, 2, kPlanes, 1, 9}, {3, 1, kPlanes, 9, 1}, {2, 3, kPlanes, 8, 13}};
  for (int64_t w : {2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 67}) shapes.push_back({1, 1, kPlanes, 7, w});
  return shapes;
}

std::string Name(const ExchangeShape& shape) {
  std::string name;
  for (int64_t size : {shape.n, shape.channels, shape.planes, shape.h, shape.w}) name += " " + std::to_string(size);
  return name;
}

// Uniform in [0, most): with 0.05 no limit binds, with 0.5 most do, and not all by as much.
template <typename T>
std::vector<T> Uniform(std::mt19937* random, int64_t n, float most) {
  std::uniform_real_distribution<float> distribution(0.0f, most);
  std::vector<T> values(static_cast<size_t>(n));
  for (T& value : values) value = static_cast<T>(distribution(*random));
  return values;
}

struct Coupling {
  size_t c, i, j, image;  // conductance, and pixels, i for the pair's a, of all images together
};

std::vector<Coupling> Couplings(const ExchangeShape& shape, const Pairs& pairs) {
  std::vector<Coupling> found;
  const auto inside = [](int64_t i, int64_t size) { return 0 <= i && i < size; };
  for (int64_t n = 0; n < shape.n; ++n)
    for (const Pair& pair : pairs)
      for (int64_t y = 0; y < shape.h; ++y)
        for (int64_t x = 0; x < shape.w; ++x) {
          if (!inside(y + pair.ay, shape.h) || !inside(y + pair.by, shape.h)) continue;
          if (!inside(x + pair.ax, shape.w) || !inside(x + pair.bx, shape.w)) continue;
          found.push_back({static_cast<size_t>(((n * shape.planes + pair.plane) * shape.h + y) * shape.w + x),
                           static_cast<size_t>((n * shape.h + y + pair.ay) * shape.w + x + pair.ax),
                           static_cast<size_t>((n * shape.h + y + pair.by) * shape.w + x + pair.bx),
                           static_cast<size_t>(n)});
        }
  return found;
}

// Where a pixel's channel is in a planar image.
size_t At(const ExchangeShape& shape, const Coupling& coupling, size_t pixel, int64_t channel) {
  const size_t plane = static_cast<size_t>(shape.h * shape.w);
  return pixel + plane * (coupling.image * static_cast<size_t>(shape.channels - 1) + static_cast<size_t>(channel));
}

// The definition in double, coupling by coupling; magnitudes are sums of absolute values, which bound the rounding.
struct Expected {
  std::vector<double> limit, change, change_magnitude, sum_grad, sum_magnitude, conductance_grad, grad_magnitude;
};

template <typename F>
Expected Define(const ExchangeShape& shape, const Pairs& pairs, const std::vector<F>& image,
                const std::vector<F>& conductance, const std::vector<F>& grad) {
  const size_t pixels = static_cast<size_t>(Pixels(shape)), values = static_cast<size_t>(Values(shape));
  const std::vector<Coupling> couplings = Couplings(shape, pairs);
  const auto number = [](F value) { return static_cast<double>(value); };
  Expected e;
  std::vector<double> total(pixels);
  for (const Coupling& k : couplings) {
    total[k.i] += number(conductance[k.c]);
    total[k.j] += number(conductance[k.c]);
  }
  for (double d : total) e.limit.push_back(1 / std::max(d, 1.0));
  e.change.resize(values);
  e.change_magnitude.resize(values);
  e.sum_grad.resize(pixels);
  e.sum_magnitude.resize(pixels);
  e.conductance_grad.resize(conductance.size());
  e.grad_magnitude.resize(conductance.size());
  for (const Coupling& k : couplings) {
    const size_t lesser = e.limit[k.i] <= e.limit[k.j] ? k.i : k.j;
    const double r = e.limit[lesser], c = number(conductance[k.c]);
    for (int64_t channel = 0; channel < shape.channels; ++channel) {
      const size_t i = At(shape, k, k.i, channel), j = At(shape, k, k.j, channel);
      const double difference = number(image[j]) - number(image[i]);
      const double size = std::abs(number(image[i])) + std::abs(number(image[j]));
      const double slope = difference * (number(grad[i]) - number(grad[j]));
      const double slopes = size * (std::abs(number(grad[i])) + std::abs(number(grad[j])));
      e.change[i] += c * r * difference;
      e.change[j] -= c * r * difference;
      e.change_magnitude[i] += c * r * size;
      e.change_magnitude[j] += c * r * size;
      e.conductance_grad[k.c] += r * slope;
      e.grad_magnitude[k.c] += r * slopes;
      if (total[lesser] > 1) {
        e.sum_grad[lesser] -= r * r * c * slope;
        e.sum_magnitude[lesser] += r * r * c * slopes;
      }
    }
  }
  for (const Coupling& k : couplings) {
    e.conductance_grad[k.c] += e.sum_grad[k.i] + e.sum_grad[k.j];
    e.grad_magnitude[k.c] += e.sum_magnitude[k.i] + e.sum_magnitude[k.j];
  }
  return e;
}

template <typename F>
struct Found {
  std::vector<F> limit, change, sum_grad, conductance_grad;
};

// Each of the four functions over all rows, by `cover`, which calls its argument for ranges of them.
template <typename F, typename Cover>
Found<F> Exchange(SimdLevel level, const ExchangeShape& shape, const Pairs& pairs, const std::vector<F>& image,
                  const std::vector<F>& conductance, const std::vector<F>& grad, const Cover& cover) {
  // What is not overwritten shows.
  const auto unset = [](int64_t n) { return std::vector<F>(static_cast<size_t>(n), F(-77)); };
  Found<F> found = {unset(Pixels(shape)), unset(Values(shape)), unset(Pixels(shape)), unset(Conductances(shape))};
  cover([&](int64_t begin, int64_t end) {
    ExchangeLimitRows(shape, pairs, level, conductance.data(), begin, end, found.limit.data());
  });
  cover([&](int64_t begin, int64_t end) {
    ExchangeRows(shape, pairs, level, image.data(), conductance.data(), found.limit.data(), begin, end,
                 found.change.data());
  });
  cover([&](int64_t begin, int64_t end) {
    ExchangeGradSumRows(shape, pairs, level, image.data(), conductance.data(), found.limit.data(), grad.data(), begin,
                        end, found.sum_grad.data());
  });
  cover([&](int64_t begin, int64_t end) {
    ExchangeGradConductanceRows(shape, pairs, level, image.data(), found.limit.data(), grad.data(),
                                found.sum_grad.data(), begin, end, found.conductance_grad.data());
  });
  return found;
}

template <typename F>
Found<F> Exchange(SimdLevel level, const ExchangeShape& shape, const Pairs& pairs, const std::vector<F>& image,
                  const std::vector<F>& conductance, const std::vector<F>& grad) {
  return Exchange(level, shape, pairs, image, conductance, grad,
                  [&](const auto& work) { work(int64_t{0}, shape.rows()); });
}

template <typename F>
void Near(const std::vector<F>& found, const std::vector<double>& expected, const std::vector<double>& magnitude,
          double precision, const std::string& what) {
  ASSERT_EQ(found.size(), expected.size()) << what;
  for (size_t i = 0; i < found.size(); ++i)
    ASSERT_NEAR(static_cast<double>(found[i]), expected[i], precision * magnitude[i]) << what << " at " << i;
}

template <typename F>
void IsItsDefinition(SimdLevel level, std::mt19937* random) {
  const double precision = 16 * static_cast<double>(std::numeric_limits<F>::epsilon());
  for (const ExchangeShape& shape : ManyShapes()) {
    for (float most : {0.05f, 0.5f}) {
      const auto image = Normal<F>(random, Values(shape)), grad = Normal<F>(random, Values(shape));
      const auto conductance = Uniform<F>(random, Conductances(shape), most);
      const Expected expected = Define(shape, kPairs, image, conductance, grad);
      const Found<F> found = Exchange(level, shape, kPairs, image, conductance, grad);
      Near(found.limit, expected.limit, expected.limit, precision, "limit of" + Name(shape));
      Near(found.change, expected.change, expected.change_magnitude, precision, "change of" + Name(shape));
      Near(found.sum_grad, expected.sum_grad, expected.sum_magnitude, precision, "dL/dD of" + Name(shape));
      Near(found.conductance_grad, expected.conductance_grad, expected.grad_magnitude, precision,
           "dL/dc of" + Name(shape));
    }
  }
}

TEST_P(ExchangeTest, IsItsDefinitionFloat) { IsItsDefinition<float>(GetParam(), &random_); }
TEST_P(ExchangeTest, IsItsDefinitionDouble) { IsItsDefinition<double>(GetParam(), &random_); }

TEST_P(ExchangeTest, GradientAgreesWithDifferences) {
  const ExchangeShape shape = {1, 2, kPlanes, 5, 6};
  const auto image = Normal<double>(&random_, Values(shape)), grad = Normal<double>(&random_, Values(shape));
  const auto conductance = Uniform<double>(&random_, Conductances(shape), 0.5f);
  const auto loss = [&](const std::vector<double>& c) {
    const auto change = Exchange(GetParam(), shape, kPairs, image, c, grad).change;
    double sum = 0;
    for (size_t i = 0; i < change.size(); ++i) sum += change[i] * grad[i];
    return sum;
  };
  const auto found = Exchange(GetParam(), shape, kPairs, image, conductance, grad);
  EXPECT_LT(*std::min_element(found.limit.begin(), found.limit.end()), 0.9);
  for (size_t k = 0; k < conductance.size(); ++k) {
    auto above = conductance, below = conductance;
    above[k] += 1e-6;
    below[k] -= 1e-6;
    ASSERT_NEAR(found.conductance_grad[k], (loss(above) - loss(below)) / 2e-6, 1e-7) << k;
  }
}

// The limits of a pair's two pixels tie where no other pair is: what flows is 1 c / c, whatever c.
TEST_P(ExchangeTest, OneOfTwoTiedLimitsHasTheGradient) {
  const ExchangeShape shape = {1, 1, 1, 1, 2};
  const auto found = Exchange<float>(GetParam(), shape, {{0, 0, 0, 0, 1}}, {1.0f, 3.0f}, {4.0f, 100.0f}, {0.5f, -1.0f});
  EXPECT_EQ(found.limit, (std::vector<float>{0.25f, 0.25f}));
  EXPECT_EQ(found.change, (std::vector<float>{2.0f, -2.0f}));
  EXPECT_EQ(found.sum_grad, (std::vector<float>{-0.75f, 0.0f}));
  EXPECT_EQ(found.conductance_grad, (std::vector<float>{0.0f, 0.0f}));
}

// Numbers so simple that nothing is rounded: the mass stays, and <E u, g> = <u, E g>.
template <typename F>
void ConservesAndIsItsOwnAdjoint(SimdLevel level, std::mt19937* random) {
  for (const ExchangeShape& shape : ManyShapes()) {
    const auto image = Integers<F>(random, Values(shape)), grad = Integers<F>(random, Values(shape));
    std::vector<F> conductance(static_cast<size_t>(Conductances(shape)));
    for (F& c : conductance) c = static_cast<F>((*random)() % 4) / F(64);
    const auto of_image = Exchange(level, shape, kPairs, image, conductance, grad).change;
    const auto of_grad = Exchange(level, shape, kPairs, grad, conductance, image).change;
    double mass = 0, one = 0, other = 0;
    for (size_t i = 0; i < image.size(); ++i) {
      mass += static_cast<double>(of_image[i]);
      one += static_cast<double>(of_image[i] * grad[i]);
      other += static_cast<double>(image[i] * of_grad[i]);
    }
    EXPECT_EQ(mass, 0) << Name(shape);
    EXPECT_EQ(one, other) << Name(shape);
  }
}

TEST_P(ExchangeTest, ConservesAndIsItsOwnAdjointFloat) { ConservesAndIsItsOwnAdjoint<float>(GetParam(), &random_); }
TEST_P(ExchangeTest, ConservesAndIsItsOwnAdjointDouble) { ConservesAndIsItsOwnAdjoint<double>(GetParam(), &random_); }

// With any conductances, of any size, u + change stays in the range of u.
TEST_P(ExchangeTest, KeepsTheRange) {
  for (const ExchangeShape& shape : ManyShapes()) {
    for (float most : {0.2f, 3.0f, 1e30f}) {
      std::vector<float> image(static_cast<size_t>(Values(shape)));
      for (float& value : image) value = static_cast<float>(random_() % 2);
      const auto conductance = Uniform<float>(&random_, Conductances(shape), most);
      const auto change = Exchange(GetParam(), shape, kPairs, image, conductance, image).change;
      for (size_t i = 0; i < image.size(); ++i) {
        ASSERT_GE(image[i] + change[i], -2e-6f) << Name(shape);
        ASSERT_LE(image[i] + change[i], 1 + 2e-6f) << Name(shape);
      }
    }
  }
}

TEST_P(ExchangeTest, DependsNeitherOnThePartitionNorOnThreadsNorOnTheLevel) {
  for (const ExchangeShape& shape : ManyShapes()) {
    const auto image = Normal<float>(&random_, Values(shape)), grad = Normal<float>(&random_, Values(shape));
    const auto conductance = Uniform<float>(&random_, Conductances(shape), 0.5f);
    const auto whole = Exchange(SimdLevel::kPortable, shape, kPairs, image, conductance, grad);
    const auto in_ranges = [&](const auto& work) { InRanges(shape.rows(), work); };
    const auto in_threads = [&](const auto& work) {
      std::vector<std::thread> threads;
      for (int64_t first = 0; first < 3; ++first)
        threads.emplace_back([&, first] {
          for (int64_t row = first; row < shape.rows(); row += 3) work(row, row + 1);
        });
      for (std::thread& thread : threads) thread.join();
    };
    for (const auto& parts : {Exchange(GetParam(), shape, kPairs, image, conductance, grad, in_ranges),
                              Exchange(GetParam(), shape, kPairs, image, conductance, grad, in_threads)}) {
      ASSERT_TRUE(SameBits(parts.limit, whole.limit)) << Name(shape);
      ASSERT_TRUE(SameBits(parts.change, whole.change)) << Name(shape);
      ASSERT_TRUE(SameBits(parts.sum_grad, whole.sum_grad)) << Name(shape);
      ASSERT_TRUE(SameBits(parts.conductance_grad, whole.conductance_grad)) << Name(shape);
    }
  }
}

// A wrong pixel reaches its partners alone; a wrong conductance the pixels that it couples.
TEST_P(ExchangeTest, NanAndInfinityStayWithTheirCouplings) {
  const ExchangeShape shape = {2, 2, kPlanes, 6, 19};
  const auto clean = Normal<float>(&random_, Values(shape));
  const auto sound = Uniform<float>(&random_, Conductances(shape), 0.5f);
  const std::vector<Coupling> couplings = Couplings(shape, kPairs);
  for (float wrong : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (size_t at = 0; at < clean.size(); at += 7) {
      auto image = clean;
      image[at] = wrong;
      std::vector<bool> reached(image.size());
      for (const Coupling& k : couplings)
        for (int64_t channel = 0; channel < shape.channels; ++channel) {
          const size_t i = At(shape, k, k.i, channel), j = At(shape, k, k.j, channel);
          if (i == at || j == at) reached[i] = reached[j] = true;
        }
      const auto change = Exchange(GetParam(), shape, kPairs, image, sound, clean).change;
      for (size_t i = 0; i < change.size(); ++i) ASSERT_EQ(!std::isfinite(change[i]), reached[i]) << at << " " << i;
    }
    for (size_t at = 0; at < sound.size(); at += 31) {
      auto conductance = sound;
      conductance[at] = wrong;
      std::vector<bool> reached(clean.size());
      for (const Coupling& k : couplings)
        for (int64_t channel = 0; channel < shape.channels && k.c == at; ++channel)
          reached[At(shape, k, k.i, channel)] = reached[At(shape, k, k.j, channel)] = true;
      const auto change = Exchange(GetParam(), shape, kPairs, clean, conductance, clean).change;
      for (size_t i = 0; i < change.size(); ++i) ASSERT_EQ(!std::isfinite(change[i]), reached[i]) << at << " " << i;
    }
  }
}

TEST_P(ExchangeTest, SubnormalNumbersCountAsZero) {
  if (!kCanFlushSubnormals) GTEST_SKIP() << "this processor computes with subnormal numbers";
  const ExchangeShape shape = {1, 1, 1, 1, 2};
  const float tiny = std::numeric_limits<float>::denorm_min();
  const Pairs pair = {{0, 0, 0, 0, 1}};
  EXPECT_EQ(Exchange<float>(GetParam(), shape, pair, {0.0f, 1e-39f}, {0.5f, 0.0f}, {1.0f, 0.0f}).change,
            (std::vector<float>{0.0f, 0.0f}));
  EXPECT_EQ(Exchange<float>(GetParam(), shape, pair, {0.0f, 1e30f}, {tiny, 0.0f}, {1.0f, 0.0f}).change,
            (std::vector<float>{0.0f, 0.0f}));
}

TEST(ParsePairsTest, FiveNumbersAPair) {
  Pairs pairs;
  EXPECT_EQ(ParsePairs({}, &pairs), "");
  EXPECT_TRUE(pairs.empty());
  EXPECT_EQ(ParsePairs({2, 0, -1, 3, 4, 0, 1, 1, 1, 2}, &pairs), "");
  ASSERT_EQ(pairs.size(), 2u);
  EXPECT_EQ(pairs[0].plane, 2);
  EXPECT_EQ(pairs[0].ay, 0);
  EXPECT_EQ(pairs[0].ax, -1);
  EXPECT_EQ(pairs[0].by, 3);
  EXPECT_EQ(pairs[0].bx, 4);
  EXPECT_EQ(pairs[1].bx, 2);
}

TEST(ParsePairsTest, NamesWhatMakesNoPair) {
  Pairs pairs;
  EXPECT_EQ(ParsePairs({0, 0, 0, 1}, &pairs), "pairs: expected five numbers a pair, got 4");
  const std::string expected = "pairs: expected a plane and the offsets of two different pixels, got ";
  EXPECT_EQ(ParsePairs({0, 2, 3, 2, 3}, &pairs), expected + "(0, 2, 3, 2, 3)");
  EXPECT_EQ(ParsePairs({-1, 0, 0, 0, 1}, &pairs), expected + "(-1, 0, 0, 0, 1)");
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max(), kLeast = std::numeric_limits<int64_t>::min();
  for (int64_t far : {kMost, kLeast, int64_t{1} << 20, -(int64_t{1} << 20) - 1}) {
    for (size_t at = 0; at < 5; ++at) {
      std::vector<int64_t> numbers = {0, 0, 0, 0, 1};
      numbers[at] = far;
      EXPECT_EQ(ParsePairs(numbers, &pairs).substr(0, expected.size()), expected) << far << " " << at;
    }
  }
  EXPECT_TRUE(pairs.empty());
}

// Offsets as far as they may be couple no pixels of an image.
TEST_P(ExchangeTest, PartnersBeyondTheImageAreNone) {
  Pairs pairs;
  constexpr int64_t kFar = (1 << 20) - 1;
  ASSERT_EQ(ParsePairs({0, 0, 0, 0, kFar, 0, -kFar, 0, 0, 0, 0, 0, -kFar - 1, kFar, 0, 0, 1, 1, -8, 8}, &pairs), "");
  const ExchangeShape shape = {1, 1, 1, 5, 9};
  const std::vector<float> image = Normal<float>(&random_, 45), conductance(45, 0.5f);
  const auto found = Exchange(GetParam(), shape, pairs, image, conductance, image);
  EXPECT_EQ(found.limit, std::vector<float>(45, 1.0f));
  for (const auto& none : {found.change, found.sum_grad, found.conductance_grad})
    EXPECT_EQ(none, std::vector<float>(45, 0.0f));
}

}  // namespace
}  // namespace blade
