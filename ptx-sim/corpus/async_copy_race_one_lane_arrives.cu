// A warp loads tiles by bulk copies into one stage, the other one writes them out.
// Bug:  one lane arrives for its warp, although the others may not have read yet.
// Good: __syncwarp brings them together before.
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
      mbarrier_wait(&empty, ~i & 1);
      mbarrier_arrive_expect(&full, sizeof(tile));
      bulk_load(tile, x + 32 * i, sizeof(tile), &full);  // BUG
    }
  } else if (threadIdx.x >= 32) {
    for (int i = 0; i < 4; ++i) {
      mbarrier_wait(&full, i & 1);
      out[32 * i + threadIdx.x - 32] = tile[threadIdx.x - 32];  // BUG
      if (!kBad) __syncwarp();
      if (threadIdx.x == 32) mbarrier_arrive(&empty);
    }
  }
}

extern "C" __global__ void bad(const float* x, float* out) { copy_tiles<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { copy_tiles<false>(x, out); }
