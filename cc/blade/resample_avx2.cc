#include "cc/blade/simd.h"

#ifdef BLADE_X86

#define BLADE_AVX2
#include "cc/blade/resample_vector.h"

#endif  // BLADE_X86
