// All warps arrive at an mbarrier, and wait for it.
// Bug:  it was initialised for one arrival a warp, and a warp's first lane arrives for 32.
// Good: one arrival a warp.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void reverse(const float* x, float* out) {
  __shared__ float tile[128];
  __shared__ uint64_t full;
  if (threadIdx.x == 0) mbarrier_init(&full, 4);
  __syncthreads();
  tile[threadIdx.x] = x[threadIdx.x];
  __syncwarp();
  if (threadIdx.x % 32 == 0) mbarrier_arrive_several(&full, kBad ? 32 : 1);  // BUG
  mbarrier_wait(&full, 0);
  out[threadIdx.x] = tile[127 - threadIdx.x];
}

extern "C" __global__ void bad(const float* x, float* out) { reverse<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { reverse<false>(x, out); }
