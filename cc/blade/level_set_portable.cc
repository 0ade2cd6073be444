#include "cc/blade/level_set_vector.h"
