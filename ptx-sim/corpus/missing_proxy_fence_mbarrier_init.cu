// A tile loaded by a bulk copy.
// Bug:  the copy signals an mbarrier whose initialisation only ordinary instructions are sure to
//       see.
// Good: fence.mbarrier_init shows it to the asynchronous proxy.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void reverse(const float* x, float* out) {
  __shared__ alignas(16) float tile[128];
  __shared__ uint64_t full;
  if (threadIdx.x == 0) {
    mbarrier_init(&full, 1);
    if (!kBad) fence_mbarrier_init();
    mbarrier_arrive_expect(&full, sizeof(tile));
    bulk_load(tile, x, sizeof(tile), &full);  // BUG
  }
  __syncthreads();
  mbarrier_wait(&full, 0);
  out[threadIdx.x] = tile[127 - threadIdx.x];
}

extern "C" __global__ void bad(const float* x, float* out) { reverse<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { reverse<false>(x, out); }
