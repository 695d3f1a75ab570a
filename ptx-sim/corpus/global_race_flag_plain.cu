// Block 1 uses what block 0 has published already, and computes it itself where it comes too early.
// Bug:  the flag is an ordinary variable: it may be seen before the data, or torn, or not at all.
// Good: the flag is released by a thread that the barrier put after all stores of its block, and
//       acquired before the barrier that lets the other block read.
#include "ptx.cuh"

template <bool kBad>
__device__ __forceinline__ void publish(const float* x, float* data, unsigned* flag, float* out) {
  const unsigned i = threadIdx.x;
  if (blockIdx.x == 0) {
    data[i] = 2.0f * x[i];
    __syncthreads();
    if (i == 0) {
      if (kBad) {
        *flag = 1;  // BUG
      } else {
        store_release(flag, 1);
      }
    }
  } else {
    __shared__ unsigned ready;
    if (i == 0) ready = kBad ? *flag : load_acquire(flag);  // BUG
    __syncthreads();
    out[i] = ready ? data[i] : 2.0f * x[i];
  }
}

extern "C" __global__ void bad(const float* x, float* data, unsigned* flag, float* out) {
  publish<true>(x, data, flag, out);
}
extern "C" __global__ void good(const float* x, float* data, unsigned* flag, float* out) {
  publish<false>(x, data, flag, out);
}
