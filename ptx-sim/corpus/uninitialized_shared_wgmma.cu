// A product of matrices with 12 columns, in tiles of 16.
// Bug:  the columns past the end are written in one of the two tiles only: 0 times what is in the
//       other may be NaN.
// Good: they are zeros in both.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void multiply(float* out) {
  __shared__ alignas(128) __nv_bfloat16 smem_a[64 * 16];
  __shared__ alignas(128) __nv_bfloat16 smem_b[8 * 16];
  for (int i = threadIdx.x; i < 64 * 16; i += 128) {
    const int row = i / 16, k = i % 16;
    smem_a[tile_byte(row, k) / 2] = __float2bfloat16(k < 12 ? 1.0f : 0.0f);
    if (row < 8 && (!kBad || k < 12)) {
      smem_b[tile_byte(row, k) / 2] = __float2bfloat16(k < 12 ? row : 0.0f);
    }
  }
  fence_proxy_async_shared();
  __syncthreads();
  float acc[4] = {};
  wgmma_fence();
  wgmma_bf16(acc, tile_descriptor(smem_a), tile_descriptor(smem_b));  // BUG
  wgmma_commit();
  wgmma_wait<0>();
  store_product(out, acc);  // BUG
}

extern "C" __global__ void bad(float* out) { multiply<true>(out); }
extern "C" __global__ void good(float* out) { multiply<false>(out); }
