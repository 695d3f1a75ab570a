// A warp loads tiles by bulk copies into one stage, the other one writes them out.
// Bug:  the producer first waits for parity 0, a phase that the consumer has yet to end.
// Good: it first waits for parity 1, and finds the stage empty.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void copy_tiles(const float* x, float* out) {
  __shared__ alignas(16) float tile[32];
  __shared__ uint64_t full, empty;
  if (threadIdx.x == 0) {
    mbarrier_init(&full, 1);
    mbarrier_init(&empty, 1);
    fence_mbarrier_init();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int i = 0; i < 4; ++i) {
      mbarrier_wait(&empty, kBad ? i & 1 : ~i & 1);  // BUG
      mbarrier_arrive_expect(&full, sizeof(tile));
      bulk_load(tile, x + 32 * i, sizeof(tile), &full);
    }
  } else if (threadIdx.x >= 32) {
    for (int i = 0; i < 4; ++i) {
      mbarrier_wait(&full, i & 1);
      out[32 * i + threadIdx.x - 32] = tile[threadIdx.x - 32];
      __syncwarp();
      if (threadIdx.x == 32) mbarrier_arrive(&empty);
    }
  }
}

extern "C" __global__ void bad(const float* x, float* out) { copy_tiles<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { copy_tiles<false>(x, out); }
