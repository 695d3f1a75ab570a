// Split-K: block 1 waits for the partial sums of block 0 and adds its own.
// Bug:  a volatile read sees the flag, but orders nothing after it.
// Good: the flag is acquired, which orders the reads of the data after the other block's stores.
#include "ptx.cuh"

template <bool kBad>
__device__ __forceinline__ void split_sum(const float* x, float* partials, unsigned* flag,
                                          float* out) {
  const unsigned i = threadIdx.x;
  if (blockIdx.x == 0) {
    partials[i] = x[i];  // BUG
    __syncthreads();
    if (i == 0) store_release(flag, 1);
  } else {
    if (i == 0) {
      while ((kBad ? *static_cast<volatile unsigned*>(flag) : load_acquire(flag)) == 0) {
      }
    }
    __syncthreads();
    out[i] = partials[i] + x[128 + i];  // BUG
  }
}

extern "C" __global__ void bad(const float* x, float* partials, unsigned* flag, float* out) {
  split_sum<true>(x, partials, flag, out);
}
extern "C" __global__ void good(const float* x, float* partials, unsigned* flag, float* out) {
  split_sum<false>(x, partials, flag, out);
}
