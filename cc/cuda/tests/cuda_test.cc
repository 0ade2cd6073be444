#include <cmath>
#include <limits>

#include "cc/cuda/blade_cuda.h"
#include "cc/cuda/tests/emulated/cuda_runtime.h"
#include "cc/tests/test_util.h"

// The kernels, run by the processor, against its own: the selection bit for bit, sums to their rounding.

namespace blade {
namespace {

template <typename T>
constexpr int32_t kValues = BLADE_CUDA_FLOAT32;
template <>
constexpr int32_t kValues<Half> = BLADE_CUDA_FLOAT16;
template <>
constexpr int32_t kValues<BFloat16> = BLADE_CUDA_BFLOAT16;

template <typename T, typename Index>
BladeCudaShape CudaShape(const Sizes& sizes) {
  const auto [n, h, w, c] = sizes.image;
  const auto [k, r, s] = sizes.filters;
  return {n, h, w, c, k, r, s, kValues<T>, sizeof(Index) == 1 ? BLADE_CUDA_UINT8 : BLADE_CUDA_INT32};
}

constexpr int64_t kUnwritten = -2;

template <typename T, typename Index>
std::vector<T> CudaFilter(const Sizes& sizes, const std::vector<T>& image, const std::vector<T>& filters,
                          const std::vector<Index>& selection, int64_t* first_wrong) {
  const BladeCudaShape shape = CudaShape<T, Index>(sizes);
  std::vector<T> output(image.size());
  EXPECT_STREQ(
      blade_cuda_filter(&shape, image.data(), filters.data(), selection.data(), output.data(), first_wrong, nullptr),
      nullptr);
  return output;
}

template <typename T, typename Index>
std::vector<T> CudaGradImage(const Sizes& sizes, const std::vector<T>& filters, const std::vector<Index>& selection,
                             const std::vector<T>& grad, int64_t* first_wrong) {
  const BladeCudaShape shape = CudaShape<T, Index>(sizes);
  std::vector<T> output(grad.size());
  EXPECT_STREQ(
      blade_cuda_grad_image(&shape, filters.data(), selection.data(), grad.data(), output.data(), first_wrong, nullptr),
      nullptr);
  return output;
}

template <typename T, typename Index>
std::vector<T> CudaGradFilters(const Sizes& sizes, const std::vector<T>& image, const std::vector<Index>& selection,
                               const std::vector<T>& grad, int64_t* first_wrong) {
  const BladeCudaShape shape = CudaShape<T, Index>(sizes);
  std::vector<T> output(static_cast<size_t>(Values(sizes.filters)));
  std::vector<char> scratch(static_cast<size_t>(blade_cuda_grad_filters_scratch(&shape)));
  EXPECT_STREQ(blade_cuda_grad_filters(&shape, image.data(), selection.data(), grad.data(), scratch.data(),
                                       output.data(), first_wrong, nullptr),
               nullptr);
  return output;
}

BladeCudaPlan Plan(const SelectParameters& p) {
  BladeCudaPlan plan;
  const auto count = [](const std::vector<float>& v) { return static_cast<int64_t>(v.size()); };
  EXPECT_STREQ(blade_cuda_plan(p.orientations, p.strength_thresholds.data(), count(p.strength_thresholds),
                               p.coherence_thresholds.data(), count(p.coherence_thresholds),
                               p.intensity_thresholds.data(), count(p.intensity_thresholds), p.rho, &plan),
               nullptr);
  return plan;
}

template <typename T, typename Index = int32_t>
std::vector<int32_t> CudaSelect(const ImageShape& image_shape, const std::vector<T>& image, const SelectParameters& p) {
  const BladeCudaShape shape = CudaShape<T, Index>({image_shape, {0, 0, 0}});
  const BladeCudaPlan plan = Plan(p);
  std::vector<Index> selection(static_cast<size_t>(Pixels(image_shape)));
  std::vector<char> scratch(static_cast<size_t>(blade_cuda_select_scratch(&shape, &plan)));
  EXPECT_STREQ(blade_cuda_select(&shape, &plan, image.data(), scratch.data(), selection.data(), nullptr), nullptr);
  return {selection.begin(), selection.end()};
}

template <typename T>
std::vector<int32_t> CpuSelect(const ImageShape& shape, const std::vector<T>& image, const SelectParameters& p) {
  const SelectPlan<float> plan(p);
  std::vector<int32_t> selection(static_cast<size_t>(Pixels(shape)));
  if (shape.rows() > 0) {
    SelectRows(plan, SimdLevel::kPortable, shape, image.data(), 0, shape.rows(), selection.data());
  }
  return selection;
}

template <typename T>
struct Stepped {
  std::vector<T> output;
  std::vector<int32_t> selection;
};

template <typename T, typename Index = int32_t>
Stepped<T> CudaStep(const Sizes& sizes, const std::vector<T>& image, const std::vector<T>& filters, T dt,
                    const SelectParameters& p, int64_t* first_wrong) {
  const BladeCudaShape shape = CudaShape<T, Index>(sizes);
  const BladeCudaPlan plan = Plan(p);
  std::vector<T> output(image.size());
  std::vector<Index> selection(static_cast<size_t>(Pixels(sizes.image)));
  std::vector<char> scratch(static_cast<size_t>(blade_cuda_select_scratch(&shape, &plan)));
  EXPECT_STREQ(blade_cuda_step(&shape, &plan, image.data(), filters.data(), &dt, scratch.data(), output.data(),
                               selection.data(), first_wrong, nullptr),
               nullptr);
  return {output, {selection.begin(), selection.end()}};
}

class CudaTest : public testing::Test {
 protected:
  void TearDown() override { emulated::device = {}; }
  std::mt19937 random_{20211016};
};

// A device with so little shared memory that more filters, and tiles with wide margins, have no room in it.
class SmallCudaTest : public CudaTest {
 protected:
  void SetUp() override { emulated::device.shared_bytes = 100 << 10; }
};

std::vector<Sizes> CudaSizes() {
  std::vector<Sizes> sizes = ManySizes();
  for (const Sizes& more : {Sizes{{2, 75, 70, 1}, {216, 5, 5}},
                            {{1, 66, 101, 3}, {24, 5, 5}},
                            {{1, 70, 40, 5}, {9, 3, 5}},
                            {{1, 37, 80, 9}, {9, 5, 5}},
                            {{1, 40, 33, 1}, {5000, 5, 5}},
                            {{1, 33, 40, 2}, {2, 91, 61}},
                            {{1, 12, 150, 1}, {2, 3, 301}},
                            {{1, 64, 32, 1}, {1, 5, 5}},
                            {{1, 36, 36, 1}, {300, 6, 5}}}) {
    sizes.push_back(more);
  }
  return sizes;
}

// Sums of small integers are exact, in any order: those of the processor are the only right ones.
template <typename T, typename Index>
void ExactOnIntegers(std::mt19937* random, size_t every = 1) {
  const std::vector<Sizes> many = CudaSizes();
  for (size_t i = 0; i < many.size(); i += every) {
    const Sizes& sizes = many[i];
    if (sizes.filters.k > (sizeof(Index) == 1 ? 256 : 10000)) continue;
    const auto image = Integers<float>(random, Values(sizes.image)),
               grad = Integers<float>(random, Values(sizes.image));
    const auto filters = Integers<float>(random, Values(sizes.filters));
    const auto selection = Selection(random, Pixels(sizes.image), sizes.filters.k);
    const std::vector<Index> indices(selection.begin(), selection.end());
    const auto to = [](const std::vector<float>& values) {
      std::vector<T> stored;
      for (float value : values) stored.push_back(FromFloat<T>(value));
      return stored;
    };
    int64_t wrong = kUnwritten;
    const SimdLevel level = SimdLevel::kPortable;
    ASSERT_TRUE(SameBits(to(Filter(level, sizes.image, sizes.filters, image, filters, selection)),
                         CudaFilter(sizes, to(image), to(filters), indices, &wrong)))
        << Name(sizes);
    ASSERT_EQ(wrong, kSelectionInRange);
    wrong = kUnwritten;
    ASSERT_TRUE(SameBits(to(GradImage(level, sizes.image, sizes.filters, filters, selection, grad)),
                         CudaGradImage(sizes, to(filters), indices, to(grad), &wrong)))
        << Name(sizes);
    ASSERT_EQ(wrong, kSelectionInRange);
    wrong = kUnwritten;
    ASSERT_TRUE(SameBits(to(GradFilters(level, sizes.image, sizes.filters, image, selection, grad)),
                         CudaGradFilters(sizes, to(image), indices, to(grad), &wrong)))
        << Name(sizes);
    ASSERT_EQ(wrong, kSelectionInRange);
  }
}

TEST_F(CudaTest, ExactOnIntegersFloat) { ExactOnIntegers<float, int32_t>(&random_); }
TEST_F(SmallCudaTest, ExactOnIntegersFloat) { ExactOnIntegers<float, int32_t>(&random_); }
TEST_F(CudaTest, ExactOnIntegersFloatBytes) { ExactOnIntegers<float, uint8_t>(&random_, 2); }
TEST_F(CudaTest, ExactOnIntegersHalf) { ExactOnIntegers<Half, int32_t>(&random_, 3); }
TEST_F(CudaTest, ExactOnIntegersBFloat16) { ExactOnIntegers<BFloat16, uint8_t>(&random_, 3); }

TEST_F(CudaTest, AsAccurateAsFloat) {
  for (const Sizes& sizes : CudaSizes()) {
    const auto image = Normal<float>(&random_, Values(sizes.image)),
               grad = Normal<float>(&random_, Values(sizes.image));
    const auto filters = Normal<float>(&random_, Values(sizes.filters));
    const auto selection = Selection(&random_, Pixels(sizes.image), sizes.filters.k);
    struct Sum {
      double value = 0, magnitude = 0;
      void Add(float a, float b) {
        value += static_cast<double>(a) * static_cast<double>(b);
        magnitude += std::abs(static_cast<double>(a) * static_cast<double>(b));
      }
    };
    std::vector<Sum> filtered(image.size()), image_grad(image.size()), filters_grad(filters.size());
    ForEachProduct(sizes, selection, [&](size_t i, size_t, size_t t, size_t j) {
      filtered[i].Add(filters[t], image[j]);
      image_grad[j].Add(filters[t], grad[i]);
      filters_grad[t].Add(image[j], grad[i]);
    });
    const auto near = [&](const std::vector<float>& found, const std::vector<Sum>& expected) {
      for (size_t i = 0; i < found.size(); ++i) {
        ASSERT_NEAR(static_cast<double>(found[i]), expected[i].value, 2e-6 * expected[i].magnitude) << Name(sizes);
      }
    };
    near(CudaFilter(sizes, image, filters, selection, nullptr), filtered);
    near(CudaGradImage(sizes, filters, selection, grad, nullptr), image_grad);
    near(CudaGradFilters(sizes, image, selection, grad, nullptr), filters_grad);
  }
}

// Neither on the order of the threads and the blocks nor on the number of processors.
TEST_F(CudaTest, DoesNotDependOnTheSchedule) {
  const SelectParameters parameters = {24, {0.5f, 1.0f}, {0.2f, 0.6f}, 1.0f};
  for (const Sizes& sizes : {Sizes{{1, 70, 75, 1}, {216, 5, 5}}, {{2, 40, 37, 5}, {216, 3, 6}}}) {
    const auto image = Normal<float>(&random_, Values(sizes.image)),
               grad = Normal<float>(&random_, Values(sizes.image));
    const auto filters = Normal<float>(&random_, Values(sizes.filters));
    auto selection = Selection(&random_, Pixels(sizes.image), sizes.filters.k);
    // Half of the pixels share a filter, which many parts of a sorted tile then begin with.
    for (size_t i = 0; i < selection.size(); i += 2) selection[i] = 7;
    const auto all = [&] {
      const auto stepped = CudaStep(sizes, image, filters, 0.25f, parameters, nullptr);
      std::vector<float> results = stepped.output;
      for (const auto& more : {CudaFilter(sizes, image, filters, selection, nullptr),
                               CudaGradImage(sizes, filters, selection, grad, nullptr),
                               CudaGradFilters(sizes, image, selection, grad, nullptr)}) {
        results.insert(results.end(), more.begin(), more.end());
      }
      results.insert(results.end(), stepped.selection.begin(), stepped.selection.end());
      return results;
    };
    const auto expected = all();
    for (auto order : {emulated::Order::kAscending, emulated::Order::kDescending, emulated::Order::kShuffled}) {
      for (int processors : {1, 100}) {
        emulated::device.order = order;
        emulated::device.processors = processors;
        ASSERT_TRUE(SameBits(all(), expected)) << Name(sizes);
      }
    }
  }
}

TEST_F(CudaTest, NanAndInfinityStayInTheirStencil) {
  for (const auto& [r, s] : {std::pair{5, 5}, {3, 7}, {6, 4}}) {
    const Sizes sizes = {{1, 39, 35, 2}, {3, r, s}};
    const auto clean = Normal<float>(&random_, Values(sizes.image));
    const std::vector<float> filters(static_cast<size_t>(Values(sizes.filters)), 0.5f);
    const auto selection = Selection(&random_, Pixels(sizes.image), 3);
    for (size_t at = 0; at < clean.size(); at += 389) {
      for (float wrong : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        auto image = clean;
        image[at] = wrong;
        std::vector<bool> reached(image.size()), adjoint(image.size()), taps(filters.size());
        ForEachProduct(sizes, selection, [&](size_t i, size_t, size_t t, size_t j) {
          if (j == at) reached[i] = true;
          if (i == at) adjoint[j] = true;
          if (i == at) taps[t] = true;
        });
        const auto output = CudaFilter(sizes, image, filters, selection, nullptr);
        const auto image_grad = CudaGradImage(sizes, filters, selection, image, nullptr);
        const auto filters_grad = CudaGradFilters(sizes, clean, selection, image, nullptr);
        for (size_t i = 0; i < image.size(); ++i) {
          ASSERT_EQ(std::isfinite(output[i]), !reached[i]) << Name(sizes);
          ASSERT_EQ(std::isfinite(image_grad[i]), !adjoint[i]) << Name(sizes);
        }
        for (size_t t = 0; t < taps.size(); ++t) ASSERT_EQ(std::isfinite(filters_grad[t]), !taps[t]) << Name(sizes);
      }
    }
  }
}

template <typename Index>
void FirstWrongIsNamed(std::mt19937* random) {
  for (const Sizes& sizes :
       {Sizes{{2, 40, 37, 1}, {5, 5, 5}}, {{2, 40, 37, 3}, {5, 3, 4}}, {{1, 5, 6, 0}, {5, 3, 3}}}) {
    const auto image = Normal<float>(random, Values(sizes.image));
    const auto filters = Normal<float>(random, Values(sizes.filters));
    const auto good = Selection(random, Pixels(sizes.image), 5);
    std::vector<Index> selection(good.begin(), good.end());
    for (size_t at = selection.size(); at-- > 0; at -= std::min<size_t>(at, selection.size() / 7)) {
      const int32_t values[] = {5, 255, -1, std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min()};
      selection[at] = static_cast<Index>(values[sizeof(Index) == 1 ? at % 2 : at % 5]);
      int64_t wrong[] = {kUnwritten, kUnwritten, kUnwritten};
      CudaFilter(sizes, image, filters, selection, &wrong[0]);
      CudaGradImage(sizes, filters, selection, image, &wrong[1]);
      CudaGradFilters(sizes, image, selection, image, &wrong[2]);
      for (int64_t found : wrong) ASSERT_EQ(found, static_cast<int64_t>(at)) << Name(sizes);
      // Without a place to report to, nothing is read out of bounds either.
      CudaFilter(sizes, image, filters, selection, nullptr);
    }
  }
}

TEST_F(CudaTest, FirstWrongIsNamed) { FirstWrongIsNamed<int32_t>(&random_); }
TEST_F(CudaTest, FirstWrongByteIsNamed) { FirstWrongIsNamed<uint8_t>(&random_); }

TEST_F(CudaTest, NoFilters) {
  const std::vector<float> image(6);
  const std::vector<int32_t> selection(6);
  int64_t wrong = kUnwritten;
  CudaFilter<float, int32_t>({{1, 2, 3, 1}, {0, 5, 5}}, image, {}, selection, &wrong);
  EXPECT_EQ(wrong, 0);
  CudaFilter<float, int32_t>({{1, 0, 3, 1}, {0, 5, 5}}, {}, {}, {}, &wrong);
  EXPECT_EQ(wrong, kSelectionInRange);
}

std::vector<SelectParameters> ManySelections() {
  std::vector<SelectParameters> all;
  for (float rho : {0.0f, 0.4f, 1.0f, 2.2f, 3.0f, 5.0f, 40.0f}) all.push_back({24, {0.02f, 0.1f}, {0.2f, 0.6f}, rho});
  for (int64_t orientations : {1, 2, 3, 4, 6, 7, 8, 16}) all.push_back({orientations, {0.5f}, {}, 1.0f});
  all.push_back({5, {}, {0.1f, 0.2f, 0.5f, 0.9f}, 0.7f, {-0.5f, 0.0f, 0.5f}});
  return all;
}

TEST_F(CudaTest, SelectionIsTheProcessors) {
  for (const ImageShape& shape : {ImageShape{1, 1, 1, 1},
                                  {2, 1, 9, 1},
                                  {1, 33, 1, 2},
                                  {1, 70, 65, 1},
                                  {2, 37, 40, 3},
                                  {1, 40, 35, 6},
                                  {2, 3, 4, 0},
                                  {0, 3, 4, 1},
                                  {1, 0, 4, 1},
                                  {1, 4, 0, 1}}) {
    // Small integers meet every tie; normal numbers every bin.
    for (const auto& image : {Integers<float>(&random_, Values(shape)), Normal<float>(&random_, Values(shape))}) {
      for (const SelectParameters& p : ManySelections()) {
        const auto expected = CpuSelect(shape, image, p);
        ASSERT_EQ(CudaSelect(shape, image, p), expected) << shape.h << " " << shape.w << " " << p.rho;
        if (blade_cuda_plan_bins(std::data({Plan(p)})) <= 256) {
          ASSERT_EQ((CudaSelect<float, uint8_t>(shape, image, p)), expected);
        }
      }
      std::vector<Half> half;
      for (float value : image) half.push_back(ToHalf(value));
      ASSERT_EQ(CudaSelect(shape, half, ManySelections()[2]), CpuSelect(shape, half, ManySelections()[2]));
    }
  }
}

TEST_F(CudaTest, SelectionOfWildImages) {
  const ImageShape shape = {1, 70, 65, 1};
  auto image = Normal<float>(&random_, Values(shape));
  const float wild[] = {std::numeric_limits<float>::quiet_NaN(),
                        std::numeric_limits<float>::infinity(),
                        -0.0f,
                        1e-40f,
                        -3e-23f,
                        1e30f,
                        1e-19f};
  for (size_t i = 0; i < image.size(); ++i) {
    if (i % 11 == 0 || i % 65 < 20) image[i] = wild[i % 7];
    if (i / 65 < 12) image[i] = 1e-20f * static_cast<float>(i % 5);
  }
  for (const SelectParameters& p : ManySelections()) ASSERT_EQ(CudaSelect(shape, image, p), CpuSelect(shape, image, p));
}

template <typename T>
void StepIsThreeOperations(std::mt19937* random) {
  const SelectParameters parameters[] = {
      {24, {0.5f, 1.0f}, {0.2f, 0.6f}, 1.0f}, {6, {0.5f}, {0.3f}, 0.0f, {0.1f}}, {8, {}, {0.3f}, 4.0f}};
  const T dt = FromFloat<T>(0.3f);
  for (const SelectParameters& p : parameters) {
    for (const Sizes& sizes : {Sizes{{1, 70, 65, 1}, {216, 5, 5}},
                               {{2, 37, 40, 3}, {216, 3, 7}},
                               {{1, 35, 33, 6}, {216, 5, 5}},
                               {{1, 20, 33, 1}, {250, 17, 3}},
                               {{1, 9, 10, 1}, {3000, 5, 5}},
                               {{1, 1, 1, 1}, {216, 5, 5}},
                               {{1, 9, 10, 0}, {216, 5, 5}},
                               {{0, 9, 10, 1}, {216, 5, 5}}}) {
      const auto image = Normal<T>(random, Values(sizes.image));
      const auto filters = Normal<T>(random, Values(sizes.filters));
      int64_t wrong = kUnwritten;
      const auto stepped = CudaStep(sizes, image, filters, dt, p, &wrong);
      ASSERT_EQ(wrong, kSelectionInRange);
      ASSERT_EQ(stepped.selection, CpuSelect(sizes.image, image, p)) << Name(sizes);
      const auto filtered = CudaFilter(sizes, image, filters, stepped.selection, nullptr);
      std::vector<T> expected;
      const ScopedFlushSubnormals flush;
      for (size_t i = 0; i < image.size(); ++i) {
        const T product = Storage<T>::Store(Storage<T>::Load(dt) * Storage<T>::Load(filtered[i]));
        expected.push_back(Storage<T>::Store(Storage<T>::Load(image[i]) + Storage<T>::Load(product)));
      }
      ASSERT_TRUE(SameBits(stepped.output, expected)) << Name(sizes);
      const auto bytes = CudaStep<T, uint8_t>(sizes, image, filters, dt, p, &wrong);
      ASSERT_EQ(bytes.selection, stepped.selection);
      ASSERT_TRUE(SameBits(bytes.output, stepped.output));
    }
  }
}

TEST_F(CudaTest, StepIsThreeOperationsFloat) { StepIsThreeOperations<float>(&random_); }
TEST_F(SmallCudaTest, StepIsThreeOperationsFloat) { StepIsThreeOperations<float>(&random_); }
TEST_F(CudaTest, StepIsThreeOperationsHalf) { StepIsThreeOperations<Half>(&random_); }
TEST_F(CudaTest, StepIsThreeOperationsBFloat16) { StepIsThreeOperations<BFloat16>(&random_); }

TEST_F(CudaTest, StepNamesTheFirstPixelWithoutAFilter) {
  const SelectParameters p = {24, {0.5f, 1.0f}, {0.2f, 0.6f}, 1.0f};
  for (const Sizes& sizes : {Sizes{{2, 40, 37, 1}, {30, 5, 5}}, {{2, 40, 37, 1}, {0, 5, 5}}}) {
    const auto image = Normal<float>(&random_, Values(sizes.image));
    const auto filters = Normal<float>(&random_, Values(sizes.filters));
    const auto selection = CpuSelect(sizes.image, image, p);
    const auto first =
        std::find_if(selection.begin(), selection.end(), [&](int32_t k) { return k >= sizes.filters.k; });
    int64_t wrong = kUnwritten;
    CudaStep(sizes, image, filters, 1.0f, p, &wrong);
    ASSERT_EQ(wrong, first - selection.begin());
  }
}

TEST(CudaPlanTest, RefusesWhatItCannotHold) {
  BladeCudaPlan plan;
  const float thresholds[] = {0.1f, 0.2f};
  EXPECT_STREQ(blade_cuda_plan(24, thresholds, 2, thresholds, 2, nullptr, 0, 300.0f, &plan), nullptr);
  EXPECT_EQ(blade_cuda_plan_bins(&plan), 216);
  EXPECT_NE(blade_cuda_plan(24, thresholds, 2, thresholds, 2, nullptr, 0, 1e4f, &plan), nullptr);
  EXPECT_NE(blade_cuda_plan(1 << 30, thresholds, 2, nullptr, 0, nullptr, 0, 1.0f, &plan), nullptr);
  EXPECT_NE(blade_cuda_plan(0, thresholds, 2, nullptr, 0, nullptr, 0, 1.0f, &plan), nullptr);
  EXPECT_NE(blade_cuda_plan(24, thresholds, 2, nullptr, 0, nullptr, 0, -1.0f, &plan), nullptr);
}

TEST(CudaShapeTest, RefusesWhatIsNotOne) {
  const BladeCudaShape good = {1, 2, 3, 1, 216, 5, 5, BLADE_CUDA_FLOAT32, BLADE_CUDA_INT32};
  std::vector<BladeCudaShape> bad(7, good);
  bad[0].h = -1;
  bad[1].w = int64_t{1} << 31;
  bad[2].r = 0;
  bad[3].k = -1;
  bad[4].values = 3;
  bad[5].indices = -1;
  bad[6].s = int64_t{1} << 40;
  for (const BladeCudaShape& shape : bad) {
    EXPECT_NE(blade_cuda_filter(&shape, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr), nullptr);
    EXPECT_NE(blade_cuda_grad_image(&shape, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr), nullptr);
    EXPECT_NE(blade_cuda_grad_filters(&shape, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr), nullptr);
  }
  BladeCudaShape bytes = good;
  bytes.indices = BLADE_CUDA_UINT8;
  const BladeCudaPlan plan = Plan({300, {}, {}, 1.0f});
  EXPECT_STREQ(blade_cuda_select(&bytes, &plan, nullptr, nullptr, nullptr, nullptr),
               "selection: expected at most 256 bins for bytes");
}

// One launch for a step, unless the Gaussian or the filters have no room.
TEST(CudaStepTest, IsOneKernel) {
  std::mt19937 random(1);
  const auto launches = [&](int64_t k, float rho) {
    const Sizes sizes = {{1, 33, 34, 1}, {k, 5, 5}};
    const int64_t before = emulated::device.launches;
    CudaStep(sizes, Normal<float>(&random, Values(sizes.image)), Normal<float>(&random, Values(sizes.filters)), 1.0f,
             {24, {0.5f, 1.0f}, {0.2f, 0.6f}, rho}, nullptr);
    return emulated::device.launches - before;
  };
  EXPECT_EQ(launches(216, 1.0f), 1);
  EXPECT_EQ(launches(216, 3.0f), 1);
  EXPECT_EQ(launches(216, 3.1f), 4);
  EXPECT_EQ(launches(3000, 1.0f), 2);
}

}  // namespace
}  // namespace blade
