// A producer's bulk copies fill matrix B of a warpgroup's products, one stage for all of them.
// Bug:  the stage is declared empty while a wgmma that reads it may be under way.
// Good: the warpgroup waits for it before.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void multiply(const __nv_bfloat16* b, float* out) {
  __shared__ alignas(128) __nv_bfloat16 smem_a[64 * 16];
  __shared__ alignas(128) __nv_bfloat16 smem_b[8 * 16];
  __shared__ uint64_t full, empty;
  if (threadIdx.x == 0) {
    mbarrier_init(&full, 1);
    mbarrier_init(&empty, 128);
    fence_mbarrier_init();
  }
  // A picks column row % 16 of B.
  for (int i = threadIdx.x; i < 64 * 16; i += 160) {
    smem_a[tile_byte(i / 16, i % 16) / 2] = __float2bfloat16(i / 16 % 16 == i % 16 ? 1.0f : 0.0f);
  }
  fence_proxy_async_shared();
  __syncthreads();
  if (threadIdx.x >= 128) {
    if (threadIdx.x != 128) return;
    for (int i = 0; i < 2; ++i) {
      mbarrier_wait(&empty, ~i & 1);
      mbarrier_arrive_expect(&full, sizeof(smem_b));
      bulk_load(smem_b, b + 8 * 16 * i, sizeof(smem_b), &full);  // BUG
    }
    return;
  }
  float acc[4] = {};
#pragma unroll 1
  for (int i = 0; i < 2; ++i) {
    mbarrier_wait(&full, i & 1);
    wgmma_fence();
    wgmma_bf16(acc, tile_descriptor(smem_a), tile_descriptor(smem_b));  // BUG
    wgmma_commit();
    wgmma_wait<kBad ? 1 : 0>();
    mbarrier_arrive(&empty);
  }
  wgmma_wait<0>();
  store_product(out, acc);
}

extern "C" __global__ void bad(const __nv_bfloat16* b, float* out) { multiply<true>(b, out); }
extern "C" __global__ void good(const __nv_bfloat16* b, float* out) { multiply<false>(b, out); }
