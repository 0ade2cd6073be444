#include "cc/blade/simd.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace blade {
namespace {

TEST(SimdTest, ThePortableLevelIsEverywhere) {
  SimdLevel level = SimdLevel::kAvx512;
  EXPECT_EQ(ParseSimdLevel("portable", &level), "");
  EXPECT_EQ(level, SimdLevel::kPortable);
}

TEST(SimdTest, TheDefaultIsTheBestThatTheProcessorHas) {
  SimdLevel level = SimdLevel::kPortable;
  EXPECT_EQ(ParseSimdLevel(nullptr, &level), "");
  EXPECT_TRUE(ProcessorHas(level));
  EXPECT_EQ(ProcessorHas(SimdLevel::kAvx512), level == SimdLevel::kAvx512);
}

TEST(SimdTest, ALevelContainsThoseBeforeIt) {
  EXPECT_TRUE(ProcessorHas(SimdLevel::kPortable));
  EXPECT_TRUE(ProcessorHas(SimdLevel::kAvx2) || !ProcessorHas(SimdLevel::kAvx512));
}

TEST(SimdTest, AWordIsALevelOfTheProcessorOrAnError) {
  const struct {
    const char* name;
    SimdLevel level;
  } levels[] = {{"avx2", SimdLevel::kAvx2}, {"avx512", SimdLevel::kAvx512}};
  for (const auto& expected : levels) {
    SimdLevel level = SimdLevel::kPortable;
    const std::string error = ParseSimdLevel(expected.name, &level);
    EXPECT_EQ(error.empty(), ProcessorHas(expected.level));
    if (error.empty()) {
      EXPECT_EQ(level, expected.level);
    }
  }
  for (const char* name : {"", "AVX2", "sse", "avx51", "portable "}) {
    SimdLevel level;
    const std::string error = ParseSimdLevel(name, &level);
    EXPECT_EQ(error.find("BLADE_TF_SIMD: expected one of "), 0u);
    EXPECT_NE(error.find(std::string("portable on this processor, got ") + name), std::string::npos) << error;
  }
}

TEST(SimdTest, SubnormalsCountAsZeroWithinTheScopeAlone) {
  if (!kCanFlushSubnormals) GTEST_SKIP() << "this processor cannot";
  volatile float subnormal = std::numeric_limits<float>::denorm_min(), least = std::numeric_limits<float>::min();
  EXPECT_GT(subnormal * 1.0f, 0.0f);
  {
    const ScopedFlushSubnormals flush;
    EXPECT_EQ(subnormal * 0x1p100f, 0.0f);
    EXPECT_EQ(least * 0.5f, 0.0f);
    { const ScopedFlushSubnormals nested; }
    EXPECT_EQ(least * 0.5f, 0.0f);
  }
  EXPECT_GT(subnormal * 0x1p100f, 0.0f);
  EXPECT_GT(least * 0.5f, 0.0f);
}

}  // namespace
}  // namespace blade
