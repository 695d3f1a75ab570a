// A tile loaded by a bulk copy, read by the block in reverse.
// Bug:  thread 0 waits before the block's barrier, but for another mbarrier than the copy signals.
// Good: it waits for that one; the barrier shows the tile to the block.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void reverse(const float* x, float* out) {
  __shared__ alignas(16) float tiles[2][128];
  __shared__ uint64_t full[2];
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < 2; ++stage) mbarrier_init(&full[stage], 1);
    fence_mbarrier_init();
    for (int stage = 0; stage < 2; ++stage) {
      mbarrier_arrive_expect(&full[stage], sizeof(tiles[stage]));
      bulk_load(tiles[stage], x + 128 * stage, sizeof(tiles[stage]), &full[stage]);  // BUG
    }
    mbarrier_wait(&full[0], 0);
    if (!kBad) mbarrier_wait(&full[1], 0);
  }
  __syncthreads();
  for (int i = threadIdx.x; i < 256; i += 128) out[i] = tiles[i / 128][127 - i % 128];  // BUG
}

extern "C" __global__ void bad(const float* x, float* out) { reverse<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { reverse<false>(x, out); }
