// Matrix B of two products, loaded in the swizzle of 64 bytes.
// Bug:  the descriptor says that it is that of 32 bytes.
// Good: it says the same as the tensor map.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void multiply(const TensorMap* b, float* out) {
  __shared__ alignas(128) __nv_bfloat16 smem_a[64 * 16];
  __shared__ alignas(1024) __nv_bfloat16 smem_b[8 * 32];
  __shared__ uint64_t full;
  // A picks column row % 16 of B.
  for (int i = threadIdx.x; i < 64 * 16; i += 128) {
    smem_a[tile_byte(i / 16, i % 16) / 2] = __float2bfloat16(i / 16 % 16 == i % 16 ? 1.0f : 0.0f);
  }
  fence_proxy_async_shared();
  if (threadIdx.x == 0) {
    mbarrier_init(&full, 1);
    fence_mbarrier_init();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect(&full, sizeof(smem_b));
    tensor_load(smem_b, b, 0, 0, &full);
  }
  mbarrier_wait(&full, 0);
  constexpr uint64_t kSwizzle = kBad ? 3 : 2;  // BUG
  const uint64_t descriptor = (shared_address(smem_b) & 0x3ffff) >> 4 | kSwizzle << 62;
  float acc[4] = {};
  wgmma_fence();
  // The second 16 columns are 32 bytes further.
  for (int k = 0; k < 2; ++k) wgmma_bf16(acc, tile_descriptor(smem_a), descriptor + 2 * k);
  wgmma_commit();
  wgmma_wait<0>();
  store_product(out, acc);
}

extern "C" __global__ void bad(const __grid_constant__ TensorMap b, float* out) {
  multiply<true>(&b, out);
}
extern "C" __global__ void good(const __grid_constant__ TensorMap b, float* out) {
  multiply<false>(&b, out);
}
