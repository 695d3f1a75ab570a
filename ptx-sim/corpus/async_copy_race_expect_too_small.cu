// Two halves of a tile loaded by two bulk copies that signal one mbarrier.
// Bug:  it is told of the bytes of one: it opens when the first has arrived.
// Good: it is told of the bytes of both.
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
    mbarrier_arrive_expect(&full, kBad ? sizeof(tile) / 2 : sizeof(tile));
    bulk_load(tile, x, sizeof(tile) / 2, &full);            // BUG
    bulk_load(tile + 64, x + 64, sizeof(tile) / 2, &full);  // BUG
  }
  mbarrier_wait(&full, 0);
  out[threadIdx.x] = tile[127 - threadIdx.x];  // BUG
}

extern "C" __global__ void bad(const float* x, float* out) { reverse<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { reverse<false>(x, out); }
