#include "cc/blade/flux_vector.h"

namespace blade {

template <>
const FluxKernels<float>& KernelsOf<FluxKernels<float>, kLevel>() {
  return kFluxKernels<float>;
}
template <>
const FluxKernels<double>& KernelsOf<FluxKernels<double>, kLevel>() {
  return kFluxKernels<double>;
}

}  // namespace blade
