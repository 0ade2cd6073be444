#include "cc/blade/convolve_vector.h"
