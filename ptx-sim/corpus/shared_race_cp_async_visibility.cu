// A warp's tile is filled by asynchronous copies; each lane reads what another lane copied.
// Bug:  a thread's wait covers its own copies and says nothing to other threads.
// Good: every lane waits for its copies, then __syncwarp shows them to the warp.
#include "ptx.cuh"

template <bool kBad>
__device__ __forceinline__ void reverse(const float* x, float* out) {
  __shared__ __align__(16) float tile[128];
  const int lane = threadIdx.x;
  cp_async(&tile[4 * lane], x + 4 * lane);
  cp_async_commit();
  cp_async_wait<0>();
  if (!kBad) __syncwarp();
  for (int j = lane; j < 128; j += 32) {
    out[j] = tile[127 - j];  // BUG
  }
}

extern "C" __global__ void bad(const float* x, float* out) { reverse<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { reverse<false>(x, out); }
