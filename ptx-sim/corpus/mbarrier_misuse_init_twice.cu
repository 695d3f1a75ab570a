// Tiles of a persistent kernel, each loaded by a bulk copy.
// Bug:  the mbarrier is initialised anew for each tile.
// Good: it is initialised once, and its parity alternates.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void reverse_tiles(const float* x, float* out) {
  __shared__ alignas(16) float tile[128];
  __shared__ uint64_t full;
  for (int i = 0; i < 2; ++i) {
    if (threadIdx.x == 0) {
      if (kBad || i == 0) mbarrier_init(&full, 1);  // BUG
      fence_mbarrier_init();
      mbarrier_arrive_expect(&full, sizeof(tile));
      bulk_load(tile, x + 128 * i, sizeof(tile), &full);
    }
    __syncthreads();
    mbarrier_wait(&full, kBad ? 0 : i);
    out[128 * i + threadIdx.x] = tile[127 - threadIdx.x];
    __syncthreads();
  }
}

extern "C" __global__ void bad(const float* x, float* out) { reverse_tiles<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { reverse_tiles<false>(x, out); }
