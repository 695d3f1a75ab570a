// Two of a block's three warps exchange their values around a named barrier.
// Bug:  the barrier waits for all three.
// Good: it waits for the two that come, and orders their stores before their reads.
#include "ptx.cuh"

template <bool kBad>
__device__ __forceinline__ void exchange(const float* x, float* out) {
  __shared__ float smem[64];
  const unsigned i = threadIdx.x;
  if (i < 64) {
    smem[i] = x[i];
    barrier_sync(1, kBad ? 96 : 64);  // BUG
    out[i] = smem[i ^ 32];
  }
}

extern "C" __global__ void bad(const float* x, float* out) { exchange<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { exchange<false>(x, out); }
