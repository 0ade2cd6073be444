#include "cc/blade/lookup.h"

#include <cmath>
#include <limits>
#include <thread>

#include "cc/tests/test_util.h"

namespace blade {
namespace {

class LookupTest : public testing::TestWithParam<SimdLevel> {
 protected:
  std::mt19937 random_{20211016};
};

INSTANTIATE_TEST_SUITE_P(Levels, LookupTest, testing::ValuesIn(Levels()), LevelName);

// Every size 0 and 1, and what vectors of 4 to 16 numbers leave over.
std::vector<LookupShape> ManyShapes() {
  std::vector<LookupShape> shapes = {{0, 3, 4, 5, 2}, {2, 0, 4, 5, 2},  {2, 3, 0, 5, 2},  {2, 3, 4, 0, 2},
                                     {2, 3, 4, 0, 0}, {1, 1, 1, 1, 1},  {3, 2, 1, 1, 5},  {1, 2, 9, 1, 3},
                                     {1, 4, 1, 9, 3}, {2, 6, 5, 13, 7}, {1, 10, 40, 6, 9}};
  for (int64_t w : {2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 67}) shapes.push_back({2, 3, 3, w, 50});
  return shapes;
}

std::string Name(const LookupShape& shape) {
  std::string name;
  for (int64_t size : {shape.n, shape.planes, shape.h, shape.w, shape.k}) name += " " + std::to_string(size);
  return name;
}

template <typename F>
struct Inputs {
  std::vector<F> table, weight, grad;
  std::vector<int32_t> lower, upper;
};

// Weights in [0, 1], both ends among them.
template <typename F>
Inputs<F> RandomInputs(std::mt19937* random, const LookupShape& shape) {
  Inputs<F> in;
  in.table = Normal<F>(random, shape.k * shape.planes);
  in.grad = Normal<F>(random, shape.pixels() * shape.planes);
  in.lower = Selection(random, shape.pixels(), shape.k);
  in.upper = Selection(random, shape.pixels(), shape.k);
  std::uniform_real_distribution<float> distribution(-0.2f, 1.2f);
  for (int64_t i = 0; i < shape.pixels(); ++i)
    in.weight.push_back(static_cast<F>(std::clamp(distribution(*random), 0.0f, 1.0f)));
  return in;
}

template <typename F>
struct Found {
  std::vector<F> out, weight_grad;
  std::vector<double> table_grad;
  int64_t wrong, wrong_grad;
};

int64_t First(int64_t a, int64_t b) { return a == kSelectionInRange || (b != kSelectionInRange && b < a) ? b : a; }

// Both functions over all rows in ranges of `size`.
template <typename F>
Found<F> Lookup(SimdLevel level, const LookupShape& shape, const Inputs<F>& in, int64_t size) {
  Found<F> found;
  // What is not overwritten shows.
  found.out.assign(in.grad.size(), F(-77));
  found.weight_grad.assign(in.weight.size(), F(-77));
  found.wrong = found.wrong_grad = kSelectionInRange;
  for (int64_t begin = 0; begin < shape.rows(); begin += size)
    found.wrong =
        First(found.wrong, LookupRows(shape, level, in.table.data(), in.lower.data(), in.upper.data(), in.weight.data(),
                                      begin, std::min(begin + size, shape.rows()), found.out.data()));
  const LookupBlocks blocks(shape);
  EXPECT_EQ(blocks.begin(0), 0);
  EXPECT_EQ(blocks.end(blocks.count() - 1), shape.rows());
  found.table_grad.assign(in.table.size(), 0.0);
  std::vector<double> sums(in.table.size());
  for (int64_t block = 0; block < blocks.count(); ++block) {
    std::fill(sums.begin(), sums.end(), -77.0);
    found.wrong_grad =
        First(found.wrong_grad,
              LookupGradRows(shape, in.table.data(), in.lower.data(), in.upper.data(), in.weight.data(), in.grad.data(),
                             blocks.begin(block), blocks.end(block), sums.data(), found.weight_grad.data()));
    for (size_t i = 0; i < sums.size(); ++i) found.table_grad[i] += sums[i];
  }
  return found;
}

// The definition in double, a number at a time; magnitudes are sums of absolute values, which bound the rounding.
template <typename F>
void IsItsDefinition(SimdLevel level, std::mt19937* random) {
  const double precision = 4 * static_cast<double>(std::numeric_limits<F>::epsilon());
  for (const LookupShape& shape : ManyShapes()) {
    const Inputs<F> in = RandomInputs<F>(random, shape);
    const Found<F> found = Lookup(level, shape, in, std::max<int64_t>(shape.rows(), 1));
    ASSERT_EQ(found.wrong, kSelectionInRange) << Name(shape);
    ASSERT_EQ(found.wrong_grad, kSelectionInRange) << Name(shape);
    std::vector<double> table_grad(in.table.size()), table_magnitude(in.table.size());
    for (int64_t i = 0; i < shape.pixels(); ++i) {
      const size_t at = static_cast<size_t>(i);
      const double w = static_cast<double>(in.weight[at]);
      double weight_grad = 0, magnitude = 0;
      for (int64_t p = 0; p < shape.planes; ++p) {
        const size_t low = static_cast<size_t>(in.lower[at] * shape.planes + p);
        const size_t high = static_cast<size_t>(in.upper[at] * shape.planes + p);
        const int64_t area = shape.h * shape.w;
        const size_t planar = static_cast<size_t>((i / area * shape.planes + p) * area + i % area);
        const double a = static_cast<double>(in.table[low]), b = static_cast<double>(in.table[high]);
        const double g = static_cast<double>(in.grad[planar]);
        ASSERT_NEAR(static_cast<double>(found.out[planar]), (1 - w) * a + w * b,
                    precision * (std::abs(a) + std::abs(b)))
            << Name(shape);
        table_grad[low] += (1 - w) * g;
        table_grad[high] += w * g;
        table_magnitude[low] += (1 - w) * std::abs(g);
        table_magnitude[high] += w * std::abs(g);
        weight_grad += (b - a) * g;
        magnitude += (std::abs(a) + std::abs(b)) * std::abs(g);
      }
      ASSERT_NEAR(static_cast<double>(found.weight_grad[at]), weight_grad,
                  static_cast<double>(shape.planes) * precision * magnitude)
          << Name(shape);
    }
    for (size_t k = 0; k < table_grad.size(); ++k)
      ASSERT_NEAR(found.table_grad[k], table_grad[k], 1e-13 * table_magnitude[k]) << Name(shape);
  }
}

TEST_P(LookupTest, IsItsDefinitionFloat) { IsItsDefinition<float>(GetParam(), &random_); }
TEST_P(LookupTest, IsItsDefinitionDouble) { IsItsDefinition<double>(GetParam(), &random_); }

// Two entries that are one, and a weight of 0, give the entry itself.
TEST_P(LookupTest, HardSelectionsAreCopies) {
  const LookupShape shape = {2, 4, 5, 37, 11};
  Inputs<float> in = RandomInputs<float>(&random_, shape);
  const auto expect_entries = [&](const std::vector<float>& out) {
    for (size_t i = 0; i < out.size(); ++i) {
      const size_t pixel = i / (4 * 185) * 185 + i % 185;
      ASSERT_EQ(out[i], in.table[static_cast<size_t>(in.lower[pixel]) * 4 + i / 185 % 4]) << i;
    }
  };
  const std::vector<int32_t> other = in.upper;
  in.upper = in.lower;
  expect_entries(Lookup(GetParam(), shape, in, 3).out);
  in.upper = other;
  std::fill(in.weight.begin(), in.weight.end(), 0.0f);
  expect_entries(Lookup(GetParam(), shape, in, 3).out);
}

TEST_P(LookupTest, DependsNeitherOnThePartitionNorOnThreadsNorOnTheLevel) {
  for (const LookupShape& shape : ManyShapes()) {
    const Inputs<float> in = RandomInputs<float>(&random_, shape);
    const Found<float> whole = Lookup(SimdLevel::kPortable, shape, in, std::max<int64_t>(shape.rows(), 1));
    const Found<float> parts = Lookup(GetParam(), shape, in, 2);
    ASSERT_TRUE(SameBits(parts.out, whole.out)) << Name(shape);
    std::vector<float> out(whole.out.size()), weight_grad(whole.weight_grad.size());
    const LookupBlocks blocks(shape);
    std::vector<double> sums(static_cast<size_t>(blocks.count()) * in.table.size());
    std::vector<std::thread> threads;
    for (int64_t first = 0; first < 3; ++first)
      threads.emplace_back([&, first] {
        for (int64_t row = first; row < shape.rows(); row += 3)
          LookupRows(shape, GetParam(), in.table.data(), in.lower.data(), in.upper.data(), in.weight.data(), row,
                     row + 1, out.data());
        for (int64_t block = first; block < blocks.count(); block += 3)
          LookupGradRows(shape, in.table.data(), in.lower.data(), in.upper.data(), in.weight.data(), in.grad.data(),
                         blocks.begin(block), blocks.end(block),
                         sums.data() + static_cast<size_t>(block) * in.table.size(), weight_grad.data());
      });
    for (std::thread& thread : threads) thread.join();
    ASSERT_TRUE(SameBits(out, whole.out)) << Name(shape);
    ASSERT_TRUE(SameBits(weight_grad, whole.weight_grad)) << Name(shape);
    std::vector<double> table_grad(in.table.size());
    for (size_t i = 0; i < sums.size(); ++i) table_grad[i % table_grad.size()] += sums[i];
    ASSERT_TRUE(SameBits(table_grad, whole.table_grad)) << Name(shape);
  }
}

TEST_P(LookupTest, ANanStaysWithTheNumbersThatTakeIt) {
  const LookupShape shape = {1, 3, 6, 21, 5};
  const Inputs<float> clean = RandomInputs<float>(&random_, shape);
  Inputs<float> in = clean;
  in.weight[40] = std::numeric_limits<float>::quiet_NaN();
  auto out = Lookup(GetParam(), shape, in, 6).out;
  for (size_t i = 0; i < out.size(); ++i) ASSERT_EQ(std::isnan(out[i]), i % 126 == 40) << i;
  in = clean;
  in.table[2 * 3 + 1] = std::numeric_limits<float>::quiet_NaN();
  out = Lookup(GetParam(), shape, in, 6).out;
  for (size_t i = 0; i < out.size(); ++i)
    ASSERT_EQ(std::isnan(out[i]), i / 126 == 1 && (in.lower[i % 126] == 2 || in.upper[i % 126] == 2)) << i;
}

TEST_P(LookupTest, ReportsTheFirstSelectionOutOfRange) {
  const LookupShape shape = {2, 2, 5, 19, 4};
  const int64_t values = 2 * shape.pixels();
  for (int32_t wrong : {4, -1, 999, std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min()}) {
    for (int64_t first = 0; first < values; first += 7) {
      Inputs<float> in = RandomInputs<float>(&random_, shape);
      const auto set = [&](int64_t position, int32_t value) {
        const int64_t row = position / (2 * shape.w), x = position % shape.w;
        (position / shape.w % 2 == 0 ? in.lower : in.upper)[static_cast<size_t>(row * shape.w + x)] = value;
      };
      set(first, wrong);
      set(values - 1, -5);
      for (int64_t later = first + 1; later < values; later += 23) set(later, 4);
      for (int64_t size : {1, 3, 10}) {
        const Found<float> found = Lookup(GetParam(), shape, in, size);
        ASSERT_EQ(found.wrong, first);
        ASSERT_EQ(found.wrong_grad, first);
      }
    }
  }
}

TEST_P(LookupTest, NoSelectionIsInRangeOfAnEmptyTable) {
  const LookupShape shape = {1, 2, 1, 3, 0};
  for (int32_t value : {0, 1, -1, std::numeric_limits<int32_t>::max()}) {
    Inputs<float> in = RandomInputs<float>(&random_, shape);
    in.lower.assign(3, value);
    in.upper.assign(3, value);
    const Found<float> found = Lookup(GetParam(), shape, in, 1);
    EXPECT_EQ(found.wrong, 0);
    EXPECT_EQ(found.wrong_grad, 0);
  }
}

TEST(LookupBlocksTest, CoverAllRowsOnceWhateverTheirNumber) {
  for (int64_t rows = 0; rows < 200; ++rows) {
    const LookupBlocks blocks({1, 1, rows, 3, 2});
    ASSERT_GE(blocks.count(), 1);
    ASSERT_LE(blocks.count(), 16);
    int64_t next = 0;
    for (int64_t block = 0; block < blocks.count(); ++block) {
      ASSERT_EQ(blocks.begin(block), next);
      ASSERT_GE(blocks.end(block), next);
      next = blocks.end(block);
    }
    ASSERT_EQ(next, rows);
  }
}

}  // namespace
}  // namespace blade
