#include "cc/blade/select.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <type_traits>
#include <utility>

#include "cc/blade/rows.h"
#include "cc/blade/strip.h"

namespace blade {
namespace {

std::string List(const std::vector<float>& numbers) {
  std::ostringstream list;
  list << "[";
  for (size_t i = 0; i < numbers.size(); ++i) list << (i > 0 ? ", " : "") << numbers[i];
  list << "]";
  return list.str();
}

struct Range {
  float least, greatest;
  const char* text;
};
constexpr float kGreatest = std::numeric_limits<float>::max();
constexpr Range kStrengthRange = {0.0f, kGreatest, " >= 0"}, kCoherenceRange = {0.0f, 1.0f, " in [0, 1]"},
                kIntensityRange = {-kGreatest, kGreatest, ""};

std::string ValidateNumbers(const char* name, const std::vector<float>& numbers, const Range& range) {
  bool valid = true;
  for (size_t i = 0; i < numbers.size(); ++i) {
    const float t = numbers[i];
    valid = valid && std::isfinite(t) && t >= range.least && t <= range.greatest && (i == 0 || t > numbers[i - 1]);
  }
  if (valid) return "";
  return std::string(name) + ": expected finite, strictly ascending numbers" + range.text + ", got " + List(numbers);
}

std::string ValidateSoft(const SelectParameters& p) {
  const auto none = [](const char* name, const std::vector<float>& numbers, const char* where) {
    return numbers.empty() ? "" : std::string(name) + ": expected none where " + where + ", got " + List(numbers);
  };
  const auto centers = [&](const Range& range) {
    if (p.centers.size() >= 2) return ValidateNumbers("centers", p.centers, range);
    return "centers: expected at least 2, got " + List(p.centers);
  };
  std::string error;
  switch (p.soft) {
    case SoftFeature::kNone:
      return none("centers", p.centers, "no feature is soft");
    case SoftFeature::kOrientation:
      if (p.orientations < 3) {
        return "orientations: expected at least 3 where orientation is soft, got " + std::to_string(p.orientations);
      }
      return none("centers", p.centers, "orientation is soft");
    case SoftFeature::kStrength:
      error = none("strength_thresholds", p.strength_thresholds, "strength is soft");
      return error.empty() ? centers(kStrengthRange) : error;
    case SoftFeature::kCoherence:
      error = none("coherence_thresholds", p.coherence_thresholds, "coherence is soft");
      return error.empty() ? centers(kCoherenceRange) : error;
    case SoftFeature::kIntensity:
      error = none("intensity_thresholds", p.intensity_thresholds, "intensity is soft");
      return error.empty() ? centers(kIntensityRange) : error;
  }
  return error;
}

// The number of bins of a feature: its centres where it is the soft one.
int64_t Bins(const SelectParameters& p, SoftFeature feature, const std::vector<float>& thresholds) {
  return static_cast<int64_t>(p.soft == feature ? p.centers.size() : thresholds.size() + 1);
}

}  // namespace

std::string ValidateSelect(const SelectParameters& p) {
  std::ostringstream message;
  if (p.orientations < 1) {
    message << "orientations: expected at least 1, got " << p.orientations;
    return message.str();
  }
  std::string error = ValidateNumbers("strength_thresholds", p.strength_thresholds, kStrengthRange);
  if (error.empty()) error = ValidateNumbers("coherence_thresholds", p.coherence_thresholds, kCoherenceRange);
  if (error.empty()) error = ValidateNumbers("intensity_thresholds", p.intensity_thresholds, kIntensityRange);
  if (error.empty()) error = ValidateSoft(p);
  if (!error.empty()) return error;
  constexpr float kGreatestRho = 1e4f;
  if (!(p.rho >= 0 && p.rho <= kGreatestRho)) {
    message << "rho: expected a number in [0, " << kGreatestRho << "], got " << p.rho;
    return message.str();
  }
  double filters = static_cast<double>(p.orientations);
  filters *= static_cast<double>(Bins(p, SoftFeature::kStrength, p.strength_thresholds));
  filters *= static_cast<double>(Bins(p, SoftFeature::kCoherence, p.coherence_thresholds));
  filters *= static_cast<double>(Bins(p, SoftFeature::kIntensity, p.intensity_thresholds));
  if (filters > std::numeric_limits<int32_t>::max()) {
    message << "orientations: expected at most 2147483647 combinations of features, got " << filters;
    return message.str();
  }
  return "";
}

template <typename F>
SelectPlan<F>::SelectPlan(const SelectParameters& p)
    : center(p.center),
      orientations(p.orientations),
      strengths(Bins(p, SoftFeature::kStrength, p.strength_thresholds)),
      coherences(Bins(p, SoftFeature::kCoherence, p.coherence_thresholds)),
      intensities(Bins(p, SoftFeature::kIntensity, p.intensity_thresholds)),
      folds(p.orientations % 4 == 0                                          ? 2
            : p.orientations % 2 == 0 && p.soft == SoftFeature::kOrientation ? 1
                                                                             : 0),
      low_edges(0),
      soft(p.soft),
      soft_stride(0) {
  const double rho = static_cast<double>(p.rho);
  const int64_t taps = static_cast<int64_t>(std::ceil(3 * rho));
  std::vector<double> gaussian;
  double sum = 0;
  for (int64_t k = 0; k <= taps; ++k) {
    const double x = static_cast<double>(k);
    gaussian.push_back(k == 0 ? 1.0 : std::exp(-x * x / (2 * rho * rho)));
    sum += k == 0 ? gaussian.back() : 2 * gaussian.back();
  }
  for (double w : gaussian) weights.push_back(static_cast<F>(w / sum));

  constexpr double kPi = 3.14159265358979323846;
  const double n = static_cast<double>(orientations);
  const bool soft_orientation = soft == SoftFeature::kOrientation;
  const double phase = soft_orientation ? 0.0 : orientations % 2 == 0 ? 0.5 : 0.25;
  const int64_t sectors = orientations >> folds;
  for (int64_t j = soft_orientation ? 1 : 0; j < sectors; ++j) {
    const double position = static_cast<double>(j) + phase;
    const double angle = 2 * kPi * position / n;
    edge_cos.push_back(static_cast<F>(std::cos(angle)));
    edge_sin.push_back(static_cast<F>(std::sin(angle)));
    if (2 * position < n) ++low_edges;
  }

  // In double, and rounded once.
  const auto strength_bound = [](float t) { return 2 * static_cast<double>(t) * static_cast<double>(t); };
  const auto coherence_bound = [](float threshold) {
    const double q = static_cast<double>(threshold), k = 2 * q / (1 + q * q);
    return k * k;
  };
  for (float t : p.strength_thresholds) strength.push_back(static_cast<F>(strength_bound(t)));
  for (float q : p.coherence_thresholds) coherence.push_back(static_cast<F>(coherence_bound(q)));
  for (float t : p.intensity_thresholds) intensity.push_back(static_cast<F>(t));

  if (soft_orientation) {
    soft_stride = 1;
    for (int64_t i = 0; i < sectors; ++i) {
      const double angle = 2 * kPi * (static_cast<double>(i) + 0.5) / n;
      middle_cos.push_back(static_cast<F>(std::cos(angle)));
      middle_sin.push_back(static_cast<F>(std::sin(angle)));
    }
    // Until the next power cannot be seen.
    const double greatest = std::tan(kPi / (2 * n));
    const double least = static_cast<double>(std::numeric_limits<F>::epsilon()) / 8;
    double power = greatest * n / kPi;
    for (int64_t k = 0; k == 0 || power / static_cast<double>(2 * k + 1) > least; ++k) {
      arc.push_back(static_cast<F>((k % 2 == 0 ? n : -n) / (kPi * static_cast<double>(2 * k + 1))));
      power *= greatest * greatest;
    }
    return;
  }
  const int64_t strides[] = {0, orientations, orientations * strengths, 0, orientations * strengths * coherences};
  soft_stride = strides[static_cast<int>(soft)];
  for (size_t i = 0; i + 1 < p.centers.size(); ++i) {
    const float m = p.centers[i];
    bound.push_back(static_cast<F>(soft == SoftFeature::kStrength    ? strength_bound(m)
                                   : soft == SoftFeature::kCoherence ? coherence_bound(m)
                                                                     : static_cast<double>(m)));
    origin.push_back(static_cast<F>(m));
    scale.push_back(static_cast<F>(1 / (static_cast<double>(p.centers[i + 1]) - static_cast<double>(m))));
  }
}

template struct SelectPlan<float>;
template struct SelectPlan<double>;

namespace {

template <typename T, typename S>
void Rows(const SelectPlan<ComputeOf<T>>& plan, SimdLevel level, const ImageShape& shape, const T* image, int64_t begin,
          int64_t end, const Selected<T, S>& selected) {
  if (shape.w == 0) return;
  const ScopedFlushSubnormals flush;
  const int64_t grid_h = shape.h - (plan.center == SelectCenter::kFaceY);
  const int64_t grid_w = shape.w - (plan.center == SelectCenter::kFaceX);
  Strip<T, S> strip(plan, level, shape, std::max<int64_t>(grid_h, 1), grid_w);
  while (begin < end) {
    const int64_t n = begin / shape.h;
    const int64_t stop = std::min(end, (n + 1) * shape.h);
    const int64_t first = begin - n * shape.h, last = stop - n * shape.h, inner = std::min(last, grid_h);
    const Selected<T, S> one = selected.Image(n * shape.h * shape.w);
    for (int64_t left = 0; left < grid_w; left += kStrip) {
      strip.Start(image + n * shape.h * shape.w * shape.c, left, std::min(left + kStrip, grid_w), first);
      strip.Run(inner, one);
    }
    for (int64_t y = first; y < inner; ++y) one.Clear(y * shape.w + grid_w, (y + 1) * shape.w);
    for (int64_t y = std::max(first, inner); y < last; ++y) one.Clear(y * shape.w, (y + 1) * shape.w);
    begin = stop;
  }
}

}  // namespace

template <typename T, typename S>
void SelectRows(const SelectPlan<ComputeOf<T>>& plan, SimdLevel level, const ImageShape& shape, const T* image,
                int64_t begin, int64_t end, S* selection) {
  Rows<T, S>(plan, level, shape, image, begin, end, {selection, nullptr, nullptr});
}

template <typename T>
void SelectSoftRows(const SelectPlan<ComputeOf<T>>& plan, SimdLevel level, const ImageShape& shape, const T* image,
                    int64_t begin, int64_t end, int32_t* lower, int32_t* upper, T* weight) {
  Rows<T, int32_t>(plan, level, shape, image, begin, end, {lower, upper, weight});
}

#define BLADE_INSTANTIATE(T)                                                                                          \
  template void SelectRows(const SelectPlan<ComputeOf<T>>&, SimdLevel, const ImageShape&, const T*, int64_t, int64_t, \
                           int32_t*);                                                                                 \
  template void SelectRows(const SelectPlan<ComputeOf<T>>&, SimdLevel, const ImageShape&, const T*, int64_t, int64_t, \
                           uint8_t*);                                                                                 \
  template void SelectSoftRows(const SelectPlan<ComputeOf<T>>&, SimdLevel, const ImageShape&, const T*, int64_t,      \
                               int64_t, int32_t*, int32_t*, T*);
BLADE_INSTANTIATE(Half)
BLADE_INSTANTIATE(BFloat16)
BLADE_INSTANTIATE(float)
BLADE_INSTANTIATE(double)
#undef BLADE_INSTANTIATE

}  // namespace blade
