#include "cc/blade/simd.h"

#ifdef BLADE_X86

#define BLADE_AVX512
#include "cc/blade/level_set_vector.h"

#endif  // BLADE_X86
