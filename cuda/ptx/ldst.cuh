// Global loads and stores; those of a uint4 want an address that is a multiple of 16. Addresses
// come from params.h as integers, of which the compiler cannot know that they are global: written
// in C++ these would become generic accesses.
#pragma once

#include <cstdint>

// Reads what no other block reads: bypasses L1, whose room belongs to what blocks share. Without
// .nc, because the memory may be written by the same thread afterwards (a residual stream, an
// output in place of its input), or by the kernel before where two launches overlap.
__device__ __forceinline__ uint4 ld_global_once(const void* gmem) {
  uint4 v;
  asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(gmem));
  return v;
}

// Reads what all blocks read and none writes (weights): through the read-only path, and kept in L1.
__device__ __forceinline__ uint4 ld_global_shared_by_blocks(const void* gmem) {
  uint4 v;
  asm volatile("ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(gmem));
  return v;
}

// Writes with the default policy: the next kernel reads the result, so it should stay in L2.
__device__ __forceinline__ void st_global(void* gmem, uint4 v) {
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(gmem), "r"(v.x), "r"(v.y), "r"(v.z),
               "r"(v.w)
               : "memory");
}

// One i32 that all threads of a row read.
__device__ __forceinline__ int32_t ld_global_i32(const void* gmem) {
  int32_t v;
  asm volatile("ld.global.u32 %0, [%1];" : "=r"(v) : "l"(gmem));
  return v;
}

// *gmem |= bits, relaxed: the host reads the word after the launch.
__device__ __forceinline__ void red_global_or(void* gmem, uint32_t bits) {
  asm volatile("red.relaxed.gpu.global.or.b32 [%0], %1;" ::"l"(gmem), "r"(bits) : "memory");
}
