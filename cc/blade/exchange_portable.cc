#include "cc/blade/exchange_vector.h"
