// Four warps in two pairs, {0, 2} and {1, 3}: the two of a pair exchange their values.
// Bug:  the barrier's number pairs {0, 1} and {2, 3}.
// Good: each pair meets at a barrier of its own, of 64 threads, before it reads.
#include "ptx.cuh"

template <bool kBad>
__device__ __forceinline__ void exchange(const float* x, float* out) {
  __shared__ float smem[128];
  const unsigned i = threadIdx.x;
  const unsigned warp = i / 32;
  // Cleared, so that a read which comes too early finds zeros rather than nothing.
  smem[i] = 0.0f;
  __syncthreads();
  smem[i] = x[i];  // BUG
  barrier_sync(1 + (kBad ? warp / 2 : warp % 2), 64);
  out[i] = smem[i ^ 64];  // BUG
}

extern "C" __global__ void bad(const float* x, float* out) { exchange<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { exchange<false>(x, out); }
