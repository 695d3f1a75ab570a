// e4m3, the 8-bit float of quantised activations, weights and caches: bias 7, largest 448, smallest
// normal 2^-6, smallest subnormal 2^-9, NaN 0x7F and 0xFF, no infinity. src/quant/fp8.rs is the
// same for the CPU, and gives the same bits.
#pragma once

#include "../ptx/fp8.cuh"
#include "vectors.cuh"

constexpr float kE4m3Max = 448.0f;

// The codes of two numbers, that of the first in the low byte: to nearest even, saturating, NaN to
// 0x7F.
__device__ __forceinline__ uint32_t encode_e4m3x2(float2 values) {
#if __CUDA_ARCH__ >= 890
  return cvt_e4m3x2(values.y, values.x);
#else
  const auto encode = [](float value) {
    constexpr uint32_t kMax = 0x43e00000;        // 448
    constexpr uint32_t kMinNormal = 0x3c800000;  // 2^-6
    constexpr uint32_t kInfinity = 0x7f800000;
    constexpr uint32_t kNan = 0x7f;
    // Adding this leaves a multiple of 2^-9, the spacing of the subnormals, rounded to nearest
    // even, in the low bits.
    constexpr uint32_t kAlign = 0x46800000;  // 16384
    const uint32_t bits = __float_as_uint(value);
    const uint32_t magnitude = bits & 0x7fffffff;
    const uint32_t finite = min(magnitude, kMax);
    const uint32_t subnormal =
        __float_as_uint(__uint_as_float(finite) + __uint_as_float(kAlign)) - kAlign;
    // Half a unit of the last kept bit, less one where that bit is even: a carry runs into the
    // exponent as it should.
    const uint32_t normal = ((finite + 0x7ffff + (finite >> 20 & 1)) >> 20) - (120 << 3);
    const uint32_t code = (finite < kMinNormal ? subnormal : normal) | (bits >> 24 & 0x80);
    return magnitude > kInfinity ? kNan : code;
  };
  return encode(values.x) | encode(values.y) << 8;
#endif
}

// What a number that decode_e4m3x4 gives has to be multiplied by. Before 8.9 the bits of a code,
// put where those of f16 are, make a number that is too small by the difference of the exponents'
// biases, 8; it is exact, subnormal codes being subnormal f16. The product of two such numbers is
// exact too, and so is a power of two behind the sum: nobody multiplies before.
#if __CUDA_ARCH__ >= 890
constexpr float kE4m3Unit = 1.0f;
#else
constexpr float kE4m3Unit = 256.0f;
#endif

// Four e4m3 codes as two pairs of f16, in units of kE4m3Unit: that of the low bytes first. What is
// NaN becomes NaN; where no code can be one (weights are refused that have some), `kNan` = false
// spares four of eleven instructions before 8.9.
template <bool kNan = true>
__device__ __forceinline__ uint2 decode_e4m3x4(uint32_t codes) {
#if __CUDA_ARCH__ >= 890
  return cvt_f16x2_e4m3x4(codes);
#else
  // The two bytes of each f16: the sign, a zero and the upper six bits; the last bit.
  uint32_t upper = (codes & 0x80808080) | (codes >> 1 & 0x3f3f3f3f);
  const uint32_t lower = codes << 7 & 0x80808080;
  if constexpr (kNan) {
    // A carry into the sign where all seven bits below are set: then the largest exponent.
    upper |= (codes & 0x7f7f7f7f) + 0x01010101 >> 1 & 0x40404040;
  }
  return {__byte_perm(lower, upper, 0x5140), __byte_perm(lower, upper, 0x7362)};
#endif
}

// The largest magnitude of a vector; NaN counts as none, but where there is nothing else.
template <typename Pair>
__device__ __forceinline__ float absmax(const Vector<Pair>& x) {
  Pair largest = __habs2(x.pairs[0]);
#pragma unroll
  for (int j = 1; j < kVectorPairs; ++j) {
    largest = __hmax2(largest, __habs2(x.pairs[j]));
  }
  const float2 both = to_f32(largest);
  return fmaxf(both.x, both.y);
}

// The scale of numbers whose largest magnitude is `absmax`: 1 where that is zero, or so small that
// the quotient is, or NaN.
__device__ __forceinline__ float e4m3_scale(float absmax) {
  const float scale = __fdiv_rn(absmax, kE4m3Max);
  return scale > 0.0f ? scale : 1.0f;
}

// The codes of x / scale. A product with 1 / scale would round twice.
template <typename Pair>
__device__ __forceinline__ uint2 quantize(const Vector<Pair>& x, float scale) {
  uint32_t codes[kVectorPairs];
#pragma unroll
  for (int j = 0; j < kVectorPairs; ++j) {
    const float2 value = to_f32(x.pairs[j]);
    codes[j] = encode_e4m3x2({__fdiv_rn(value.x, scale), __fdiv_rn(value.y, scale)});
  }
  return {codes[0] | codes[1] << 16, codes[2] | codes[3] << 16};
}
