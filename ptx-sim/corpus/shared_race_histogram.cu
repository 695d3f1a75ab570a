// Histogram of a block in shared memory.
// Bug:  counting up is a read and a write, between which other threads count.
// Good: counts are atomic; barriers order zeroing, counting and reading.

template <bool kBad>
__device__ __forceinline__ void histogram(const unsigned* x, unsigned* out) {
  __shared__ unsigned bins[32];
  const unsigned i = threadIdx.x;
  if (i < 32) bins[i] = 0;
  __syncthreads();
  if (kBad) {
    bins[x[i] % 32] += 1;  // BUG
  } else {
    atomicAdd(&bins[x[i] % 32], 1);
  }
  __syncthreads();
  if (i < 32) out[i] = bins[i];
}

extern "C" __global__ void bad(const unsigned* x, unsigned* out) { histogram<true>(x, out); }
extern "C" __global__ void good(const unsigned* x, unsigned* out) { histogram<false>(x, out); }
