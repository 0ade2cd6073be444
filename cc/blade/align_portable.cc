#include "cc/blade/align_vector.h"
