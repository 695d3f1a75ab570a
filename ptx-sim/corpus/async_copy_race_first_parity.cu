// A tile loaded by a bulk copy, read by the block in reverse.
// Bug:  the wait is for parity 1: a new mbarrier is asked for the phase before its first, and that
//       has ended. Where the tile is there already, it is the phase after.
// Good: the first phase has parity 0.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void reverse(const float* x, float* out) {
  __shared__ alignas(16) float tile[128];
  __shared__ uint64_t full;
  if (threadIdx.x == 0) {
    mbarrier_init(&full, 1);
    fence_mbarrier_init();
    mbarrier_arrive_expect(&full, sizeof(tile));
    bulk_load(tile, x, sizeof(tile), &full);  // BUG
  }
  __syncthreads();
  mbarrier_wait(&full, kBad ? 1 : 0);          // BUG
  out[threadIdx.x] = tile[127 - threadIdx.x];  // BUG
}

extern "C" __global__ void bad(const float* x, float* out) { reverse<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { reverse<false>(x, out); }
