// The compiler's vectors of kVectorBytes, for code that is compiled once a level. No include guard: *_vector.h include
// it.

#include <cstdint>
#include <cstring>

#include "cc/blade/level.h"

namespace blade {
namespace {

template <typename F>
struct Lanes {
  typedef F Type __attribute__((vector_size(kVectorBytes)));
};
template <typename F>
using LanesOf = typename Lanes<F>::Type;
template <typename F>
constexpr int64_t kLanes = kVectorBytes / static_cast<int64_t>(sizeof(F));

template <typename F>
BLADE_INLINE LanesOf<F> Load(const F* from) {
  LanesOf<F> to;
  std::memcpy(&to, from, sizeof(to));
  return to;
}

template <typename F>
BLADE_INLINE void Save(const LanesOf<F>& from, F* to) {
  std::memcpy(to, &from, sizeof(from));
}

}  // namespace
}  // namespace blade
