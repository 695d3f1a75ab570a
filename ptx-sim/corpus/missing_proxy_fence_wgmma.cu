// Tiles written by ordinary stores, multiplied by the tensor cores.
// Bug:  a barrier orders the stores for ordinary instructions alone; wgmma reads through another
//       proxy.
// Good: every thread that has stored executes fence.proxy.async before the barrier.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void multiply(float* out) {
  __shared__ alignas(128) __nv_bfloat16 smem_a[64 * 16];
  __shared__ alignas(128) __nv_bfloat16 smem_b[8 * 16];
  fill_tiles(smem_a, smem_b);
  if (!kBad) fence_proxy_async_shared();
  __syncthreads();
  float acc[4] = {};
  wgmma_fence();
  wgmma_bf16(acc, tile_descriptor(smem_a), tile_descriptor(smem_b));  // BUG
  wgmma_commit();
  wgmma_wait<0>();
  store_product(out, acc);
}

extern "C" __global__ void bad(float* out) { multiply<true>(out); }
extern "C" __global__ void good(float* out) { multiply<false>(out); }
