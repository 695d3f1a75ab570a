// 18 warps, each of which reverses its values and uses a named barrier of its own for that.
// Bug:  there are 16 barriers.
// Good: a warp needs no barrier of the block: __syncwarp orders its stores before its reads.
#include "ptx.cuh"

template <bool kBad>
__device__ __forceinline__ void reverse(const float* x, float* out) {
  __shared__ float smem[576];
  const unsigned i = threadIdx.x;
  smem[i] = x[i];
  if (kBad) {
    barrier_sync(i / 32, 32);  // BUG
  } else {
    __syncwarp();
  }
  out[i] = smem[i ^ 31];
}

extern "C" __global__ void bad(const float* x, float* out) { reverse<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { reverse<false>(x, out); }
