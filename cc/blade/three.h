#ifndef BLADE_THREE_H_
#define BLADE_THREE_H_

#include <cstdint>

namespace blade {

// Three channels, by far the most usual number, as fast as the processor can, whatever the level: values are copied.

// planes[c * plane + x] = row[3 * x + c], x in [0, n).
void SplitThree(const float* row, int64_t n, int64_t plane, float* planes);
// The inverse.
void JoinThree(const float* planes, int64_t plane, int64_t n, float* row);

}  // namespace blade

#endif  // BLADE_THREE_H_
