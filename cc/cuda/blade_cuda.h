#ifndef BLADE_CUDA_H_
#define BLADE_CUDA_H_

#include <stdint.h>

/* BLADE on CUDA devices, in plain C: the functions of filter.h and select.h for arrays in device memory. Their formulas
 * stand there, and hold here with these notes.
 *
 * Every function enqueues its work on `stream`, a cudaStream_t of the current device, and returns without waiting. It
 * returns null, or a text that says what was wrong, which lives as long as the program. Every size may be 0 or 1, but r
 * and s are at least 1, and sizes of an image or a footprint are at most 2^30. Arrays do not overlap.
 *
 * All results are computed in one fixed order: they depend on the arguments alone, not on the device's schedule, nor on
 * its number of processors. The selection is that of the processor, bit for bit. Sums of products are fused, and differ
 * from the processor's by their rounding. Subnormal numbers count as zero.
 *
 * A value of the selection outside [0, k) reads nothing out of bounds. The smallest position of one is written to
 * `first_wrong`, an int64_t in device memory, or -1 if there is none; where there is one, the other results are
 * unspecified. A null `first_wrong` is not written. */

#ifdef __cplusplus
extern "C" {
#endif

/* float16 and bfloat16 are computed and accumulated in float and rounded once. */
enum { BLADE_CUDA_FLOAT32, BLADE_CUDA_FLOAT16, BLADE_CUDA_BFLOAT16 };
enum { BLADE_CUDA_INT32, BLADE_CUDA_UINT8 };

typedef struct {
  int64_t n, h, w, c; /* image [n, h, w, c], selection [n, h, w] */
  int64_t k, r, s;    /* filters [k, r, s] */
  int32_t values;     /* the type of image and filters: BLADE_CUDA_FLOAT32, ... */
  int32_t indices;    /* that of the selection: BLADE_CUDA_INT32 or BLADE_CUDA_UINT8 */
} BladeCudaShape;

/* The constants of a selection centred on pixels, without a soft feature: those of SelectPlan. */
enum { BLADE_CUDA_PLAN_VALUES = 960 };
typedef struct {
  int32_t orientations, strengths, coherences, folds, low_edges;
  int32_t radius, edges, strength_thresholds, coherence_thresholds, intensity_thresholds;
  /* weights [radius + 1], cos [edges], sin [edges], strength, coherence and intensity thresholds */
  float values[BLADE_CUDA_PLAN_VALUES];
} BladeCudaPlan;

/* Fails for parameters that ValidateSelect refuses, and for more than BLADE_CUDA_PLAN_VALUES constants: a rho above
 * some 300, or more than some 450 orientations that are no multiple of 4. */
const char* blade_cuda_plan(int64_t orientations, const float* strength_thresholds, int64_t strengths,
                            const float* coherence_thresholds, int64_t coherences, const float* intensity_thresholds,
                            int64_t intensities, float rho, BladeCudaPlan* plan);

/* The number of values that a selection by `plan` takes. */
int64_t blade_cuda_plan_bins(const BladeCudaPlan* plan);

/* output = filter of image, eq 2.1 */
const char* blade_cuda_filter(const BladeCudaShape* shape, const void* image, const void* filters,
                              const void* selection, void* output, int64_t* first_wrong, void* stream);

/* image_grad = the adjoint of the filter at grad, eq 2.9 */
const char* blade_cuda_grad_image(const BladeCudaShape* shape, const void* filters, const void* selection,
                                  const void* grad, void* image_grad, int64_t* first_wrong, void* stream);

/* filters_grad [k, r, s], eq 2.9, with a scratch of that many bytes */
int64_t blade_cuda_grad_filters_scratch(const BladeCudaShape* shape);
const char* blade_cuda_grad_filters(const BladeCudaShape* shape, const void* image, const void* selection,
                                    const void* grad, void* scratch, void* filters_grad, int64_t* first_wrong,
                                    void* stream);

/* selection by `plan`, with a scratch of that many bytes, 0 for a rho of at most 3. Sizes k, r and s are not read. At
 * most 256 bins for a selection of bytes. */
int64_t blade_cuda_select_scratch(const BladeCudaShape* shape, const BladeCudaPlan* plan);
const char* blade_cuda_select(const BladeCudaShape* shape, const BladeCudaPlan* plan, const void* image, void* scratch,
                              void* selection, void* stream);

/* selection = blade_cuda_select(image), output = image + dt blade_cuda_filter(image, filters, selection): the product,
 * then the sum, each rounded to the type of the image, so that all are equal to three operations bit for bit. `dt` is
 * one number of that type in device memory, the scratch that of blade_cuda_select. One kernel, where rho is at most 3
 * and the filters fit into shared memory. */
const char* blade_cuda_step(const BladeCudaShape* shape, const BladeCudaPlan* plan, const void* image,
                            const void* filters, const void* dt, void* scratch, void* output, void* selection,
                            int64_t* first_wrong, void* stream);

#ifdef __cplusplus
}
#endif

#endif /* BLADE_CUDA_H_ */
