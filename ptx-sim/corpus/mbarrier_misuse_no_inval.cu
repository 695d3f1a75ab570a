// Shared memory that first holds an mbarrier, then a number.
// Bug:  the mbarrier is still one when the number is stored over it.
// Good: mbarrier.inval ends it.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void reverse(const float* x, float* out) {
  __shared__ alignas(16) float tile[128];
  __shared__ uint64_t scratch;
  if (threadIdx.x == 0) {
    mbarrier_init(&scratch, 1);
    fence_mbarrier_init();
    mbarrier_arrive_expect(&scratch, sizeof(tile));
    bulk_load(tile, x, sizeof(tile), &scratch);
  }
  __syncthreads();
  mbarrier_wait(&scratch, 0);
  __syncthreads();
  if (threadIdx.x == 0) {
    if (!kBad) mbarrier_inval(&scratch);
    scratch = 1;  // BUG
  }
  __syncthreads();
  out[threadIdx.x] = tile[127 - threadIdx.x] + scratch;
}

extern "C" __global__ void bad(const float* x, float* out) { reverse<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { reverse<false>(x, out); }
