// The exact arithmetic of sampling: logits become 64-bit fixed-point weights by operations that
// IEEE 754 defines to the bit, so that all sums and limits are integers and the same on every
// device. Nothing here may be fused or approximated: the CPU's reference does the same steps.
#pragma once

#include <cstdint>

// The weight of the most likely token. 2^40 leaves 2^23 tokens before a sum overflows.
constexpr uint64_t kWeightOne = 1ull << 40;

// exp(y) for y <= 0 as a multiple of 1 / kWeightOne; 0 below 2^-41 and for NaN.
__device__ __forceinline__ uint64_t exp_weight(float y) {
  const float exponent = __fmul_rn(y, 1.44269504088896340736f);  // log2(e)
  if (!(exponent >= -41.0f && exponent < __int_as_float(0x7f800000))) return 0;
  // Down to a whole number: an addition that rounds down does it where the sum has no bits behind
  // the point. (Above 0, where no temperature is that should be, whole numbers may be too large.)
  constexpr float kWhole = 12582912.0f;  // 1.5 * 2^23
  float integer;
  int halvings = 0;
  const float rounded = __fadd_rn(exponent, 0.5f);
  if (rounded < 1.0f) {
    const float shifted = __fadd_rd(rounded, kWhole);
    integer = __fsub_rn(shifted, kWhole);
    halvings = __float_as_int(kWhole) - __float_as_int(shifted);
  } else {
    integer = floorf(rounded);
  }
  const float fraction = __fsub_rn(exponent, integer);
  // ln(2)^k / k!: the Taylor series of 2^f.
  float power = 0.0001540353f;
  power = __fadd_rn(__fmul_rn(power, fraction), 0.0013333558f);
  power = __fadd_rn(__fmul_rn(power, fraction), 0.009618129f);
  power = __fadd_rn(__fmul_rn(power, fraction), 0.05550411f);
  power = __fadd_rn(__fmul_rn(power, fraction), 0.2402265f);
  power = __fadd_rn(__fmul_rn(power, fraction), 0.693147180559945309417f);
  power = __fadd_rn(__fmul_rn(power, fraction), 1.0f);
  // floor(power * kWeightOne) >> halvings without a conversion to 64 bits: power lies in
  // [0.7, 1.5), so that its exponent is 126 or 127.
  const uint32_t bits = __float_as_uint(power);
  const uint64_t mantissa = (bits & 0x7FFFFFu) | 0x800000u;
  const int shift = static_cast<int>(bits >> 23) - 127 + 40 - 23 - halvings;
  return shift >= 0 ? mantissa << shift : mantissa >> -shift;
}

// The part `fraction` of `total`, rounded down.
__device__ __forceinline__ uint64_t part_of(uint64_t total, float fraction) {
  if (!(fraction > 0.0f)) return 0;
  const uint64_t parts = __float2ull_rz(__fmul_rn(fraction, 4294967296.0f));
  return __umul64hi(total, parts) << 32 | (total * parts) >> 32;
}

// Integers in the order of floats: -inf first, -0 before +0, +inf last.
__device__ __forceinline__ uint32_t order_key(float x) {
  const uint32_t bits = __float_as_uint(x);
  return bits ^ (static_cast<uint32_t>(static_cast<int32_t>(bits) >> 31) | 0x80000000u);
}

constexpr uint32_t kNegativeZeroKey = 0x7FFFFFFFu;
constexpr uint32_t kPositiveZeroKey = 0x80000000u;

// The float of a key.
__device__ __forceinline__ float key_value(uint32_t key) {
  return __uint_as_float(key >= kPositiveZeroKey ? key ^ 0x80000000u : ~key);
}
