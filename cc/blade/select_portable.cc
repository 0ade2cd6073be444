#include "cc/blade/select_vector.h"
