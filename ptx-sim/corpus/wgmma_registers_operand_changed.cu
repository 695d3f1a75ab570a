// Two products whose matrix A is in registers: ones, then twos.
// Bug:  the registers are changed while the first wgmma still reads them.
// Good: the warpgroup waits for it before.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void multiply(float* out) {
  __shared__ alignas(128) __nv_bfloat16 smem_a[64 * 16];
  __shared__ alignas(128) __nv_bfloat16 smem_b[8 * 16];
  fill_tiles(smem_a, smem_b);
  fence_proxy_async_shared();
  __syncthreads();
  // Pairs of 1.0 in bf16; the loop is not unrolled, so that both products have the same registers.
  uint32_t a[4] = {0x3f803f80, 0x3f803f80, 0x3f803f80, 0x3f803f80};
  float acc[4] = {};
#pragma unroll 1
  for (int k = 0; k < 2; ++k) {
    wgmma_fence();
    wgmma_bf16(acc, a, tile_descriptor(smem_b));
    wgmma_commit();
    if (!kBad) wgmma_wait<0>();
#pragma unroll
    for (int i = 0; i < 4; ++i) a[i] += 0x00800080;  // BUG
  }
  wgmma_wait<0>();
  store_product(out, acc);
}

extern "C" __global__ void bad(float* out) { multiply<true>(out); }
extern "C" __global__ void good(float* out) { multiply<false>(out); }
