// Any sizes, values and selection: no access out of bounds, the same result for one thread and many, the right position
// of the first selection out of range, and no filter selected outside the bank.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "cc/blade/filter.h"
#include "cc/blade/select.h"

namespace blade {
namespace {

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  int64_t Below(int64_t limit) { return Byte() % limit; }

  // On the heap at its exact size, so that a read beyond it is seen.
  template <typename T>
  std::unique_ptr<T[]> Values(int64_t n) {
    std::unique_ptr<T[]> values(new T[static_cast<size_t>(n)]);
    uint8_t bytes[sizeof(T)];
    for (int64_t i = 0; i < n; ++i) {
      for (uint8_t& byte : bytes) byte = Byte();
      std::memcpy(&values[static_cast<size_t>(i)], bytes, sizeof(T));
    }
    return values;
  }

  // Mostly in [0, k).
  std::unique_ptr<int32_t[]> Selection(int64_t n, int64_t k) {
    const bool any = Byte() % 4 == 0;
    std::unique_ptr<int32_t[]> values = Values<int32_t>(n);
    for (int64_t i = 0; i < n && k > 0; ++i) {
      if (!any || Byte() != 0) values[static_cast<size_t>(i)] = static_cast<int32_t>(Byte() % k);
    }
    return values;
  }

 private:
  // The input goes on with a sequence of its own once it is used up.
  uint8_t Byte() {
    if (at_ < size_) return data_[at_++];
    state_ = state_ * 1664525u + 1013904223u;
    return static_cast<uint8_t>(state_ >> 24);
  }

  const uint8_t* data_;
  size_t size_, at_ = 0;
  uint32_t state_ = 1;
};

void Check(bool holds) {
  if (!holds) std::abort();
}

template <typename T>
bool Same(const T* a, const T* b, int64_t n) {
  return std::memcmp(a, b, static_cast<size_t>(n) * sizeof(T)) == 0;
}

// work(begin, end) on all rows at once, and again in ranges; returns the first position of either, which must be the
// same.
template <typename Work>
int64_t Once(int64_t rows, const Work& work) {
  return rows > 0 ? work(0, rows) : kSelectionInRange;
}
template <typename Work>
int64_t InRanges(int64_t rows, int64_t size, const Work& work) {
  int64_t first = kSelectionInRange;
  for (int64_t begin = 0; begin < rows; begin += size) {
    const int64_t found = work(begin, std::min(begin + size, rows));
    if (found != kSelectionInRange && (first == kSelectionInRange || found < first)) first = found;
  }
  return first;
}

template <typename T>
void Filters(Input* input, SimdLevel level, const ImageShape& shape) {
  const FilterShape filter_shape = {input->Below(8), 1 + input->Below(8), 1 + input->Below(8)};
  const int64_t pixels = shape.n * shape.h * shape.w, values = pixels * shape.c, rows = shape.rows();
  const int64_t range = 1 + input->Below(5);
  const auto image = input->Values<T>(values), grad = input->Values<T>(values);
  const auto filters = input->Values<T>(filter_shape.k * filter_shape.taps());
  const auto selection = input->Selection(pixels, filter_shape.k);
  const FilterBank<T> bank(filter_shape, filters.get(), level);
  int64_t expected = 0;
  while (expected < pixels && selection[static_cast<size_t>(expected)] >= 0 &&
         selection[static_cast<size_t>(expected)] < filter_shape.k) {
    ++expected;
  }
  if (expected == pixels) expected = kSelectionInRange;

  const std::unique_ptr<T[]> whole(new T[static_cast<size_t>(values)]), parts(new T[static_cast<size_t>(values)]);
  const auto filter = [&](T* output) {
    return [&, output](int64_t begin, int64_t end) {
      return FilterRows(bank, shape, image.get(), selection.get(), begin, end, output);
    };
  };
  Check(Once(rows, filter(whole.get())) == expected);
  Check(InRanges(rows, range, filter(parts.get())) == expected);
  Check(expected != kSelectionInRange || Same(whole.get(), parts.get(), values));

  const auto grad_image = [&](T* output) {
    return [&, output](int64_t begin, int64_t end) {
      return FilterGradImageRows(bank, shape, selection.get(), grad.get(), begin, end, output);
    };
  };
  Check(Once(rows, grad_image(whole.get())) == expected);
  Check(InRanges(rows, range, grad_image(parts.get())) == expected);
  Check(expected != kSelectionInRange || Same(whole.get(), parts.get(), values));

  const GradFiltersBlocks blocks(shape, filter_shape);
  const std::unique_ptr<double[]> sums(new double[static_cast<size_t>(blocks.count() * blocks.size())]);
  int64_t first = kSelectionInRange;
  for (int64_t block = blocks.count() - 1; block >= 0; --block) {
    const int64_t found =
        FilterGradFiltersRows(filter_shape, level, shape, image.get(), selection.get(), grad.get(), blocks.begin(block),
                              blocks.end(block), sums.get() + block * blocks.size());
    if (found != kSelectionInRange) first = found;
  }
  Check(first == expected);
  const std::unique_ptr<T[]> filters_grad(new T[static_cast<size_t>(filter_shape.k * filter_shape.taps())]);
  FilterGradFiltersReduce(filter_shape, sums.get(), blocks.count(), 0, filter_shape.k, filters_grad.get());
}

template <typename T>
void Selects(Input* input, SimdLevel level, const ImageShape& shape) {
  SelectParameters parameters = {1 + input->Below(30), {}, {}, static_cast<float>(input->Below(20)) / 7};
  for (int64_t i = input->Below(4); i > 0; --i) parameters.strength_thresholds.push_back(1.0f / static_cast<float>(i));
  for (int64_t i = input->Below(4); i > 0; --i) parameters.coherence_thresholds.push_back(1.0f / static_cast<float>(i));
  Check(ValidateSelect(parameters).empty());
  const int64_t pixels = shape.n * shape.h * shape.w;
  const auto image = input->Values<T>(pixels * shape.c);
  const SelectPlan<ComputeOf<T>> plan(parameters);
  const std::unique_ptr<int32_t[]> whole(new int32_t[static_cast<size_t>(pixels)]),
      parts(new int32_t[static_cast<size_t>(pixels)]);
  const auto select = [&](SimdLevel l, int32_t* output) {
    return [&, l, output](int64_t begin, int64_t end) {
      SelectRows(plan, l, shape, image.get(), begin, end, output);
      return kSelectionInRange;
    };
  };
  Once(shape.rows(), select(level, whole.get()));
  InRanges(shape.rows(), 1 + input->Below(5), select(SimdLevel::kPortable, parts.get()));
  Check(Same(whole.get(), parts.get(), pixels));
  const int64_t filters = parameters.orientations * static_cast<int64_t>(parameters.strength_thresholds.size() + 1) *
                          static_cast<int64_t>(parameters.coherence_thresholds.size() + 1);
  for (int64_t i = 0; i < pixels; ++i)
    Check(whole[static_cast<size_t>(i)] >= 0 && whole[static_cast<size_t>(i)] < filters);
}

template <typename T>
void Both(Input* input, SimdLevel level, const ImageShape& shape) {
  Filters<T>(input, level, shape);
  Selects<T>(input, level, shape);
}

}  // namespace
}  // namespace blade

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace blade;  // NOLINT
  Input input(data, size);
  const int64_t width = input.Below(8) == 0 ? 300 : 40;
  const ImageShape shape = {input.Below(3), input.Below(9), input.Below(width), input.Below(4)};
  SimdLevel level = static_cast<SimdLevel>(input.Below(3));
  if (!ProcessorHas(level)) level = SimdLevel::kPortable;
  switch (input.Below(4)) {
    case 0:
      Both<Half>(&input, level, shape);
      break;
    case 1:
      Both<BFloat16>(&input, level, shape);
      break;
    case 2:
      Both<float>(&input, level, shape);
      break;
    default:
      Both<double>(&input, level, shape);
  }
  return 0;
}
