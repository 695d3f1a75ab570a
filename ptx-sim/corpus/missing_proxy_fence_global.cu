// A workspace in global memory, written by ordinary stores and loaded again by a bulk copy.
// Bug:  the barrier does not show the workspace to the asynchronous proxy.
// Good: fence.proxy.async does, before the barrier.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void reverse(const float* x, float* workspace, float* out) {
  __shared__ alignas(16) float tile[128];
  __shared__ uint64_t full;
  if (threadIdx.x == 0) {
    mbarrier_init(&full, 1);
    fence_mbarrier_init();
  }
  workspace[threadIdx.x] = 2.0f * x[threadIdx.x];
  if (!kBad) fence_proxy_async_global();
  __syncthreads();
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect(&full, sizeof(tile));
    bulk_load(tile, workspace, sizeof(tile), &full);  // BUG
  }
  mbarrier_wait(&full, 0);
  out[threadIdx.x] = tile[127 - threadIdx.x];
}

extern "C" __global__ void bad(const float* x, float* workspace, float* out) {
  reverse<true>(x, workspace, out);
}
extern "C" __global__ void good(const float* x, float* workspace, float* out) {
  reverse<false>(x, workspace, out);
}
