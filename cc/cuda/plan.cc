#include <algorithm>
#include <string>
#include <vector>

#include "cc/blade/select.h"
#include "cc/cuda/blade_cuda.h"

const char* blade_cuda_plan(int64_t orientations, const float* strength_thresholds, int64_t strengths,
                            const float* coherence_thresholds, int64_t coherences, const float* intensity_thresholds,
                            int64_t intensities, float rho, BladeCudaPlan* plan) {
  blade::SelectParameters parameters = {orientations,
                                        {strength_thresholds, strength_thresholds + strengths},
                                        {coherence_thresholds, coherence_thresholds + coherences},
                                        rho};
  parameters.intensity_thresholds.assign(intensity_thresholds, intensity_thresholds + intensities);
  if (!blade::ValidateSelect(parameters).empty()) return "the parameters of the selection are not valid";
  // Before the constants are made: their number may exceed the memory.
  const double count = 3.0 * static_cast<double>(rho) +
                       2.0 * static_cast<double>(orientations >> (orientations % 4 == 0 ? 2 : 0)) +
                       static_cast<double>(strengths + coherences + intensities);
  static const char kTooMany[] = "rho and orientations: expected at most 960 constants of a selection on CUDA devices";
  if (count > BLADE_CUDA_PLAN_VALUES) return kTooMany;
  const blade::SelectPlan<float> made(parameters);
  *plan = {static_cast<int32_t>(made.orientations),
           static_cast<int32_t>(made.strengths),
           static_cast<int32_t>(made.coherences),
           made.folds,
           static_cast<int32_t>(made.low_edges),
           static_cast<int32_t>(made.radius()),
           static_cast<int32_t>(made.edge_cos.size()),
           static_cast<int32_t>(made.strength.size()),
           static_cast<int32_t>(made.coherence.size()),
           static_cast<int32_t>(made.intensity.size()),
           {}};
  std::vector<float> values;
  for (const auto* part :
       {&made.weights, &made.edge_cos, &made.edge_sin, &made.strength, &made.coherence, &made.intensity}) {
    values.insert(values.end(), part->begin(), part->end());
  }
  if (values.size() > BLADE_CUDA_PLAN_VALUES) return kTooMany;
  std::copy(values.begin(), values.end(), plan->values);
  return nullptr;
}

int64_t blade_cuda_plan_bins(const BladeCudaPlan* plan) {
  return int64_t{plan->orientations} * plan->strengths * plan->coherences * (plan->intensity_thresholds + 1);
}
