// A product by a warpgroup.
// Bug:  lanes that have no row to write do not take part in wgmma.
// Good: all of them do.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void multiply(float* out, int rows) {
  __shared__ alignas(128) __nv_bfloat16 smem_a[64 * 16];
  __shared__ alignas(128) __nv_bfloat16 smem_b[8 * 16];
  fill_tiles(smem_a, smem_b);
  fence_proxy_async_shared();
  __syncthreads();
  float acc[4] = {};
  const int row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4;
  if (!kBad || row < rows) {
    wgmma_fence();  // BUG
    wgmma_bf16(acc, tile_descriptor(smem_a), tile_descriptor(smem_b));
    wgmma_commit();
    wgmma_wait<0>();
  }
  if (row < rows) store_product(out, acc);
}

extern "C" __global__ void bad(float* out, int rows) { multiply<true>(out, rows); }
extern "C" __global__ void good(float* out, int rows) { multiply<false>(out, rows); }
