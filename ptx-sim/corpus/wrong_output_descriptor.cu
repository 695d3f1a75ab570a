// A product of tiles without a swizzle: matrices of 8 rows by 16 bytes.
// Bug:  the descriptor has the distance along k where the distance to the next 8 rows belongs, and
//       the other way round.
// Good: each is in its place.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void multiply(float* out) {
  __shared__ alignas(128) __nv_bfloat16 smem_a[64 * 16];
  __shared__ alignas(128) __nv_bfloat16 smem_b[8 * 16];
  fill_tiles(smem_a, smem_b);
  fence_proxy_async_shared();
  __syncthreads();
  constexpr uint64_t kLeading = 128, kStride = 256;
  const uint64_t a = (shared_address(smem_a) & 0x3ffff) >> 4 |
                     (kBad ? kStride : kLeading) / 16 << 16 |  // BUG
                     (kBad ? kLeading : kStride) / 16 << 32;   // BUG
  float acc[4] = {};
  wgmma_fence();
  wgmma_bf16(acc, a, tile_descriptor(smem_b));
  wgmma_commit();
  wgmma_wait<0>();
  store_product(out, acc);
}

extern "C" __global__ void bad(float* out) { multiply<true>(out); }
extern "C" __global__ void good(float* out) { multiply<false>(out); }
