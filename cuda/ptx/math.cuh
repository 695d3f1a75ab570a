// Functions of the multi-function unit (MUFU), flushing subnormal numbers to zero: without .ftz the
// compiler scales arguments and results around each of them.
#pragma once

// 2^x within 2 ulp; 0 for -inf, +inf for +inf, NaN for NaN.
__device__ __forceinline__ float ex2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// log2(x) within 2^-22 for x in [0.5, 2], relatively else; -inf for 0.
__device__ __forceinline__ float lg2(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// 1 / x within 1 ulp; +inf for 0.
__device__ __forceinline__ float rcp(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
