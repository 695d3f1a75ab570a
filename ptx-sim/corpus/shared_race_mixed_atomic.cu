// Counts the odd numbers of a block; every thread reads the count.
// Bug:  the plain read is not ordered after the other threads' atomic additions.
// Good: a barrier stands between the additions and the reads.

template <bool kBad>
__device__ __forceinline__ void count_odd(const unsigned* x, unsigned* out) {
  __shared__ unsigned count;
  const unsigned i = threadIdx.x;
  if (i == 0) count = 0;
  __syncthreads();
  if (x[i] % 2 == 1) {
    atomicAdd(&count, 1);  // BUG
  }
  if (!kBad) __syncthreads();
  out[i] = count;  // BUG
}

extern "C" __global__ void bad(const unsigned* x, unsigned* out) { count_odd<true>(x, out); }
extern "C" __global__ void good(const unsigned* x, unsigned* out) { count_odd<false>(x, out); }
