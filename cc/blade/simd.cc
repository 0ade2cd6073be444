#include "cc/blade/simd.h"

#include <cstdlib>
#include <cstring>

#ifdef BLADE_X86
#include <xmmintrin.h>
#endif

namespace blade {
namespace {

struct Choice {
  SimdLevel level = SimdLevel::kPortable;
  std::string error;
};

}  // namespace

bool ProcessorHas(SimdLevel level) {
#ifdef BLADE_X86
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  switch (level) {
    case SimdLevel::kPortable:
      return true;
    case SimdLevel::kAvx2:
      return avx2;
    case SimdLevel::kAvx512:
      return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  }
  return false;
#else
  return level == SimdLevel::kPortable;
#endif
}

std::string ParseSimdLevel(const char* name, SimdLevel* level) {
  static const struct {
    const char* name;
    SimdLevel level;
  } kLevels[] = {
      {"avx512", SimdLevel::kAvx512},
      {"avx2", SimdLevel::kAvx2},
      {"portable", SimdLevel::kPortable},
  };
  std::string available;
  for (const auto& known : kLevels) {
    if (!ProcessorHas(known.level)) continue;
    if (name == nullptr || std::strcmp(name, known.name) == 0) {
      *level = known.level;
      return "";
    }
    available += available.empty() ? known.name : std::string(", ") + known.name;
  }
  return "BLADE_TF_SIMD: expected one of " + available + " on this processor, got " + name;
}

std::string ChosenSimdLevel(SimdLevel* level) {
  static const Choice choice = [] {
    Choice c;
    c.error = ParseSimdLevel(std::getenv("BLADE_TF_SIMD"), &c.level);
    return c;
  }();
  *level = choice.level;
  return choice.error;
}

#if defined(BLADE_X86)
ScopedFlushSubnormals::ScopedFlushSubnormals() : before_(_mm_getcsr()) {
  constexpr unsigned kFlushToZero = 0x8000, kSubnormalsAreZero = 0x0040;
  _mm_setcsr(static_cast<unsigned>(before_) | kFlushToZero | kSubnormalsAreZero);
}
ScopedFlushSubnormals::~ScopedFlushSubnormals() { _mm_setcsr(static_cast<unsigned>(before_)); }
#elif defined(__aarch64__)
ScopedFlushSubnormals::ScopedFlushSubnormals() {
  asm volatile("mrs %0, fpcr" : "=r"(before_));
  asm volatile("msr fpcr, %0" : : "r"(before_ | uint64_t{1} << 24));
}
ScopedFlushSubnormals::~ScopedFlushSubnormals() { asm volatile("msr fpcr, %0" : : "r"(before_)); }
#else
ScopedFlushSubnormals::ScopedFlushSubnormals() {}
ScopedFlushSubnormals::~ScopedFlushSubnormals() {}
#endif

}  // namespace blade
