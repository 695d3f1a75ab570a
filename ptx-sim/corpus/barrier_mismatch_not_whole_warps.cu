// 48 threads' worth of work in two warps that meet at a named barrier.
// Bug:  barriers count whole warps: 48 is no multiple of 32.
// Good: both warps count in full.
#include "ptx.cuh"

template <bool kBad>
__device__ __forceinline__ void reverse(const float* x, float* out) {
  __shared__ float smem[48];
  const unsigned i = threadIdx.x;
  if (i < 48) smem[i] = x[i];
  barrier_sync(1, kBad ? 48 : 64);  // BUG
  if (i < 48) out[i] = smem[47 - i];
}

extern "C" __global__ void bad(const float* x, float* out) { reverse<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { reverse<false>(x, out); }
