#include <vector>

#include "cc/blade/filter.h"
#include "cc/blade/select.h"
#include "cc/cuda/blade_cuda.h"

// The processor's results for blade_cuda.h's arguments, with a selection of int32, for tests/gpu/check_cuda.py.

namespace blade {
namespace {

ImageShape ImageOf(const BladeCudaShape& s) { return {s.n, s.h, s.w, s.c}; }
FilterShape FiltersOf(const BladeCudaShape& s) { return {s.k, s.r, s.s}; }

template <typename Work>
void ForType(const BladeCudaShape& shape, const Work& work) {
  if (shape.n * shape.h == 0) return;
  if (shape.values == BLADE_CUDA_FLOAT16) return work(Half());
  if (shape.values == BLADE_CUDA_BFLOAT16) return work(BFloat16());
  work(float());
}

constexpr SimdLevel kLevel = SimdLevel::kPortable;

}  // namespace
}  // namespace blade

extern "C" {

void blade_processor_filter(const BladeCudaShape* shape, const void* image, const void* filters,
                            const int32_t* selection, void* output) {
  blade::ForType(*shape, [&](auto type) {
    using T = decltype(type);
    const blade::FilterBank<T> bank(blade::FiltersOf(*shape), static_cast<const T*>(filters), blade::kLevel);
    blade::FilterRows(bank, blade::ImageOf(*shape), static_cast<const T*>(image), selection, 0, shape->n * shape->h,
                      static_cast<T*>(output));
  });
}

void blade_processor_grad_image(const BladeCudaShape* shape, const void* filters, const int32_t* selection,
                                const void* grad, void* image_grad) {
  blade::ForType(*shape, [&](auto type) {
    using T = decltype(type);
    const blade::FilterBank<T> bank(blade::FiltersOf(*shape), static_cast<const T*>(filters), blade::kLevel);
    blade::FilterGradImageRows(bank, blade::ImageOf(*shape), selection, static_cast<const T*>(grad), 0,
                               shape->n * shape->h, static_cast<T*>(image_grad));
  });
}

void blade_processor_grad_filters(const BladeCudaShape* shape, const void* image, const int32_t* selection,
                                  const void* grad, void* filters_grad) {
  blade::ForType(*shape, [&](auto type) {
    using T = decltype(type);
    const blade::FilterShape filters = blade::FiltersOf(*shape);
    const blade::GradFiltersBlocks blocks(blade::ImageOf(*shape), filters);
    std::vector<double> sums(static_cast<size_t>(blocks.count() * blocks.size()));
    for (int64_t block = 0; block < blocks.count(); ++block) {
      blade::FilterGradFiltersRows(filters, blade::kLevel, blade::ImageOf(*shape), static_cast<const T*>(image),
                                   selection, static_cast<const T*>(grad), blocks.begin(block), blocks.end(block),
                                   sums.data() + block * blocks.size());
    }
    blade::FilterGradFiltersReduce(filters, sums.data(), blocks.count(), 0, filters.k, static_cast<T*>(filters_grad));
  });
}

void blade_processor_select(const BladeCudaShape* shape, int64_t orientations, const float* strength_thresholds,
                            int64_t strengths, const float* coherence_thresholds, int64_t coherences,
                            const float* intensity_thresholds, int64_t intensities, float rho, const void* image,
                            int32_t* selection) {
  blade::SelectParameters parameters = {orientations,
                                        {strength_thresholds, strength_thresholds + strengths},
                                        {coherence_thresholds, coherence_thresholds + coherences},
                                        rho};
  parameters.intensity_thresholds.assign(intensity_thresholds, intensity_thresholds + intensities);
  const blade::SelectPlan<float> plan(parameters);
  blade::ForType(*shape, [&](auto type) {
    using T = decltype(type);
    blade::SelectRows(plan, blade::kLevel, blade::ImageOf(*shape), static_cast<const T*>(image), 0, shape->n * shape->h,
                      selection);
  });
}

}  // extern "C"
