// Two mbarriers, one a stage.
// Bug:  the loop that initialises them ends one too early.
// Good: both are initialised.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void reverse(const float* x, float* out) {
  __shared__ alignas(16) float tiles[2][128];
  __shared__ uint64_t full[2];
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < (kBad ? 1 : 2); ++stage) mbarrier_init(&full[stage], 1);
    fence_mbarrier_init();
    for (int stage = 0; stage < 2; ++stage) {
      mbarrier_arrive_expect(&full[stage], sizeof(tiles[stage]));  // BUG
      bulk_load(tiles[stage], x + 128 * stage, sizeof(tiles[stage]), &full[stage]);
    }
  }
  __syncthreads();
  for (int stage = 0; stage < 2; ++stage) {
    mbarrier_wait(&full[stage], 0);
    out[128 * stage + threadIdx.x] = tiles[stage][127 - threadIdx.x];
  }
}

extern "C" __global__ void bad(const float* x, float* out) { reverse<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { reverse<false>(x, out); }
