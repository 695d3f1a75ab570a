// A tile filled by asynchronous copies, read by the block in reverse.
// Bug:  the barrier does not wait for copies.
// Good: every thread waits for its own copies, then the barrier shows them to the block.
#include "ptx.cuh"

template <bool kBad>
__device__ __forceinline__ void reverse(const float* x, float* out) {
  __shared__ __align__(16) float tile[256];
  const int i = 4 * threadIdx.x;
  cp_async(&tile[i], x + i);  // BUG
  cp_async_commit();
  if (!kBad) cp_async_wait<0>();
  __syncthreads();
  for (int j = threadIdx.x; j < 256; j += 64) {
    out[j] = tile[255 - j];  // BUG
  }
}

extern "C" __global__ void bad(const float* x, float* out) { reverse<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { reverse<false>(x, out); }
