#include "cc/blade/resample_vector.h"
