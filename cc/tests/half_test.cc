#include "cc/blade/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "cc/blade/simd.h"

namespace blade {
namespace {

// The value of a binary number with the given widths, from its definition.
double Decode(uint32_t bits, int exponent_bits, int fraction_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = static_cast<int>(bits >> fraction_bits & ((1u << exponent_bits) - 1));
  const double fraction = std::ldexp(static_cast<double>(bits & ((1u << fraction_bits) - 1)), -fraction_bits);
  const double sign = bits >> (exponent_bits + fraction_bits) ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1) return fraction == 0 ? sign * INFINITY : NAN;
  return sign * (exponent == 0 ? std::ldexp(fraction, 1 - bias) : std::ldexp(1 + fraction, exponent - bias));
}

struct HalfFormat {
  using Type = Half;
  static constexpr int kExponent = 5, kFraction = 10;
  static Half Store(float value) { return ToHalf(value); }
};

struct BFloat16Format {
  using Type = BFloat16;
  static constexpr int kExponent = 8, kFraction = 7;
  static BFloat16 Store(float value) { return ToBFloat16(value); }
};

template <typename Format>
class StorageTest : public testing::Test {
 protected:
  static constexpr uint32_t kSign = 0x8000;
  static constexpr uint32_t kInfinity = ((1u << Format::kExponent) - 1) << Format::kFraction;

  static double Value(uint32_t bits) { return Decode(bits, Format::kExponent, Format::kFraction); }
  static float Load(uint32_t bits) { return ToFloat(typename Format::Type{static_cast<uint16_t>(bits)}); }
  static uint32_t Store(float value) { return Format::Store(value).bits; }

  static void LoadsAll() {
    for (uint32_t bits = 0; bits < 0x10000; ++bits) {
      const double value = Value(bits);
      const float loaded = Load(bits);
      ASSERT_EQ(std::isnan(loaded), std::isnan(value)) << bits;
      if (!std::isnan(value)) {
        ASSERT_EQ(static_cast<double>(loaded), value) << bits;
      }
      ASSERT_EQ(std::signbit(loaded), bits >= kSign) << bits;
    }
  }

  // Each representable number, the tie above it, and the floats next to the tie and half-way to it.
  static void StoresAll() {
    for (uint32_t bits = 0; bits < kInfinity; ++bits) {
      const double low = Value(bits);
      // One beyond the greatest finite number is where infinity would be.
      const double high = bits + 1 < kInfinity ? Value(bits + 1) : std::ldexp(1.0, (1 << (Format::kExponent - 1)));
      const double middle = (low + high) / 2;
      const float tie = static_cast<float>(middle);
      ASSERT_EQ(static_cast<double>(tie), middle);
      const uint32_t even = bits % 2 == 0 ? bits : bits + 1;
      for (uint32_t sign : {0u, kSign}) {
        const float s = sign != 0 ? -1.0f : 1.0f;
        ASSERT_EQ(Store(s * static_cast<float>(low)), sign | bits);
        ASSERT_EQ(Store(s * tie), sign | even) << bits;
        ASSERT_EQ(Store(s * std::nextafter(tie, 0.0f)), sign | bits) << bits;
        ASSERT_EQ(Store(s * std::nextafter(tie, INFINITY)), sign | (bits + 1)) << bits;
        ASSERT_EQ(Store(s * static_cast<float>((low + middle) / 2)), sign | bits) << bits;
        ASSERT_EQ(Store(s * static_cast<float>((high + middle) / 2)), sign | (bits + 1)) << bits;
      }
    }
  }

  static void StoresSpecialValues() {
    EXPECT_EQ(Store(INFINITY), kInfinity);
    EXPECT_EQ(Store(-INFINITY), kSign | kInfinity);
    EXPECT_EQ(Store(std::numeric_limits<float>::max()), kInfinity);
    // A NaN whose payload lies in the bits that are lost.
    for (uint32_t bits : {0x7fc00000u, 0x7f800001u, 0x7fffffffu, 0xff800001u, 0xffc00000u}) {
      EXPECT_TRUE(std::isnan(Load(Store(FloatFromBits(bits))))) << bits;
      EXPECT_EQ(Store(FloatFromBits(bits)) & kSign, bits >> 16 & kSign) << bits;
    }
  }
};

using Formats = testing::Types<HalfFormat, BFloat16Format>;
TYPED_TEST_SUITE(StorageTest, Formats);

TYPED_TEST(StorageTest, LoadsEveryNumber) { this->LoadsAll(); }

TYPED_TEST(StorageTest, RoundsToNearestEven) { this->StoresAll(); }

TYPED_TEST(StorageTest, KeepsInfinityAndNan) { this->StoresSpecialValues(); }

TEST(HalfTest, DoesNotDependOnTheFlushMode) {
  std::vector<uint32_t> loaded, stored;
  const auto convert = [](std::vector<uint32_t>* loads, std::vector<uint32_t>* stores) {
    for (uint32_t bits = 0; bits < 0x10000; ++bits)
      loads->push_back(FloatBits(ToFloat(Half{static_cast<uint16_t>(bits)})));
    for (uint32_t bits = 0; bits < 0x48000000; bits += 0x1235) stores->push_back(ToHalf(FloatFromBits(bits)).bits);
  };
  convert(&loaded, &stored);
  std::vector<uint32_t> loaded_flushing, stored_flushing;
  {
    const ScopedFlushSubnormals flush;
    convert(&loaded_flushing, &stored_flushing);
  }
  EXPECT_EQ(loaded, loaded_flushing);
  EXPECT_EQ(stored, stored_flushing);
}

}  // namespace
}  // namespace blade
