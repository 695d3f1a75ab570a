// One product of a warpgroup, written out.
// Bug:  the group is closed, not waited for: the accumulators are still being written.
// Good: the warpgroup waits until no group is under way.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void multiply(float* out) {
  __shared__ alignas(128) __nv_bfloat16 smem_a[64 * 16];
  __shared__ alignas(128) __nv_bfloat16 smem_b[8 * 16];
  fill_tiles(smem_a, smem_b);
  fence_proxy_async_shared();
  __syncthreads();
  float acc[4] = {};
  wgmma_fence();
  wgmma_bf16(acc, tile_descriptor(smem_a), tile_descriptor(smem_b));  // BUG
  wgmma_commit();
  if (!kBad) wgmma_wait<0>();
  store_product(out, acc);  // BUG
}

extern "C" __global__ void bad(float* out) { multiply<true>(out); }
extern "C" __global__ void good(float* out) { multiply<false>(out); }
