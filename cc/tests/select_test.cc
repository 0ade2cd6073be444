#include "cc/blade/select.h"

#include <cmath>
#include <limits>

#include "cc/tests/test_util.h"

namespace blade {
namespace {

constexpr double kPi = 3.14159265358979323846;

const SelectParameters kPaper = {24, {0.02f, 0.1f}, {0.2f, 0.6f}, 1.0f};

template <typename S = int32_t, typename T>
std::vector<S> SelectImage(SimdLevel level, const ImageShape& shape, const std::vector<T>& image,
                           const SelectParameters& parameters) {
  EXPECT_EQ(ValidateSelect(parameters), "");
  const SelectPlan<ComputeOf<T>> plan(parameters);
  std::vector<S> selection(static_cast<size_t>(Pixels(shape)), static_cast<S>(-1));
  if (shape.rows() > 0) SelectRows(plan, level, shape, image.data(), 0, shape.rows(), selection.data());
  return selection;
}

template <typename F>
struct Tensors {
  std::vector<F> j11, j12, j22;
};

// The smoothed structure tensor of one image, operation by operation as select.h defines it.
template <typename F>
Tensors<F> StructureTensor(int64_t h, int64_t w, int64_t channels, const std::vector<F>& u, float rho) {
  const auto at = [&](int64_t y, int64_t x, int64_t c) {
    return u[static_cast<size_t>((std::clamp<int64_t>(y, 0, h - 1) * w + std::clamp<int64_t>(x, 0, w - 1)) * channels +
                                 c)];
  };
  Tensors<F> tensors;
  for (int64_t i = 0; i < h * w; ++i) {
    const int64_t y = i / w, x = i % w;
    F j11 = 0, j12 = 0, j22 = 0;
    for (int64_t c = 0; c < channels; ++c) {
      const F gx = F(0.5) * (at(y, x + 1, c) - at(y, x - 1, c)), gy = F(0.5) * (at(y + 1, x, c) - at(y - 1, x, c));
      j11 = j11 + gx * gx;
      j12 = j12 + gx * gy;
      j22 = j22 + gy * gy;
    }
    tensors.j11.push_back(j11);
    tensors.j12.push_back(j12);
    tensors.j22.push_back(j22);
  }
  if (rho == 0) return tensors;
  const double sigma = static_cast<double>(rho);
  const int64_t radius = static_cast<int64_t>(std::ceil(3 * sigma));
  std::vector<double> gaussian = {1.0};
  double sum = 1.0;
  for (int64_t k = 1; k <= radius; ++k) {
    gaussian.push_back(std::exp(-static_cast<double>(k * k) / (2 * sigma * sigma)));
    sum += 2 * gaussian.back();
  }
  for (auto* j : {&tensors.j11, &tensors.j12, &tensors.j22}) {
    for (bool along_rows : {true, false}) {
      const std::vector<F> before = *j;
      const auto value = [&](int64_t y, int64_t x) {
        return before[static_cast<size_t>(std::clamp<int64_t>(y, 0, h - 1) * w + std::clamp<int64_t>(x, 0, w - 1))];
      };
      for (int64_t i = 0; i < h * w; ++i) {
        const int64_t y = i / w, x = i % w;
        F a = static_cast<F>(gaussian[0] / sum) * value(y, x);
        for (int64_t k = 1; k <= radius; ++k) {
          const F weight = static_cast<F>(gaussian[static_cast<size_t>(k)] / sum);
          a = a + weight * (along_rows ? value(y, x - k) + value(y, x + k) : value(y - k, x) + value(y + k, x));
        }
        (*j)[static_cast<size_t>(i)] = a;
      }
    }
  }
  return tensors;
}

// select.h's definition, a pixel at a time.
template <typename F>
int32_t Definition(F j11, F j12, F j22, const SelectParameters& p) {
  F c = j11 - j22, s = j12 + j12;
  const F r2 = c * c + s * s, trace = j11 + j22;
  int64_t strength = 0, coherence = 0, orientation = 0;
  for (float threshold : p.strength_thresholds) {
    const double t = static_cast<double>(threshold);
    const F u = static_cast<F>(2 * t * t) - trace;
    if (r2 > u * std::abs(u)) ++strength;
  }
  for (float threshold : p.coherence_thresholds) {
    const double q = static_cast<double>(threshold), k = 2 * q / (1 + q * q);
    if (r2 > static_cast<F>(k * k) * (trace * trace)) ++coherence;
  }
  const int64_t n = p.orientations;
  const double phase = n % 2 == 0 ? 0.5 : 0.25;
  const auto crossed = [&](int64_t j) {
    const double angle = 2 * kPi * (static_cast<double>(j) + phase) / static_cast<double>(n);
    return s * static_cast<F>(std::cos(angle)) > c * static_cast<F>(std::sin(angle));
  };
  if (n % 4 == 0) {
    if (s < 0) {
      c = -c;
      s = -s;
      orientation += n / 2;
    }
    if (c < 0) {
      const F turned = -c;
      c = s;
      s = turned;
      orientation += n / 4;
    }
    for (int64_t j = 0; j < n / 4; ++j) orientation += crossed(j);
  } else {
    const bool lower = s < 0;
    for (int64_t j = 0; j < n; ++j) {
      const bool low = 2 * (static_cast<double>(j) + phase) >= static_cast<double>(n);
      orientation += low ? (lower && crossed(j)) : (lower || crossed(j));
    }
  }
  if (orientation == n) orientation = 0;
  const int64_t strengths = static_cast<int64_t>(p.strength_thresholds.size()) + 1;
  return static_cast<int32_t>(orientation + n * (strength + strengths * coherence));
}

template <typename F>
std::vector<int32_t> Reference(const ImageShape& shape, const std::vector<F>& image, const SelectParameters& p) {
  const ScopedFlushSubnormals flush;
  std::vector<int32_t> selection;
  const int64_t size = shape.h * shape.w * shape.c;
  for (int64_t n = 0; n < shape.n; ++n) {
    const std::vector<F> one(image.begin() + n * size, image.begin() + (n + 1) * size);
    const auto tensors = StructureTensor(shape.h, shape.w, shape.c, one, p.rho);
    for (size_t i = 0; i < tensors.j11.size(); ++i) {
      selection.push_back(Definition(tensors.j11[i], tensors.j12[i], tensors.j22[i], p));
    }
  }
  return selection;
}

std::vector<ImageShape> ManyShapes() {
  std::vector<ImageShape> shapes = {{0, 3, 4, 1}, {2, 0, 4, 1},   {2, 3, 0, 1},   {2, 3, 4, 0},   {1, 1, 1, 1},
                                    {2, 1, 9, 1}, {1, 23, 1, 2},  {1, 5, 255, 1}, {1, 9, 256, 1}, {2, 3, 257, 3},
                                    {1, 2, 2, 1}, {1, 20, 30, 3}, {1, 4, 515, 1}, {1, 3, 261, 1}};
  for (int64_t w = 1; w < 40; w += 3) shapes.push_back({1, 40 - w, w, 1});
  return shapes;
}

class SelectTest : public testing::TestWithParam<SimdLevel> {
 protected:
  std::mt19937 random_{20211016};
};

INSTANTIATE_TEST_SUITE_P(Levels, SelectTest, testing::ValuesIn(Levels()), LevelName);

template <typename F>
void EqualsTheDefinition(SimdLevel level, std::mt19937* random) {
  for (int64_t orientations : {1, 2, 3, 4, 6, 7, 8, 24, 100}) {
    for (float rho : {0.0f, 0.3f, 1.0f, 2.6f}) {
      const SelectParameters parameters = {orientations, {0.1f, 0.4f, 0.9f}, {0.1f, 0.3f}, rho};
      for (const ImageShape& shape : ManyShapes()) {
        const auto image = Normal<F>(random, Values(shape));
        ASSERT_EQ(SelectImage(level, shape, image, parameters), Reference(shape, image, parameters))
            << shape.n << " " << shape.h << " " << shape.w << " " << shape.c << ", " << orientations << " at " << rho;
      }
    }
  }
}

TEST_P(SelectTest, EqualsTheDefinitionFloat) { EqualsTheDefinition<float>(GetParam(), &random_); }
TEST_P(SelectTest, EqualsTheDefinitionDouble) { EqualsTheDefinition<double>(GetParam(), &random_); }

// At each tail of a vector and each border of a strip, with the radii of the Gaussian that have code of their own, 2,
// 3, 5 and 6, and others: the definition, in four bytes and in one, on pixels; what the portable level makes, on faces.
template <typename T>
void EqualsTheDefinitionAtEachWidth(SimdLevel level, std::mt19937* random) {
  std::vector<ImageShape> shapes;
  for (int64_t w = 1; w <= 40; ++w) shapes.push_back({1 + w % 2, 1 + w % 7, w, 1 + w % 3});
  for (int64_t w : {255, 256, 257, 258, 261, 263, 272, 511, 512, 513, 515, 518})
    shapes.push_back({1, 1 + w % 7, w, 1 + w % 2});
  for (float rho : {0.0f, 0.3f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f}) {
    const SelectParameters parameters = {24, {0.3f, 1.1f}, {0.2f, 0.6f}, rho};
    for (const ImageShape& shape : shapes) {
      const auto image = Normal<T>(random, Values(shape));
      std::vector<ComputeOf<T>> loaded;
      for (T value : image) loaded.push_back(Storage<T>::Load(value));
      const auto expected = Reference(shape, loaded, parameters);
      ASSERT_EQ(SelectImage(level, shape, image, parameters), expected) << shape.h << " " << shape.w << " at " << rho;
      ASSERT_EQ(SelectImage<uint8_t>(level, shape, image, parameters), Bytes(expected)) << shape.w << " at " << rho;
      for (SelectCenter center : {SelectCenter::kFaceX, SelectCenter::kFaceY}) {
        SelectParameters faces = parameters;
        faces.center = center;
        ASSERT_EQ(SelectImage(level, shape, image, faces), SelectImage(SimdLevel::kPortable, shape, image, faces))
            << shape.h << " " << shape.w << " at " << rho;
      }
    }
  }
}

TEST_P(SelectTest, EqualsTheDefinitionAtEachWidthFloat) { EqualsTheDefinitionAtEachWidth<float>(GetParam(), &random_); }
TEST_P(SelectTest, EqualsTheDefinitionAtEachWidthDouble) {
  EqualsTheDefinitionAtEachWidth<double>(GetParam(), &random_);
}
TEST_P(SelectTest, EqualsTheDefinitionAtEachWidthHalf) { EqualsTheDefinitionAtEachWidth<Half>(GetParam(), &random_); }

// Of 256 combinations of features the last is 255.
TEST_P(SelectTest, OneByteHoldsTheGreatestFilter) {
  const ImageShape shape = {1, 30, 300, 1};
  const auto image = Normal<float>(&random_, Values(shape));
  for (const SelectParameters& parameters :
       {SelectParameters{64, {0.5f}, {0.4f}, 0.5f}, {16, {0.5f}, {0.1f}, 1.0f, {-0.5f, 0.0f, 0.5f}}}) {
    const auto selection = SelectImage(GetParam(), shape, image, parameters);
    ASSERT_EQ(*std::max_element(selection.begin(), selection.end()), 255);
    ASSERT_EQ(SelectImage<uint8_t>(GetParam(), shape, image, parameters), Bytes(selection));
  }
}

// Small integers make ties at every comparison.
TEST_P(SelectTest, EqualsTheDefinitionAtTies) {
  for (int64_t orientations : {2, 3, 8, 24}) {
    const SelectParameters parameters = {orientations, {0.0f, 0.5f, 1.0f, 2.0f}, {0.0f, 0.5f, 1.0f}, 0.0f};
    const ImageShape shape = {2, 37, 53, 1};
    auto image = Integers<float>(&random_, Values(shape));
    for (float& value : image) value = std::fmod(value, 3.0f);
    ASSERT_EQ(SelectImage(GetParam(), shape, image, parameters), Reference(shape, image, parameters));
  }
}

template <typename T>
void HalfIsFloat(SimdLevel level, std::mt19937* random) {
  for (const ImageShape& shape : ManyShapes()) {
    const auto image = Normal<T>(random, Values(shape));
    std::vector<float> loaded;
    for (T value : image) loaded.push_back(ToFloat(value));
    ASSERT_EQ(SelectImage(level, shape, image, kPaper), SelectImage(level, shape, loaded, kPaper));
  }
}

TEST_P(SelectTest, HalfIsComputedInFloat) {
  HalfIsFloat<Half>(GetParam(), &random_);
  HalfIsFloat<BFloat16>(GetParam(), &random_);
}

TEST_P(SelectTest, DoesNotDependOnThePartition) {
  for (float rho : {0.0f, 1.0f, 2.6f}) {
    SelectParameters parameters = kPaper;
    parameters.rho = rho;
    const SelectPlan<float> plan(parameters);
    for (const ImageShape& shape : ManyShapes()) {
      const auto image = Normal<float>(&random_, Values(shape));
      std::vector<int32_t> parts(static_cast<size_t>(Pixels(shape)), -1);
      InRanges(shape.rows(), [&](int64_t begin, int64_t end) {
        SelectRows(plan, GetParam(), shape, image.data(), begin, end, parts.data());
      });
      ASSERT_EQ(parts, SelectImage(GetParam(), shape, image, parameters));
    }
  }
}

// The features as the paper states them, by eigenvalues and angles; false where one is within rounding of a bin's edge.
bool ByEigenvalues(double j11, double j12, double j22, const SelectParameters& p, int32_t* index) {
  constexpr double kMargin = 1e-6;
  const double root = std::hypot(j11 - j22, 2 * j12), l1 = (j11 + j22 + root) / 2,
               l2 = std::max((j11 + j22 - root) / 2, 0.0);
  const double strength = std::sqrt(l1),
               coherence = l1 > 0 ? (strength - std::sqrt(l2)) / (strength + std::sqrt(l2)) : 0;
  const int64_t n = p.orientations;
  double turn = std::atan2(2 * j12, j11 - j22) / (2 * kPi);
  if (turn < 0) turn += 1;
  const double position = turn * static_cast<double>(n) + (n % 2 == 0 ? 0.5 : 0.75);
  bool clear = root > 1e-9 && std::abs(position - std::round(position)) > kMargin;
  int64_t bins[2] = {0, 0};
  const double features[2] = {strength, coherence};
  const std::vector<float>* thresholds[2] = {&p.strength_thresholds, &p.coherence_thresholds};
  for (int i = 0; i < 2; ++i) {
    for (float t : *thresholds[i]) {
      bins[i] += features[i] > static_cast<double>(t);
      clear = clear && std::abs(features[i] - static_cast<double>(t)) > kMargin;
    }
  }
  const int64_t orientation = static_cast<int64_t>(std::floor(position)) % n;
  const int64_t strengths = static_cast<int64_t>(p.strength_thresholds.size()) + 1;
  *index = static_cast<int32_t>(orientation + n * (bins[0] + strengths * bins[1]));
  return clear;
}

void AgreesWithEigenvalues(SimdLevel level, int64_t h, int64_t w, int64_t c, const std::vector<double>& image) {
  for (int64_t orientations : {1, 2, 3, 4, 5, 6, 8, 24}) {
    for (float rho : {0.0f, 1.0f, 2.0f}) {
      const SelectParameters parameters = {orientations, {0.02f, 0.1f}, {0.2f, 0.6f}, rho};
      const auto selection = SelectImage(level, {1, h, w, c}, image, parameters);
      const auto tensors = StructureTensor(h, w, c, image, rho);
      int64_t clear = 0, structured = 0;
      for (size_t i = 0; i < selection.size(); ++i) {
        int32_t expected;
        structured += tensors.j11[i] + tensors.j22[i] > 1e-9;
        if (!ByEigenvalues(tensors.j11[i], tensors.j12[i], tensors.j22[i], parameters, &expected)) continue;
        ++clear;
        ASSERT_EQ(selection[i], expected) << i << ", " << orientations << " at " << rho;
      }
      ASSERT_GT(clear, structured * 3 / 4);
    }
  }
}

TEST_P(SelectTest, AgreesWithEigenvaluesOnADisc) {
  constexpr int64_t kSize = 64;
  std::vector<double> image;
  for (int64_t i = 0; i < kSize * kSize; ++i) {
    const double y = static_cast<double>(i / kSize) - 30.3, x = static_cast<double>(i % kSize) - 33.7;
    image.push_back(1 / (1 + std::exp(std::hypot(x, y) - 20)));
  }
  AgreesWithEigenvalues(GetParam(), kSize, kSize, 1, image);
}

TEST_P(SelectTest, AgreesWithEigenvaluesOnNoise) {
  auto image = Normal<double>(&random_, 41 * 50 * 3);
  for (double& value : image) value *= 0.1;
  AgreesWithEigenvalues(GetParam(), 41, 50, 3, image);
  AgreesWithEigenvalues(GetParam(), 123, 50, 1, image);
}

// A ramp of slope 1 at the centre of orientation bin b: strength and coherence are 1, and the angle is known.
TEST_P(SelectTest, RampsAtTheCentresOfTheBins) {
  constexpr int64_t kSize = 24, kBorder = 5;
  for (int64_t n : {1, 2, 3, 4, 5, 8, 12, 24}) {
    for (int64_t bin = 0; bin < n; ++bin) {
      const double centre = n % 2 == 0 ? 0.0 : -0.25;
      const double angle = kPi * (static_cast<double>(bin) + centre) / static_cast<double>(n);
      std::vector<double> image;
      for (int64_t i = 0; i < kSize * kSize; ++i) {
        image.push_back(std::cos(angle) * static_cast<double>(i % kSize) +
                        std::sin(angle) * static_cast<double>(i / kSize));
      }
      const SelectParameters parameters = {n, {0.5f, 0.99f, 1.01f}, {0.5f, 0.99f}, 1.0f};
      const auto selection = SelectImage(GetParam(), {1, kSize, kSize, 1}, image, parameters);
      for (int64_t y = kBorder; y < kSize - kBorder; ++y) {
        for (int64_t x = kBorder; x < kSize - kBorder; ++x) {
          ASSERT_EQ(selection[static_cast<size_t>(y * kSize + x)], bin + n * (2 + 4 * 2)) << n;
        }
      }
    }
  }
}

// A threshold that is met exactly is not exceeded.
TEST_P(SelectTest, ComparisonsAreStrict) {
  constexpr int64_t kSize = 9;
  std::vector<float> image;
  for (int64_t i = 0; i < kSize * kSize; ++i) image.push_back(0.5f * static_cast<float>(i % kSize));
  const auto centre = [&](std::vector<float> strength, std::vector<float> coherence) {
    return SelectImage(GetParam(), {1, kSize, kSize, 1}, image, {8, strength, coherence, 0.0f})[4 * kSize + 4];
  };
  EXPECT_EQ(centre({0.5f}, {}), 0);
  EXPECT_EQ(centre({std::nextafter(0.5f, 0.0f)}, {}), 8);
  EXPECT_EQ(centre({}, {1.0f}), 0);
  EXPECT_EQ(centre({}, {0.99f}), 8);
}

TEST_P(SelectTest, FlatImagesTakeTheFirstBins) {
  const ImageShape shape = {1, 20, 300, 2};
  const SelectParameters parameters = {24, {0.0f, 0.1f}, {0.0f, 0.5f}, 1.0f};
  for (float value : {0.0f, -0.0f, 0.7f, 1e30f}) {
    const std::vector<float> image(static_cast<size_t>(Values(shape)), value);
    EXPECT_EQ(SelectImage(GetParam(), shape, image, parameters), std::vector<int32_t>(20 * 300, 0));
  }
}

TEST_P(SelectTest, ANanReachesItsNeighbourhoodAndGivesTheFirstBins) {
  constexpr int64_t kH = 30, kW = 290, kRadius = 3;
  const auto clean = Normal<float>(&random_, kH * kW);
  SelectParameters parameters = kPaper;
  parameters.strength_thresholds = {0.0f, 0.5f};
  const auto before = SelectImage(GetParam(), {1, kH, kW, 1}, clean, parameters);
  for (int64_t at : {5 * kW + 5, 15 * kW + 254, 24 * kW + 284}) {
    auto image = clean;
    image[static_cast<size_t>(at)] = std::numeric_limits<float>::quiet_NaN();
    const auto after = SelectImage(GetParam(), {1, kH, kW, 1}, image, parameters);
    for (int64_t i = 0; i < kH * kW; ++i) {
      // The four neighbours of the NaN lose their differences, and those within the Gaussian's reach of them their
      // tensor.
      const int64_t dy = std::abs(i / kW - at / kW), dx = std::abs(i % kW - at % kW);
      const bool reached = (dy <= kRadius && dx <= kRadius + 1) || (dy <= kRadius + 1 && dx <= kRadius);
      ASSERT_EQ(after[static_cast<size_t>(i)], reached ? 0 : before[static_cast<size_t>(i)]) << i;
    }
  }
}

TEST_P(SelectTest, InfinityAndHugeValuesStayInTheBank) {
  const ImageShape shape = {1, 21, 40, 1};
  for (float wrong : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(), 1e38f, -3e19f}) {
    for (int64_t orientations : {3, 24}) {
      auto image = Normal<float>(&random_, Values(shape));
      for (size_t i = 0; i < image.size(); i += 17) image[i] = wrong;
      SelectParameters parameters = kPaper;
      parameters.orientations = orientations;
      for (int32_t index : SelectImage(GetParam(), shape, image, parameters)) {
        ASSERT_GE(index, 0);
        ASSERT_LT(index, orientations * 9);
      }
    }
  }
}

// Squares of differences of 1e-22 are subnormal.
TEST_P(SelectTest, SubnormalsCountAsZeroInAnyMode) {
  if (!kCanFlushSubnormals) GTEST_SKIP() << "this processor cannot";
  const ImageShape shape = {1, 16, 32, 1};
  auto image = Normal<float>(&random_, Values(shape));
  for (float& value : image) value *= 1e-22f;
  const SelectParameters parameters = {24, {0.0f}, {0.0f}, 1.0f};
  const std::vector<int32_t> zero(image.size(), 0);
  EXPECT_EQ(SelectImage(GetParam(), shape, image, parameters), zero);
  const ScopedFlushSubnormals flush;
  EXPECT_EQ(SelectImage(GetParam(), shape, image, parameters), zero);
}

// Integer pixels without smoothing are exact, and 24 bins have no edge that such gradients meet.
TEST_P(SelectTest, Symmetries) {
  constexpr int64_t kH = 19, kW = 33;
  const SelectParameters parameters = {24, {1.2f, 4.3f}, {0.2f, 0.6f}, 0.0f};
  const auto image = Integers<float>(&random_, kH * kW);
  const auto selection = SelectImage(GetParam(), {1, kH, kW, 1}, image, parameters);

  auto same = image;
  for (float& value : same) value += 5;
  EXPECT_EQ(SelectImage(GetParam(), {1, kH, kW, 1}, same, parameters), selection) << "a constant added";
  for (float& value : same) value = -value;
  EXPECT_EQ(SelectImage(GetParam(), {1, kH, kW, 1}, same, parameters), selection) << "negated";

  auto scaled = image;
  for (float& value : scaled) value *= 4;
  SelectParameters scaled_parameters = parameters;
  for (float& t : scaled_parameters.strength_thresholds) t *= 4;
  EXPECT_EQ(SelectImage(GetParam(), {1, kH, kW, 1}, scaled, scaled_parameters), selection) << "scaled";

  // The doubled angle is negated by a mirror, turned by half a turn by a rotation by 90 degrees.
  std::vector<float> mirrored, rotated, turned;
  for (int64_t i = 0; i < kH * kW; ++i) mirrored.push_back(image[static_cast<size_t>(i / kW * kW + kW - 1 - i % kW)]);
  for (int64_t i = 0; i < kH * kW; ++i) rotated.push_back(image[static_cast<size_t>((kH - 1 - i % kH) * kW + i / kH)]);
  for (int64_t i = 0; i < kH * kW; ++i) turned.push_back(image[static_cast<size_t>(kH * kW - 1 - i)]);
  const auto of_mirrored = SelectImage(GetParam(), {1, kH, kW, 1}, mirrored, parameters);
  const auto of_rotated = SelectImage(GetParam(), {1, kW, kH, 1}, rotated, parameters);
  const auto of_turned = SelectImage(GetParam(), {1, kH, kW, 1}, turned, parameters);
  for (int64_t i = 0; i < kH * kW; ++i) {
    const int64_t y = i / kW, x = i % kW;
    const int32_t index = selection[static_cast<size_t>(i)], orientation = index % 24, rest = index - orientation;
    const auto differs = [&](int64_t v, int64_t u) {
      const auto at = [&](int64_t b, int64_t a) {
        return image[static_cast<size_t>(std::clamp<int64_t>(b, 0, kH - 1) * kW + std::clamp<int64_t>(a, 0, kW - 1))];
      };
      return at(v, u + 1) != at(v, u - 1) || at(v + 1, u) != at(v - 1, u);
    };
    const bool flat = !differs(y, x);
    EXPECT_EQ(of_mirrored[static_cast<size_t>(y * kW + kW - 1 - x)], rest + (24 - orientation) % 24) << "mirrored";
    EXPECT_EQ(of_rotated[static_cast<size_t>(x * kH + kH - 1 - y)], flat ? rest : rest + (orientation + 12) % 24)
        << "rotated";
    EXPECT_EQ(of_turned[static_cast<size_t>(kH * kW - 1 - i)], index) << "turned";
  }
}

TEST_P(SelectTest, SumsOverTheChannels) {
  const ImageShape gray = {1, 12, 40, 1}, colour = {1, 12, 40, 3};
  const auto image = Integers<float>(&random_, Values(gray));
  const SelectParameters parameters = {24, {0.3f, 2.1f}, {0.2f, 0.6f}, 1.0f};
  for (size_t channel = 0; channel < 3; ++channel) {
    // Constant channels add nothing.
    std::vector<float> one;
    for (float value : image) {
      for (size_t c = 0; c < 3; ++c) one.push_back(c == channel ? value : 2.0f);
    }
    EXPECT_EQ(SelectImage(GetParam(), colour, one, parameters), SelectImage(GetParam(), gray, image, parameters));
  }
}

TEST(ValidateSelectTest, NamesWhatIsWrong) {
  const auto error = [](SelectParameters parameters) { return ValidateSelect(parameters); };
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(error(kPaper), "");
  EXPECT_EQ(error({1, {}, {}, 0.0f}), "");
  EXPECT_EQ(error({0, {}, {}, 0.0f}), "orientations: expected at least 1, got 0");
  EXPECT_EQ(error({24, {0.2f, 0.1f}, {}, 1.0f}),
            "strength_thresholds: expected finite, strictly ascending numbers >= 0, got [0.2, 0.1]");
  for (const auto& strength : {std::vector<float>{-0.1f}, {0.1f, 0.1f}, {nan}, {infinity}, {0.1f, nan}}) {
    EXPECT_EQ(error({24, strength, {}, 1.0f}).find("strength_thresholds: expected finite"), 0u);
  }
  EXPECT_EQ(error({24, {}, {0.5f, 1.5f}, 1.0f}),
            "coherence_thresholds: expected finite, strictly ascending numbers in [0, 1], got [0.5, 1.5]");
  for (float rho : {-1.0f, nan, infinity, 20000.0f}) {
    EXPECT_EQ(error({24, {}, {}, rho}).find("rho: expected a number in [0, 10000], got "), 0u) << rho;
  }
  EXPECT_EQ(error({int64_t{1} << 31, {}, {}, 1.0f}).find("orientations: expected at most 2147483647 "), 0u);
}

}  // namespace
}  // namespace blade
