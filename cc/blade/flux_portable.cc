#include "cc/blade/flux_vector.h"

namespace blade {

BLADE_DEFINE_KERNELS(FluxKernels<float>, kFluxKernels<float>)
BLADE_DEFINE_KERNELS(FluxKernels<double>, kFluxKernels<double>)

}  // namespace blade
