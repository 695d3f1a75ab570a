// Three warps meet at a named barrier.
// Bug:  one of them counts 64 threads, the others 96.
// Good: all count 96, and the barrier orders their stores before their reads.
#include "ptx.cuh"

template <bool kBad>
__device__ __forceinline__ void rotate(const float* x, float* out) {
  __shared__ float smem[96];
  const unsigned i = threadIdx.x;
  smem[i] = x[i];
  barrier_sync(1, kBad && i >= 64 ? 64 : 96);  // BUG
  out[i] = smem[(i + 32) % 96];
}

extern "C" __global__ void bad(const float* x, float* out) { rotate<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { rotate<false>(x, out); }
