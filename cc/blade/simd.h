#ifndef BLADE_SIMD_H_
#define BLADE_SIMD_H_

#include <cstdint>
#include <string>

#if defined(__x86_64__) && defined(__GNUC__)
#define BLADE_X86 1
#endif

namespace blade {

// Implementations of the inner loops, each of which contains those before it.
enum class SimdLevel { kPortable, kAvx2, kAvx512 };

bool ProcessorHas(SimdLevel level);

// The inner loops of a level, a struct of functions: the source files of each level define theirs.
template <typename Kernels, SimdLevel kLevel>
const Kernels& KernelsOf();

// For the header of a struct of inner loops: that the levels define theirs.
#ifdef BLADE_X86
#define BLADE_DECLARE_KERNELS(Kernels)                       \
  template <>                                                \
  const Kernels& KernelsOf<Kernels, SimdLevel::kPortable>(); \
  template <>                                                \
  const Kernels& KernelsOf<Kernels, SimdLevel::kAvx2>();     \
  template <>                                                \
  const Kernels& KernelsOf<Kernels, SimdLevel::kAvx512>();
#else
#define BLADE_DECLARE_KERNELS(Kernels) \
  template <>                          \
  const Kernels& KernelsOf<Kernels, SimdLevel::kPortable>();
#endif

// Those of a level that is known when the program runs.
template <typename Kernels>
const Kernels& KernelsAt([[maybe_unused]] SimdLevel level) {
#ifdef BLADE_X86
  if (level == SimdLevel::kAvx512) return KernelsOf<Kernels, SimdLevel::kAvx512>();
  if (level == SimdLevel::kAvx2) return KernelsOf<Kernels, SimdLevel::kAvx2>();
#endif
  return KernelsOf<Kernels, SimdLevel::kPortable>();
}

// `name` is portable, avx2 or avx512, or null for the best that the processor has. Returns an error, empty for none.
std::string ParseSimdLevel(const char* name, SimdLevel* level);

// ParseSimdLevel of the environment variable BLADE_TF_SIMD as it was at the first call.
std::string ChosenSimdLevel(SimdLevel* level);

#if defined(BLADE_X86) || defined(__aarch64__)
constexpr bool kCanFlushSubnormals = true;
#else
constexpr bool kCanFlushSubnormals = false;
#endif

// Makes subnormal numbers count as zero on this thread, as operands and as results, until it is destroyed. All row
// functions of this library do so: subnormals cost some 70 times as much, and the mode of the calling thread must not
// decide the result. Does nothing where kCanFlushSubnormals is false.
class ScopedFlushSubnormals {
 public:
  ScopedFlushSubnormals();
  ~ScopedFlushSubnormals();
  ScopedFlushSubnormals(const ScopedFlushSubnormals&) = delete;
  ScopedFlushSubnormals& operator=(const ScopedFlushSubnormals&) = delete;

 private:
  uint64_t before_ = 0;
};

}  // namespace blade

#endif  // BLADE_SIMD_H_
