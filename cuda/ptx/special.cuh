// Special registers.
#pragma once

#include <cstdint>

// threadIdx.x, read where this stands: the compiler takes it for another value each time.
__device__ __forceinline__ uint32_t thread_idx_anew() {
  uint32_t idx;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(idx));
  return idx;
}
