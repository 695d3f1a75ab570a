// Conversions to 8-bit floats, which compute capability 8.9 brought.
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
#endif
