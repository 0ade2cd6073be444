// Any sizes, values and selection: no access out of bounds, the same result for one thread and many, at each level and
// for both types of selection, the right position of the first selection out of range, no filter selected outside the
// bank, and a step that is its parts one after the other.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <type_traits>
#include <vector>

#include "cc/blade/align.h"
#include "cc/blade/convolve.h"
#include "cc/blade/exchange.h"
#include "cc/blade/filter.h"
#include "cc/blade/lookup.h"
#include "cc/blade/resample.h"
#include "cc/blade/select.h"
#include "cc/blade/step.h"

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

// But for the bits of a NaN, in which levels may differ, and sums and products of two of them.
template <typename T>
bool SameNumbers(const T* a, const T* b, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const auto x = Storage<T>::Load(a[i]), y = Storage<T>::Load(b[i]);
    if (!(x == y) && (x == x || y == y)) return false;
  }
  return true;
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

template <typename T, typename S>
void FiltersBy(Input* input, SimdLevel level, const ImageShape& shape, const FilterShape& filter_shape,
               const S* selection) {
  const int64_t pixels = shape.n * shape.h * shape.w, values = pixels * shape.c, rows = shape.rows();
  const int64_t range = 1 + input->Below(5);
  const auto image = input->Values<T>(values), grad = input->Values<T>(values);
  const auto filters = input->Values<T>(filter_shape.k * filter_shape.taps());
  const FilterBank<T> bank(filter_shape, filters.get(), level);
  int64_t expected = 0;
  while (expected < pixels && selection[expected] >= 0 && selection[expected] < filter_shape.k) ++expected;
  if (expected == pixels) expected = kSelectionInRange;

  const std::unique_ptr<T[]> whole(new T[static_cast<size_t>(values)]), parts(new T[static_cast<size_t>(values)]);
  const auto filter = [&](T* output) {
    return [&, output](int64_t begin, int64_t end) {
      return FilterRows(bank, shape, image.get(), selection, begin, end, output);
    };
  };
  Check(Once(rows, filter(whole.get())) == expected);
  Check(InRanges(rows, range, filter(parts.get())) == expected);
  Check(expected != kSelectionInRange || Same(whole.get(), parts.get(), values));

  const auto grad_image = [&](T* output) {
    return [&, output](int64_t begin, int64_t end) {
      return FilterGradImageRows(bank, shape, selection, grad.get(), begin, end, output);
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
        FilterGradFiltersRows(filter_shape, level, shape, image.get(), selection, grad.get(), blocks.begin(block),
                              blocks.end(block), sums.get() + block * blocks.size());
    if (found != kSelectionInRange) first = found;
  }
  Check(first == expected);
  const std::unique_ptr<T[]> filters_grad(new T[static_cast<size_t>(filter_shape.k * filter_shape.taps())]);
  FilterGradFiltersReduce(filter_shape, sums.get(), blocks.count(), 0, filter_shape.k, filters_grad.get());
}

template <typename T>
void Filters(Input* input, SimdLevel level, const ImageShape& shape) {
  FilterShape filter_shape = {input->Below(8), 1 + input->Below(8), 1 + input->Below(8)};
  if (input->Below(2) == 0) filter_shape.r = filter_shape.s = 5;  // which has kernels of its own
  const int64_t pixels = shape.n * shape.h * shape.w;
  const auto selection = input->Selection(pixels, filter_shape.k);
  if (input->Below(2) == 0) return FiltersBy<T>(input, level, shape, filter_shape, selection.get());
  const std::unique_ptr<uint8_t[]> bytes(new uint8_t[static_cast<size_t>(pixels)]);
  std::copy_n(selection.get(), pixels, bytes.get());
  FiltersBy<T>(input, level, shape, filter_shape, bytes.get());
}

template <typename T, typename S>
void StepsBy(Input* input, SimdLevel level, const ImageShape& shape) {
  SelectParameters parameters = {1 + input->Below(30), {}, {}, static_cast<float>(input->Below(20)) / 7};
  int64_t bins = parameters.orientations;
  for (auto* thresholds :
       {&parameters.strength_thresholds, &parameters.coherence_thresholds, &parameters.intensity_thresholds}) {
    for (int64_t i = input->Below(sizeof(S) > 1 ? 4 : 2); i > 0; --i)
      thresholds->push_back(1.0f / static_cast<float>(i));
    bins *= static_cast<int64_t>(thresholds->size()) + 1;
  }
  Check(ValidateSelect(parameters).empty());
  FilterShape filter_shape = {bins + input->Below(3), 5, 5};
  if (input->Below(4) == 0) filter_shape.r = 1 + input->Below(8);
  const int64_t pixels = shape.n * shape.h * shape.w, values = pixels * shape.c;
  const auto image = input->Values<T>(values), filters = input->Values<T>(filter_shape.k * filter_shape.taps());
  const T dt = input->Values<T>(1)[0];
  const SelectPlan<ComputeOf<T>> plan(parameters);
  const FilterBank<T> bank(filter_shape, filters.get(), level);
  struct Output {
    Output(int64_t all, int64_t one)
        : image(new T[static_cast<size_t>(all)]), selection(new S[static_cast<size_t>(one)]) {}
    std::unique_ptr<T[]> image;
    std::unique_ptr<S[]> selection;
  };
  const Output whole(values, pixels), parts(values, pixels), apart(values, pixels);
  const auto step = [&](const Output& out) {
    return [&](int64_t begin, int64_t end) {
      StepRows(plan, bank, level, shape, image.get(), dt, begin, end, out.image.get(), out.selection.get());
      return kSelectionInRange;
    };
  };
  Once(shape.rows(), step(whole));
  InRanges(shape.rows(), 1 + input->Below(12), step(parts));
  Check(SameNumbers(whole.image.get(), parts.image.get(), values));
  Check(Same(whole.selection.get(), parts.selection.get(), pixels));
  if (shape.rows() == 0) return;
  SelectRows(plan, SimdLevel::kPortable, shape, image.get(), 0, shape.rows(), apart.selection.get());
  Check(Same(whole.selection.get(), apart.selection.get(), pixels));
  Check(FilterRows(bank, shape, image.get(), apart.selection.get(), 0, shape.rows(), apart.image.get()) ==
        kSelectionInRange);
  const ScopedFlushSubnormals flush;
  for (int64_t i = 0; i < values; ++i) {
    T& value = apart.image[static_cast<size_t>(i)];
    const T change = Storage<T>::Store(Storage<T>::Load(dt) * Storage<T>::Load(value));
    value = Storage<T>::Store(Storage<T>::Load(image[static_cast<size_t>(i)]) + Storage<T>::Load(change));
  }
  Check(SameNumbers(whole.image.get(), apart.image.get(), values));
}

template <typename T>
void Steps(Input* input, SimdLevel level, const ImageShape& shape) {
  if (input->Below(2) == 0) return StepsBy<T, int32_t>(input, level, shape);
  StepsBy<T, uint8_t>(input, level, shape);
}

template <typename T>
void Selects(Input* input, SimdLevel level, const ImageShape& shape) {
  SelectParameters parameters = {1 + input->Below(30), {}, {}, static_cast<float>(input->Below(20)) / 7};
  parameters.center = static_cast<SelectCenter>(input->Below(3));
  parameters.soft = static_cast<SoftFeature>(input->Below(5));
  if (parameters.soft == SoftFeature::kOrientation) parameters.orientations += 2;
  int64_t filters = parameters.orientations;
  const auto levels = [&](SoftFeature feature, std::vector<float>* thresholds) {
    const bool soft = parameters.soft == feature;
    int64_t i = soft ? 2 + input->Below(3) : input->Below(4);
    filters *= soft ? i : i + 1;
    for (; i > 0; --i) (soft ? &parameters.centers : thresholds)->push_back(1.0f / static_cast<float>(i));
  };
  levels(SoftFeature::kStrength, &parameters.strength_thresholds);
  levels(SoftFeature::kCoherence, &parameters.coherence_thresholds);
  levels(SoftFeature::kIntensity, &parameters.intensity_thresholds);
  Check(ValidateSelect(parameters).empty());
  const int64_t pixels = shape.n * shape.h * shape.w;
  const size_t size = static_cast<size_t>(pixels);
  const auto image = input->Values<T>(pixels * shape.c);
  const SelectPlan<ComputeOf<T>> plan(parameters);
  struct Output {
    explicit Output(size_t n) : lower(new int32_t[n]), upper(new int32_t[n]), weight(new T[n]) {}
    std::unique_ptr<int32_t[]> lower, upper;
    std::unique_ptr<T[]> weight;
  };
  const Output whole(size), parts(size);
  const bool soft = parameters.soft != SoftFeature::kNone;
  const auto select = [&](SimdLevel l, const Output& out) {
    return [&, l](int64_t begin, int64_t end) {
      if (soft) {
        SelectSoftRows(plan, l, shape, image.get(), begin, end, out.lower.get(), out.upper.get(), out.weight.get());
      } else {
        SelectRows(plan, l, shape, image.get(), begin, end, out.lower.get());
      }
      return kSelectionInRange;
    };
  };
  Once(shape.rows(), select(level, whole));
  InRanges(shape.rows(), 1 + input->Below(5), select(SimdLevel::kPortable, parts));
  Check(Same(whole.lower.get(), parts.lower.get(), pixels));
  Check(!soft || Same(whole.upper.get(), parts.upper.get(), pixels));
  Check(!soft || Same(whole.weight.get(), parts.weight.get(), pixels));
  for (size_t i = 0; i < size; ++i) {
    Check(whole.lower[i] >= 0 && whole.lower[i] < filters);
    if (!soft) continue;
    const auto weight = Storage<T>::Load(whole.weight[i]);
    Check(whole.upper[i] >= 0 && whole.upper[i] < filters && weight >= 0 && weight <= 1);
  }
}

template <typename F>
void Exchanges(Input* input, SimdLevel level, const ImageShape& image_shape) {
  const ExchangeShape shape = {image_shape.n, image_shape.c, 1 + input->Below(5), image_shape.h, image_shape.w};
  std::vector<int64_t> numbers;
  for (int64_t i = input->Below(7); i > 0; --i) {
    numbers.push_back(input->Below(shape.planes));
    for (int k = 0; k < 4; ++k) numbers.push_back(input->Below(2) == 0 ? input->Below(3) - 1 : input->Below(99) - 49);
    if (input->Below(20) == 0) numbers.back() = (1 << 20) - 1;
  }
  std::vector<Pair> pairs;
  if (!ParsePairs(numbers, &pairs).empty()) return;
  const int64_t pixels = shape.rows() * shape.w, values = pixels * shape.channels, couplings = pixels * shape.planes;
  const auto image = input->Values<F>(values), grad = input->Values<F>(values);
  const auto conductance = input->Values<F>(couplings);
  struct Output {
    explicit Output(const ExchangeShape& s)
        : limit(new F[static_cast<size_t>(s.rows() * s.w)]),
          change(new F[static_cast<size_t>(s.rows() * s.w * s.channels)]),
          sum_grad(new F[static_cast<size_t>(s.rows() * s.w)]),
          conductance_grad(new F[static_cast<size_t>(s.rows() * s.w * s.planes)]) {}
    std::unique_ptr<F[]> limit, change, sum_grad, conductance_grad;
  };
  const Output whole(shape), parts(shape);
  const auto run = [&](SimdLevel l, const Output& out, int64_t size) {
    const auto over = [&](const auto& work) {
      InRanges(shape.rows(), size, [&](int64_t begin, int64_t end) {
        work(begin, end);
        return kSelectionInRange;
      });
    };
    over([&](int64_t begin, int64_t end) {
      ExchangeLimitRows(shape, pairs, l, conductance.get(), begin, end, out.limit.get());
    });
    over([&](int64_t begin, int64_t end) {
      ExchangeRows(shape, pairs, l, image.get(), conductance.get(), out.limit.get(), begin, end, out.change.get());
    });
    over([&](int64_t begin, int64_t end) {
      ExchangeGradSumRows(shape, pairs, l, image.get(), conductance.get(), out.limit.get(), grad.get(), begin, end,
                          out.sum_grad.get());
    });
    over([&](int64_t begin, int64_t end) {
      ExchangeGradConductanceRows(shape, pairs, l, image.get(), out.limit.get(), grad.get(), out.sum_grad.get(), begin,
                                  end, out.conductance_grad.get());
    });
  };
  run(level, whole, std::max<int64_t>(shape.rows(), 1));
  run(SimdLevel::kPortable, parts, 1 + input->Below(5));
  Check(SameNumbers(whole.limit.get(), parts.limit.get(), pixels));
  Check(SameNumbers(whole.change.get(), parts.change.get(), values));
  Check(SameNumbers(whole.sum_grad.get(), parts.sum_grad.get(), pixels));
  Check(SameNumbers(whole.conductance_grad.get(), parts.conductance_grad.get(), couplings));
}

template <typename F>
void Lookups(Input* input, SimdLevel level, const ImageShape& image_shape) {
  const LookupShape shape = {image_shape.n, 1 + input->Below(12), image_shape.h, image_shape.w, input->Below(40)};
  const int64_t pixels = shape.pixels(), values = pixels * shape.planes, entries = shape.k * shape.planes;
  const auto table = input->Values<F>(entries), weight = input->Values<F>(pixels), grad = input->Values<F>(values);
  const auto lower = input->Selection(pixels, shape.k), upper = input->Selection(pixels, shape.k);
  int64_t expected = kSelectionInRange;
  for (int64_t i = 0; i < 2 * pixels && expected == kSelectionInRange; ++i) {
    const int32_t* side = i / shape.w % 2 == 0 ? lower.get() : upper.get();
    const int32_t value = side[i / (2 * shape.w) * shape.w + i % shape.w];
    if (value < 0 || value >= shape.k) expected = i;
  }
  const size_t size = static_cast<size_t>(values);
  const std::unique_ptr<F[]> whole(new F[size]), parts(new F[size]), weight_grad(new F[static_cast<size_t>(pixels)]);
  const auto look_up = [&](SimdLevel l, F* out) {
    return [&, l, out](int64_t begin, int64_t end) {
      return LookupRows(shape, l, table.get(), lower.get(), upper.get(), weight.get(), begin, end, out);
    };
  };
  Check(Once(shape.rows(), look_up(level, whole.get())) == expected);
  Check(InRanges(shape.rows(), 1 + input->Below(5), look_up(SimdLevel::kPortable, parts.get())) == expected);
  Check(expected != kSelectionInRange || SameNumbers(whole.get(), parts.get(), values));
  const LookupBlocks blocks(shape);
  const std::unique_ptr<double[]> sums(new double[static_cast<size_t>(entries)]);
  int64_t first = kSelectionInRange;
  for (int64_t block = blocks.count() - 1; block >= 0; --block) {
    const int64_t found = LookupGradRows(shape, table.get(), lower.get(), upper.get(), weight.get(), grad.get(),
                                         blocks.begin(block), blocks.end(block), sums.get(), weight_grad.get());
    if (found != kSelectionInRange) first = found;
  }
  Check(first == expected);
}

void Aligns(Input* input, SimdLevel level, const ImageShape& image_shape) {
  const PlaneShape shape = {image_shape.n, image_shape.h, image_shape.w};
  if (shape.h == 0 || shape.w == 0) return;
  const AlignParameters parameters = {
      1e-4f, 0.03f, 0.005f, input->Below(5), 1 + 2 * input->Below(5), 1 + input->Below(9), 0.99f, 2.0f};
  Check(ValidateAlign(parameters).empty());
  const int64_t pixels = shape.pixels();
  const auto reference = input->Values<float>(pixels), moving = input->Values<float>(shape.extended().pixels());
  const auto flow = input->Values<float>(2 * pixels), coarse = input->Values<float>(2 * shape.halved().pixels());
  for (int64_t i = 0; i < 2 * pixels; ++i)
    if (input->Below(4) != 0) flow[static_cast<size_t>(i)] = static_cast<float>(input->Below(99)) / 7 - 7;
  constexpr int kOutputs = 6;
  const int64_t sizes[kOutputs] = {shape.halved().pixels(), 2 * pixels, 2 * pixels,
                                   kAlignPlanes * pixels,   2 * pixels, 2 * pixels};
  std::unique_ptr<float[]> whole[kOutputs], parts[kOutputs];
  const auto run = [&](SimdLevel l, std::unique_ptr<float[]>* out, int64_t size) {
    for (int i = 0; i < kOutputs; ++i) out[i].reset(new float[static_cast<size_t>(sizes[i])]);
    const auto over = [&](int64_t rows, const auto& work) {
      for (int64_t begin = 0; begin < rows; begin += size) work(begin, std::min(begin + size, rows));
    };
    over(shape.halved().rows(),
         [&](int64_t begin, int64_t end) { HalveRows(shape, l, reference.get(), begin, end, out[0].get()); });
    over(shape.rows(), [&](int64_t begin, int64_t end) {
      DoubleRows(shape, l, coarse.get(), begin, end, out[1].get());
      MatchRows(shape, parameters, l, reference.get(), moving.get(), flow.get(), begin, end, out[2].get());
      SystemRows(shape, parameters, l, reference.get(), moving.get(), flow.get(), begin, end, out[3].get());
    });
    over(shape.rows(), [&](int64_t begin, int64_t end) {
      SolveRows(shape, parameters, l, out[3].get(), flow.get(), begin, end, out[4].get());
    });
    over(shape.rows(),
         [&](int64_t begin, int64_t end) { MedianRows(shape, l, out[4].get(), begin, end, out[5].get()); });
  };
  run(level, whole, std::max<int64_t>(shape.rows(), 1));
  run(SimdLevel::kPortable, parts, 1 + input->Below(5));
  for (int i = 0; i < kOutputs; ++i) Check(SameNumbers(whole[i].get(), parts[i].get(), sizes[i]));
}

template <typename F>
void Convolves(Input* input, SimdLevel level, const ImageShape& fine) {
  const auto stride = [&](int64_t size) {
    const int64_t factor = 1 + input->Below(3);
    return size % factor == 0 ? Stride{factor, input->Below(factor)} : Stride{1, 0};
  };
  const ConvolveParameters p = {1 + input->Below(9),  1 + input->Below(9), static_cast<Border>(input->Below(2)),
                                input->Below(2) != 0, stride(fine.h),      stride(fine.w)};
  const ImageShape kept = {fine.n, fine.h / p.y.factor, fine.w / p.x.factor, fine.c};
  const ImageShape &from = p.transposed ? kept : fine, &to = p.transposed ? fine : kept;
  const int64_t values = to.rows() * to.w * to.c;
  const auto kernel = input->Values<F>(p.r * p.s), image = input->Values<F>(from.rows() * from.w * from.c);
  const std::unique_ptr<F[]> whole(new F[static_cast<size_t>(values)]), parts(new F[static_cast<size_t>(values)]);
  const auto convolve = [&](SimdLevel l, F* out) {
    return [&, l, out](int64_t begin, int64_t end) {
      ConvolveRows(p, fine, l, kernel.get(), image.get(), begin, end, out);
      return kSelectionInRange;
    };
  };
  Once(to.rows(), convolve(level, whole.get()));
  InRanges(to.rows(), 1 + input->Below(5), convolve(SimdLevel::kPortable, parts.get()));
  Check(SameNumbers(whole.get(), parts.get(), values));
}

void Resamples(Input* input, SimdLevel level, const ImageShape& shape) {
  const ResampleParameters parameters = {1 + input->Below(4), input->Below(2) != 0, -1.0f};
  FilterShape filters = {1 + input->Below(7), 1 + input->Below(7), 1 + input->Below(7)};
  if (input->Below(2) == 0) filters.r = filters.s = 5;  // which has kernels of its own
  const int64_t pixels = shape.rows() * shape.w, values = pixels * shape.c;
  const auto taps = input->Values<float>(parameters.monomials() * filters.k * filters.taps());
  const auto image = input->Values<float>(values), seen = input->Values<float>(values);
  const auto displacement = input->Values<float>(2 * pixels);
  for (int64_t i = 0; i < 2 * pixels; ++i)
    if (input->Below(4) != 0) displacement[static_cast<size_t>(i)] = static_cast<float>(input->Below(99)) / 7 - 7;
  const std::unique_ptr<int32_t[]> selection(new int32_t[static_cast<size_t>(pixels)]);
  for (int64_t i = 0; i < pixels; ++i)
    selection[static_cast<size_t>(i)] = static_cast<int32_t>(input->Below(filters.k));
  const ResampleBank bank(filters, parameters.monomials(), taps.get());
  const std::unique_ptr<float[]> whole(new float[static_cast<size_t>(values)]);
  const std::unique_ptr<float[]> parts(new float[static_cast<size_t>(values)]);
  const auto resample = [&](SimdLevel l, float* out) {
    return [&, l, out](int64_t begin, int64_t end) {
      ResampleRows(bank, parameters, shape, l, image.get(), seen.get(), selection.get(), displacement.get(), begin, end,
                   out);
      return kSelectionInRange;
    };
  };
  Once(shape.rows(), resample(level, whole.get()));
  InRanges(shape.rows(), 1 + input->Below(5), resample(SimdLevel::kPortable, parts.get()));
  Check(SameNumbers(whole.get(), parts.get(), values));
}

template <typename T>
void All(Input* input, SimdLevel level, const ImageShape& shape) {
  Filters<T>(input, level, shape);
  Steps<T>(input, level, shape);
  Selects<T>(input, level, shape);
  if constexpr (std::is_floating_point_v<T>) {
    Exchanges<T>(input, level, shape);
    Lookups<T>(input, level, shape);
    Convolves<T>(input, level, shape);
  }
  if constexpr (std::is_same_v<T, float>) {
    Aligns(input, level, shape);
    Resamples(input, level, shape);
  }
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
      All<Half>(&input, level, shape);
      break;
    case 1:
      All<BFloat16>(&input, level, shape);
      break;
    case 2:
      All<float>(&input, level, shape);
      break;
    default:
      All<double>(&input, level, shape);
  }
  return 0;
}
