// A consumer warpgroup takes the registers that a producer warpgroup does not need.
// Bug:  the producer does not give any up: the pool of the block has none to give.
// Good: it gives its own up first.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void copy(const float* x, float* out) {
  if (threadIdx.x < 128) {
    if (!kBad) setmaxnreg_dec<24>();
  } else {
    setmaxnreg_inc<232>();  // BUG
    out[threadIdx.x - 128] = x[threadIdx.x - 128];
  }
}

extern "C" __global__ void __launch_bounds__(256, 1) bad(const float* x, float* out) {
  copy<true>(x, out);
}
extern "C" __global__ void __launch_bounds__(256, 1) good(const float* x, float* out) {
  copy<false>(x, out);
}
