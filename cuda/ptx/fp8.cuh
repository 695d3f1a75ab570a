// Conversions from and to 8-bit floats, which compute capability 8.9 brought.
#pragma once

#include <cstdint>

#if __CUDA_ARCH__ >= 890
// The e4m3 codes of two numbers, that of `lower` in the low byte: to nearest even, saturating, NaN
// to 0x7F.
__device__ __forceinline__ uint16_t cvt_e4m3x2(float upper, float lower) {
  uint16_t codes;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(codes) : "f"(upper), "f"(lower));
  return codes;
}

// Four e4m3 codes as two pairs of f16, which holds all of them exactly: that of the low bytes
// first. Halves of a register that PTX itself takes apart cost nothing; shifted in C++ they cost a
// shift.
__device__ __forceinline__ uint2 cvt_f16x2_e4m3x4(uint32_t codes) {
  uint2 pairs;
  asm("{\n\t"
      ".reg .b16 low, high;\n\t"
      "mov.b32 {low, high}, %2;\n\t"
      "cvt.rn.f16x2.e4m3x2 %0, low;\n\t"
      "cvt.rn.f16x2.e4m3x2 %1, high;\n\t"
      "}"
      : "=r"(pairs.x), "=r"(pairs.y)
      : "r"(codes));
  return pairs;
}
#endif
