// Two products in groups of their own; the sum of both is written out.
// Bug:  the wait leaves one group under way, and its accumulators are read.
// Good: the wait leaves none.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void multiply(float* out) {
  __shared__ alignas(128) __nv_bfloat16 smem_a[64 * 16];
  __shared__ alignas(128) __nv_bfloat16 smem_b[8 * 16];
  fill_tiles(smem_a, smem_b);
  fence_proxy_async_shared();
  __syncthreads();
  float first[4] = {};
  float second[4] = {};
  settle(first);
  settle(second);
  wgmma_fence();
  wgmma_bf16(first, tile_descriptor(smem_a), tile_descriptor(smem_b));
  wgmma_commit();
  wgmma_bf16(second, tile_descriptor(smem_a), tile_descriptor(smem_b));  // BUG
  wgmma_commit();
  wgmma_wait<kBad ? 1 : 0>();
  for (int i = 0; i < 4; ++i) first[i] += second[i];  // BUG
  store_product(out, first);
}

extern "C" __global__ void bad(float* out) { multiply<true>(out); }
extern "C" __global__ void good(float* out) { multiply<false>(out); }
