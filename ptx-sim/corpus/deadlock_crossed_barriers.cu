// Two warps meet twice, at two named barriers.
// Bug:  they take the barriers in opposite order: each waits where the other one is not.
// Good: both take them in the same order; each orders a store before the other warp's read.
#include "ptx.cuh"

template <bool kBad>
__device__ __forceinline__ void exchange_twice(const float* x, float* out) {
  __shared__ float smem[64];
  const unsigned i = threadIdx.x;
  const unsigned first = kBad ? 1 + i / 32 : 1;
  smem[i] = x[i];
  barrier_sync(first, 64);  // BUG
  const float value = smem[i ^ 32];
  barrier_sync(3 - first, 64);  // BUG
  smem[i] = value;
  out[i] = smem[i];
}

extern "C" __global__ void bad(const float* x, float* out) { exchange_twice<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { exchange_twice<false>(x, out); }
