#ifndef BLADE_HALF_H_
#define BLADE_HALF_H_

#include <cstdint>
#include <cstring>

#include "cc/blade/host_device.h"

namespace blade {

// Storage types, bit for bit IEEE 754 binary16 and the upper half of binary32: other types of that layout can be cast
// to them.
struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

BLADE_HOST_DEVICE inline uint32_t FloatBits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

BLADE_HOST_DEVICE inline float FloatFromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// All four conversions are exact or round to nearest, ties to even. Those of Half have no subnormal float as an operand
// or a result that matters, so that they are right in flush-to-zero mode too. They have no branches, so that loops
// vectorise.

BLADE_HOST_DEVICE inline float ToFloat(Half half) {
  const uint32_t magnitude = half.bits & 0x7fffu;
  const uint32_t normal = (magnitude << 13) + (112u << 23);
  const uint32_t infinite = normal + (112u << 23);
  const uint32_t subnormal = FloatBits(static_cast<float>(static_cast<int32_t>(magnitude)) * 0x1p-24f);
  const uint32_t bits = magnitude >= 0x7c00u ? infinite : magnitude < 0x0400u ? subnormal : normal;
  return FloatFromBits(bits | (half.bits & 0x8000u) << 16);
}

BLADE_HOST_DEVICE inline float ToFloat(BFloat16 value) {
  return FloatFromBits(static_cast<uint32_t>(value.bits) << 16);
}

BLADE_HOST_DEVICE inline Half ToHalf(float value) {
  const uint32_t bits = FloatBits(value);
  const uint32_t magnitude = bits & 0x7fffffffu;
  // Adding 1/2 makes the unit in the last place 2^-24, the spacing of subnormal halves.
  const uint32_t subnormal = FloatBits(FloatFromBits(magnitude) + 0.5f) - FloatBits(0.5f);
  const uint32_t normal = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  const uint32_t infinite = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
  const uint32_t half = magnitude < 0x38800000u ? subnormal : magnitude < 0x47800000u ? normal : infinite;
  return Half{static_cast<uint16_t>(half | (bits >> 16 & 0x8000u))};
}

BLADE_HOST_DEVICE inline BFloat16 ToBFloat16(float value) {
  const uint32_t bits = FloatBits(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const uint32_t nan = bits >> 16 | 0x40u;
  return BFloat16{static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded)};
}

// Storage<T>::Compute is the type in which T is computed and accumulated; Load is exact, Store rounds once.
template <typename T>
struct Storage {
  using Compute = T;
  BLADE_HOST_DEVICE static T Load(T value) { return value; }
  BLADE_HOST_DEVICE static T Store(T value) { return value; }
};

template <>
struct Storage<Half> {
  using Compute = float;
  BLADE_HOST_DEVICE static float Load(Half value) { return ToFloat(value); }
  BLADE_HOST_DEVICE static Half Store(float value) { return ToHalf(value); }
};

template <>
struct Storage<BFloat16> {
  using Compute = float;
  BLADE_HOST_DEVICE static float Load(BFloat16 value) { return ToFloat(value); }
  BLADE_HOST_DEVICE static BFloat16 Store(float value) { return ToBFloat16(value); }
};

template <typename T>
using ComputeOf = typename Storage<T>::Compute;

}  // namespace blade

#endif  // BLADE_HALF_H_
