// A tile written by all threads and stored to global memory by a bulk copy of thread 0.
// Bug:  thread 64 fences before the barrier, the others do not: theirs stay in their proxy.
// Good: all do.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void add_one(const float* x, float* out) {
  __shared__ alignas(16) float tile[128];
  tile[threadIdx.x] = x[threadIdx.x] + 1.0f;
  if (!kBad || threadIdx.x == 64) fence_proxy_async_shared();
  __syncthreads();
  if (threadIdx.x != 0) return;
  bulk_store(out, tile, sizeof(tile));  // BUG
  bulk_commit();
  bulk_wait<0>();
}

extern "C" __global__ void bad(const float* x, float* out) { add_one<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { add_one<false>(x, out); }
