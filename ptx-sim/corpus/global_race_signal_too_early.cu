// Block 0 fills a buffer, thread 0 signals, block 1 reads the buffer.
// Bug:  thread 0 signals for the whole block, whose other threads may not have stored yet.
// Good: the barrier puts all stores of the block before the signal.
#include "ptx.cuh"

template <bool kBad>
__device__ __forceinline__ void hand_over(const float* x, float* data, unsigned* flag, float* out) {
  const unsigned i = threadIdx.x;
  if (blockIdx.x == 0) {
    data[i] = 2.0f * x[i];  // BUG
    if (!kBad) __syncthreads();
    if (i == 0) store_release(flag, 1);
  } else {
    if (i == 0) {
      while (load_acquire(flag) == 0) {
      }
    }
    __syncthreads();
    out[i] = data[i];  // BUG
  }
}

extern "C" __global__ void bad(const float* x, float* data, unsigned* flag, float* out) {
  hand_over<true>(x, data, flag, out);
}
extern "C" __global__ void good(const float* x, float* data, unsigned* flag, float* out) {
  hand_over<false>(x, data, flag, out);
}
