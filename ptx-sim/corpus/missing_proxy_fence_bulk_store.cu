// A tile computed in shared memory, stored to global memory by a bulk copy.
// Bug:  the barrier does not show the tile to the asynchronous proxy.
// Good: fence.proxy.async does, before the barrier.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void reverse(const float* x, float* out) {
  __shared__ alignas(16) float tile[128];
  tile[127 - threadIdx.x] = x[threadIdx.x];  // BUG
  if (!kBad) fence_proxy_async_shared();
  __syncthreads();
  if (threadIdx.x != 0) return;
  bulk_store(out, tile, sizeof(tile));  // BUG
  bulk_commit();
  bulk_wait<0>();
}

extern "C" __global__ void bad(const float* x, float* out) { reverse<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { reverse<false>(x, out); }
