// Tensor-core products of 16-bit matrices on every card since Ampere (HMMA), and the loads of their
// operands from shared memory (LDSM).
//
// D[16,8] = A[16,16] * B[16,8] + C[16,8], f32 accumulators. With g = lane / 4 and t = lane % 4:
//   A  a[0]: row g, columns 2t 2t+1    a[1]: row g+8    a[2]: row g, columns 2t+8 2t+9    a[3]: g+8
//   B  b[0]: rows 2t 2t+1, column g    b[1]: rows 2t+8 2t+9
//   C  c[0] c[1]: row g, columns 2t 2t+1    c[2] c[3]: row g+8
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

// `Pair` says what the 16 bits of A and B mean.
template <typename Pair>
__device__ __forceinline__ void mma_m16n8k16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                             uint32_t b1);

template <>
__device__ __forceinline__ void mma_m16n8k16<__nv_bfloat162>(float (&c)[4], const uint32_t (&a)[4],
                                                             uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

template <>
__device__ __forceinline__ void mma_m16n8k16<__half2>(float (&c)[4], const uint32_t (&a)[4],
                                                      uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// C = A * B: the first step of a sum, which needs no zeros in registers.
template <typename Pair>
__device__ __forceinline__ void mma_m16n8k16_first(float (&c)[4], const uint32_t (&a)[4],
                                                   uint32_t b0, uint32_t b1);

template <>
__device__ __forceinline__ void mma_m16n8k16_first<__nv_bfloat162>(float (&c)[4],
                                                                   const uint32_t (&a)[4],
                                                                   uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%10, %10, %10, %10};"
      : "=f"(c[0]), "=f"(c[1]), "=f"(c[2]), "=f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "f"(0.0f));
}

template <>
__device__ __forceinline__ void mma_m16n8k16_first<__half2>(float (&c)[4], const uint32_t (&a)[4],
                                                            uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%10, %10, %10, %10};"
      : "=f"(c[0]), "=f"(c[1]), "=f"(c[2]), "=f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "f"(0.0f));
}

// Whether the tensor cores take 8-bit floats by mma.sync. 9.0 does not: its assembler unpacks them.
#if __CUDA_ARCH__ == 890 || __CUDA_ARCH__ >= 1000
#define HAS_MMA_E4M3 1
#else
#define HAS_MMA_E4M3 0
#endif

#if HAS_MMA_E4M3
// D[16,8] = A[16,32] * B[32,8] + C[16,8] of e4m3 codes (QMMA): A, B and C are laid out as above if
// a pair of codes is taken for a 16-bit element, so a[0] is row g, columns 4t to 4t+3. The
// accumulators of 8.9 have 13 bits behind the point.
__device__ __forceinline__ void mma_m16n8k32_e4m3(float (&c)[4], const uint32_t (&a)[4],
                                                  uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
#endif

// Four 8x8 matrices of 16-bit elements: lanes 8i..8i+7 give the addresses of the rows of matrix i,
// each 16 bytes at a multiple of 16; d[i] is row lane / 4, columns 2 * (lane % 4) and the next.
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&d)[4], uint32_t smem) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(smem)
               : "memory");
}

// The same, each matrix transposed: d[i] is column lane / 4, rows 2 * (lane % 4) and the next.
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&d)[4], uint32_t smem) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(smem)
               : "memory");
}
