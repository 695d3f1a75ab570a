// A tile whose last quarter the problem does not fill: zeroed, then loaded by a bulk copy.
// Bug:  nothing orders the zeros before the copy, whose bytes they may replace.
// Good: fence.proxy.async behind the zeros.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void reverse(const float* x, float* out) {
  __shared__ alignas(16) float tile[128];
  __shared__ uint64_t full;
  tile[threadIdx.x] = 0.0f;
  if (threadIdx.x == 0) {
    mbarrier_init(&full, 1);
    fence_mbarrier_init();
  }
  if (!kBad) fence_proxy_async_shared();
  __syncthreads();
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect(&full, 96 * sizeof(float));
    bulk_load(tile, x, 96 * sizeof(float), &full);  // BUG
  }
  mbarrier_wait(&full, 0);
  out[threadIdx.x] = tile[127 - threadIdx.x];
}

extern "C" __global__ void bad(const float* x, float* out) { reverse<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { reverse<false>(x, out); }
