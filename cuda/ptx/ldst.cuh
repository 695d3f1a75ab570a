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

// One i64 that all threads of a row read.
__device__ __forceinline__ int64_t ld_global_i64(const void* gmem) {
  int64_t v;
  asm volatile("ld.global.u64 %0, [%1];" : "=l"(v) : "l"(gmem));
  return v;
}

// One i32, such as a row's result.
__device__ __forceinline__ void st_global_i32(void* gmem, int32_t v) {
  asm volatile("st.global.u32 [%0], %1;" ::"l"(gmem), "r"(v) : "memory");
}

// Two i32 that all threads of a row read.
__device__ __forceinline__ int2 ld_global_i32x2(const void* gmem) {
  int2 v;
  asm volatile("ld.global.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(gmem));
  return v;
}

// One f32 that all threads of a row read.
__device__ __forceinline__ float ld_global_f32(const void* gmem) {
  float v;
  asm volatile("ld.global.f32 %0, [%1];" : "=f"(v) : "l"(gmem));
  return v;
}

// Four 16-bit floats, with the default policy.
__device__ __forceinline__ void st_global(void* gmem, uint2 v) {
  asm volatile("st.global.v2.u32 [%0], {%1, %2};" ::"l"(gmem), "r"(v.x), "r"(v.y) : "memory");
}

// *gmem |= bits, relaxed: the host reads the word after the launch.
__device__ __forceinline__ void red_global_or(void* gmem, uint32_t bits) {
  asm volatile("red.relaxed.gpu.global.or.b32 [%0], %1;" ::"l"(gmem), "r"(bits) : "memory");
}

// Adds to a counter of blocks, and returns what it was. What a block has written before it (and a
// barrier) is seen by whoever reads behind the addition that follows it.
__device__ __forceinline__ uint32_t atom_add_acq_rel(uint32_t* gmem, uint32_t value) {
  uint32_t before;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;"
               : "=r"(before)
               : "l"(gmem), "r"(value)
               : "memory");
  return before;
}

// Reads weights, which a launch touches once: bypasses L1, and leaves L2 first, whose room belongs
// to the activations. Whole lines are fetched, of which one warp reads both halves.
__device__ __forceinline__ uint4 ld_global_stream(const void* gmem, uint64_t policy) {
  uint4 v;
  asm volatile(
      "ld.global.nc.L1::no_allocate.L2::cache_hint.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4], %5;"
      : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
      : "l"(gmem), "l"(policy));
  return v;
}

// The policy of ld_global_stream.
__device__ __forceinline__ uint64_t evict_first_policy() {
  uint64_t policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  return policy;
}

// 16 bits that no launch writes while it reads them, such as a bias.
__device__ __forceinline__ uint16_t ld_global_u16(const void* gmem) {
  uint16_t v;
  asm volatile("ld.global.nc.u16 %0, [%1];" : "=h"(v) : "l"(gmem));
  return v;
}

__device__ __forceinline__ void st_global_u16(void* gmem, uint16_t v) {
  asm volatile("st.global.u16 [%0], %1;" ::"l"(gmem), "h"(v) : "memory");
}

// One f32; the default policy.
__device__ __forceinline__ void st_global_f32(void* gmem, float v) {
  asm volatile("st.global.f32 [%0], %1;" ::"l"(gmem), "f"(v) : "memory");
}

// An address that is a multiple of 8.
__device__ __forceinline__ void st_global_f32x2(void* gmem, float x, float y) {
  asm volatile("st.global.v2.f32 [%0], {%1, %2};" ::"l"(gmem), "f"(x), "f"(y) : "memory");
}

// Four numbers, at an address that is a multiple of 16, for another block to read.
__device__ __forceinline__ void st_global_f32x4(void* gmem, const float (&v)[4]) {
  asm volatile("st.global.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(gmem), "f"(v[0]), "f"(v[1]),
               "f"(v[2]), "f"(v[3])
               : "memory");
}
// Adds four numbers that another block has written, once: past L1.
__device__ __forceinline__ void add_global_f32x4(float (&sum)[4], const void* gmem) {
  float v[4];
  asm volatile("ld.global.L1::no_allocate.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(v[0]), "=f"(v[1]), "=f"(v[2]), "=f"(v[3])
               : "l"(gmem)
               : "memory");
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    sum[i] += v[i];
  }
}

// To shared memory, at an address of its window that is a multiple of 8. Written in C++ the
// compiler makes it two stores where it cannot see that multiple, with a bank conflict each.
__device__ __forceinline__ void st_shared_f32x2(uint32_t smem, float x, float y) {
  asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(smem), "f"(x), "f"(y) : "memory");
}

// Shared memory, by addresses of its window.
__device__ __forceinline__ uint4 ld_shared(uint32_t smem) {
  uint4 v;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "r"(smem)
               : "memory");
  return v;
}

__device__ __forceinline__ void st_shared(uint32_t smem, uint32_t v) {
  asm volatile("st.shared.u32 [%0], %1;" ::"r"(smem), "r"(v) : "memory");
}

__device__ __forceinline__ void st_shared(uint32_t smem, uint2 v) {
  asm volatile("st.shared.v2.u32 [%0], {%1, %2};" ::"r"(smem), "r"(v.x), "r"(v.y) : "memory");
}

__device__ __forceinline__ void st_shared(uint32_t smem, uint4 v) {
  asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(smem), "r"(v.x), "r"(v.y), "r"(v.z),
               "r"(v.w)
               : "memory");
}

__device__ __forceinline__ uint32_t ld_shared_u32(uint32_t smem) {
  uint32_t v;
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(v) : "r"(smem) : "memory");
  return v;
}

__device__ __forceinline__ uint16_t ld_shared_u16(uint32_t smem) {
  uint16_t v;
  asm volatile("ld.shared.u16 %0, [%1];" : "=h"(v) : "r"(smem) : "memory");
  return v;
}

// Four numbers to shared memory, at an address that is a multiple of 16, and from there onto
// others.
__device__ __forceinline__ void st_shared_f32x4(uint32_t smem, const float (&v)[4]) {
  asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(smem), "f"(v[0]), "f"(v[1]),
               "f"(v[2]), "f"(v[3])
               : "memory");
}
__device__ __forceinline__ void add_shared_f32x4(float (&sum)[4], uint32_t smem) {
  float v[4];
  asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(v[0]), "=f"(v[1]), "=f"(v[2]), "=f"(v[3])
               : "r"(smem)
               : "memory");
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    sum[i] += v[i];
  }
}
