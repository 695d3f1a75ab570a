// A tile multiplied by the tensor cores; then its memory holds the next one.
// Bug:  the next tile is stored while the wgmma may still read this one.
// Good: the warpgroup waits for the wgmma before.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void multiply(float* out) {
  __shared__ alignas(128) __nv_bfloat16 smem_a[64 * 16];
  __shared__ alignas(128) __nv_bfloat16 smem_b[8 * 16];
  fill_tiles(smem_a, smem_b);
  fence_proxy_async_shared();
  __syncthreads();
  float acc[4] = {};
#pragma unroll 1
  for (int k = 0; k < 2; ++k) {
    wgmma_fence();
    wgmma_bf16(acc, tile_descriptor(smem_a), tile_descriptor(smem_b));  // BUG
    wgmma_commit();
    if (!kBad) wgmma_wait<0>();
    __syncthreads();
    smem_b[threadIdx.x] = __float2bfloat16(1.0f);  // BUG
    fence_proxy_async_shared();
    __syncthreads();
  }
  wgmma_wait<0>();
  store_product(out, acc);
}

extern "C" __global__ void bad(float* out) { multiply<true>(out); }
extern "C" __global__ void good(float* out) { multiply<false>(out); }
