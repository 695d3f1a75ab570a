// Two tiles, the second one loaded in pieces that one thread announces.
// Bug:  the bytes announced are more than an mbarrier can count: 2^20 - 1.
// Good: they are those of the tile.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void reverse(const float* x, float* out) {
  __shared__ alignas(16) float tile[128];
  __shared__ uint64_t full;
  if (threadIdx.x == 0) {
    mbarrier_init(&full, 1);
    fence_mbarrier_init();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect(&full, kBad ? sizeof(tile) * 32 * 128 : sizeof(tile));  // BUG
    bulk_load(tile, x, sizeof(tile), &full);
  }
  mbarrier_wait(&full, 0);
  out[threadIdx.x] = tile[127 - threadIdx.x];
}

extern "C" __global__ void bad(const float* x, float* out) { reverse<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { reverse<false>(x, out); }
