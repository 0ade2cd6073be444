#ifndef BLADE_TESTS_TEST_UTIL_H_
#define BLADE_TESTS_TEST_UTIL_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "cc/blade/filter.h"
#include "cc/blade/select.h"

namespace blade {

inline std::vector<SimdLevel> Levels() {
  std::vector<SimdLevel> levels;
  for (SimdLevel level : {SimdLevel::kPortable, SimdLevel::kAvx2, SimdLevel::kAvx512}) {
    if (ProcessorHas(level)) levels.push_back(level);
  }
  return levels;
}

inline std::string LevelName(const testing::TestParamInfo<SimdLevel>& info) {
  return info.param == SimdLevel::kPortable ? "Portable" : info.param == SimdLevel::kAvx2 ? "Avx2" : "Avx512";
}

inline int64_t Values(const ImageShape& shape) { return shape.n * shape.h * shape.w * shape.c; }
inline int64_t Pixels(const ImageShape& shape) { return shape.n * shape.h * shape.w; }
inline int64_t Values(const FilterShape& shape) { return shape.k * shape.r * shape.s; }

template <typename T>
T FromFloat(float value) {
  if constexpr (std::is_same_v<T, Half>) return ToHalf(value);
  if constexpr (std::is_same_v<T, BFloat16>) return ToBFloat16(value);
  if constexpr (std::is_floating_point_v<T>) return static_cast<T>(value);
}

template <typename T>
std::vector<T> Normal(std::mt19937* random, int64_t n) {
  std::normal_distribution<float> distribution;
  std::vector<T> values(static_cast<size_t>(n));
  for (T& value : values) value = FromFloat<T>(distribution(*random));
  return values;
}

// Integers so small that every sum of their products is exact in float, in any order.
template <typename T>
std::vector<T> Integers(std::mt19937* random, int64_t n) {
  std::uniform_int_distribution<int> distribution(-8, 8);
  std::vector<T> values(static_cast<size_t>(n));
  for (T& value : values) value = FromFloat<T>(static_cast<float>(distribution(*random)));
  return values;
}

inline std::vector<int32_t> Selection(std::mt19937* random, int64_t n, int64_t k) {
  std::uniform_int_distribution<int32_t> distribution(0, static_cast<int32_t>(std::max<int64_t>(k - 1, 0)));
  std::vector<int32_t> values(static_cast<size_t>(n));
  for (int32_t& value : values) value = distribution(*random);
  return values;
}

// Every cut of [0, total) into ranges is as good as another one; this one has ranges of 1 to 4.
template <typename Work>
void InRanges(int64_t total, const Work& work) {
  for (int64_t begin = 0, size = 1; begin < total; begin += size, size = size % 4 + 1) {
    work(begin, std::min(begin + size, total));
  }
}

// Calls work(begin, end) for every range of [0, total) that is not empty.
template <typename Work>
void ForEachRange(int64_t total, const Work& work) {
  for (int64_t begin = 0; begin < total; ++begin) {
    for (int64_t end = begin + 1; end <= total; ++end) work(begin, end);
  }
}

// The same bits: NaNs compare equal to themselves, 0 and -0 do not.
template <typename T>
testing::AssertionResult SameBits(const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size()) return testing::AssertionFailure() << "sizes " << a.size() << " and " << b.size();
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::memcmp(&a[i], &b[i], sizeof(T)) != 0) return testing::AssertionFailure() << "they differ at " << i;
  }
  return testing::AssertionSuccess();
}

// The selection in one byte a pixel.
inline std::vector<uint8_t> Bytes(const std::vector<int32_t>& selection) {
  return {selection.begin(), selection.end()};
}

// Whole-image forms of the row functions.

template <typename T, typename S>
std::vector<T> Filter(SimdLevel level, const ImageShape& shape, const FilterShape& filter_shape,
                      const std::vector<T>& image, const std::vector<T>& filters, const std::vector<S>& selection) {
  std::vector<T> output(image.size());
  const FilterBank<T> bank(filter_shape, filters.data(), level);
  if (shape.rows() > 0) {
    EXPECT_EQ(FilterRows(bank, shape, image.data(), selection.data(), 0, shape.rows(), output.data()),
              kSelectionInRange);
  }
  return output;
}

template <typename T, typename S>
std::vector<T> GradImage(SimdLevel level, const ImageShape& shape, const FilterShape& filter_shape,
                         const std::vector<T>& filters, const std::vector<S>& selection, const std::vector<T>& grad) {
  std::vector<T> output(grad.size());
  const FilterBank<T> bank(filter_shape, filters.data(), level);
  if (shape.rows() > 0) {
    EXPECT_EQ(FilterGradImageRows(bank, shape, selection.data(), grad.data(), 0, shape.rows(), output.data()),
              kSelectionInRange);
  }
  return output;
}

template <typename T, typename S>
std::vector<T> GradFilters(SimdLevel level, const ImageShape& shape, const FilterShape& filter_shape,
                           const std::vector<T>& image, const std::vector<S>& selection, const std::vector<T>& grad) {
  const GradFiltersBlocks blocks(shape, filter_shape);
  std::vector<double> sums(static_cast<size_t>(blocks.count() * blocks.size()));
  for (int64_t block = 0; block < blocks.count(); ++block) {
    EXPECT_EQ(FilterGradFiltersRows(filter_shape, level, shape, image.data(), selection.data(), grad.data(),
                                    blocks.begin(block), blocks.end(block), sums.data() + block * blocks.size()),
              kSelectionInRange);
  }
  std::vector<T> output(static_cast<size_t>(Values(filter_shape)));
  InRanges(filter_shape.k, [&](int64_t begin, int64_t end) {
    FilterGradFiltersReduce(filter_shape, sums.data(), blocks.count(), begin, end, output.data());
  });
  return output;
}

struct Sizes {
  ImageShape image;
  FilterShape filters;
};

// Footprints of 5x5: each tail of a vector and of a run of 256 columns, even and odd heights, 1 to 4 channels, one or
// two images.
inline std::vector<Sizes> SizesOf5x5() {
  constexpr int64_t kFilters[] = {216, 7, 300, 1};
  std::vector<int64_t> widths = {255, 256, 257, 258, 259, 260, 511, 512, 513, 514, 768};
  for (int64_t w = 1; w <= 40; ++w) widths.push_back(w);
  std::vector<Sizes> sizes;
  for (int64_t w : widths) sizes.push_back({{1 + w % 2, 1 + w % 7, w, 1 + w % 4}, {kFilters[w / 4 % 4], 5, 5}});
  for (int64_t h = 1; h <= 7; ++h) {
    sizes.push_back({{2, h, 21, 1}, {20, 5, 5}});
    sizes.push_back({{1, h, 258, 1}, {216, 5, 5}});
    sizes.push_back({{2, h, 18, 3}, {20, 5, 5}});
  }
  return sizes;
}

// Every size 0 and 1, footprints higher and wider than the image, more columns than the kernels take at a time.
inline std::vector<Sizes> ManySizes() {
  std::vector<Sizes> sizes = {
      {{1, 1, 1, 1}, {1, 1, 1}},    {{1, 1, 1, 1}, {1, 5, 5}},     {{2, 7, 9, 1}, {3, 1, 1}},
      {{1, 9, 17, 1}, {4, 1, 5}},   {{1, 9, 16, 2}, {4, 5, 1}},    {{2, 8, 15, 1}, {3, 5, 3}},
      {{1, 6, 33, 1}, {5, 3, 5}},   {{2, 11, 13, 3}, {7, 3, 3}},   {{1, 12, 19, 1}, {9, 5, 5}},
      {{2, 10, 31, 3}, {24, 5, 5}}, {{1, 9, 21, 1}, {3, 7, 7}},    {{1, 3, 2, 1}, {2, 7, 7}},
      {{1, 1, 40, 1}, {3, 5, 5}},   {{1, 40, 1, 1}, {3, 5, 5}},    {{3, 1, 1, 2}, {2, 9, 3}},
      {{1, 2, 1, 1}, {2, 11, 11}},  {{1, 5, 600, 1}, {6, 5, 5}},   {{1, 4, 257, 2}, {6, 7, 3}},
      {{1, 3, 256, 1}, {2, 1, 7}},  {{1, 16, 24, 1}, {216, 5, 5}}, {{0, 4, 5, 1}, {2, 3, 3}},
      {{2, 0, 5, 1}, {2, 3, 3}},    {{2, 4, 0, 1}, {2, 5, 5}},     {{2, 4, 5, 0}, {2, 3, 3}},
      {{0, 4, 5, 1}, {0, 3, 3}},    {{1, 3, 5, 1}, {1, 3, 17}},    {{1, 30, 40, 3}, {2, 5, 5}},
      {{1, 9, 35, 1}, {9, 5, 6}},   {{2, 8, 300, 2}, {9, 6, 5}},   {{1, 7, 290, 1}, {5, 5, 6}},
      {{1, 8, 19, 1}, {5, 4, 4}},   {{2, 5, 33, 1}, {3, 2, 8}},    {{1, 5, 17, 2}, {3, 8, 2}},
      {{1, 3, 31, 1}, {2, 4, 8}},   {{1, 6, 9, 1}, {4, 6, 6}},     {{1, 9, 20, 1}, {3, 2, 1}},
      {{1, 9, 20, 1}, {3, 1, 2}},   {{1, 1, 1, 1}, {2, 6, 4}},     {{2, 2, 3, 1}, {2, 10, 8}},
      {{1, 1, 40, 1}, {3, 6, 5}},   {{1, 40, 1, 1}, {3, 5, 6}},    {{2, 4, 0, 1}, {2, 6, 5}},
  };
  for (const Sizes& more : SizesOf5x5()) sizes.push_back(more);
  return sizes;
}

inline std::string Name(const Sizes& sizes) {
  std::string name = "image";
  for (int64_t size : {sizes.image.n, sizes.image.h, sizes.image.w, sizes.image.c}) name += " " + std::to_string(size);
  name += ", filters";
  for (int64_t size : {sizes.filters.k, sizes.filters.r, sizes.filters.s}) name += " " + std::to_string(size);
  return name;
}

// Calls visit(i, k, t, j) for each product h[t] z[j] in output i of eq 2.1, one image value at a time; k is the pixel's
// filter.
template <typename Visit>
void ForEachProduct(const Sizes& sizes, const std::vector<int32_t>& selection, const Visit& visit) {
  const auto [n, h, w, c] = sizes.image;
  const auto [count, r, s] = sizes.filters;
  for (int64_t i = 0; i < n * h * w * c; ++i) {
    const int64_t channel = i % c, x = i / c % w, y = i / (c * w) % h, image = i / (c * w * h);
    const int64_t k = selection[static_cast<size_t>(i / c)];
    for (int64_t t = 0; t < r * s; ++t) {
      const int64_t v = std::clamp<int64_t>(y + t / s - (r - 1) / 2, 0, h - 1);
      const int64_t u = std::clamp<int64_t>(x + t % s - (s - 1) / 2, 0, w - 1);
      visit(static_cast<size_t>(i), static_cast<size_t>(k), static_cast<size_t>(k * r * s + t),
            static_cast<size_t>(((image * h + v) * w + u) * c + channel));
    }
  }
  static_cast<void>(count);
}

}  // namespace blade

#endif  // BLADE_TESTS_TEST_UTIL_H_
