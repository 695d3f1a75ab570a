// A tile loaded by a bulk copy.
// Bug:  it begins at the array's second element: bulk copies want multiples of 16 bytes.
// Good: it begins at the fifth.
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
    mbarrier_arrive_expect(&full, sizeof(tile));
    bulk_load(tile, x + (kBad ? 1 : 4), sizeof(tile), &full);  // BUG
  }
  mbarrier_wait(&full, 0);
  out[threadIdx.x] = tile[127 - threadIdx.x];
}

extern "C" __global__ void bad(const float* x, float* out) { reverse<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { reverse<false>(x, out); }
