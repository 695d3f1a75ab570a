// Histogram of a block in shared memory.
// Bug:  the bins are counted up from whatever the block before left there.
// Good: they start at 0; barriers order zeroing, counting and reading, and the counts are atomic.

template <bool kBad>
__device__ __forceinline__ void histogram(const unsigned* x, unsigned* out) {
  __shared__ unsigned bins[16];
  const unsigned i = threadIdx.x;
  if (!kBad && i < 16) bins[i] = 0;
  __syncthreads();
  atomicAdd(&bins[x[i] % 16], 1);  // BUG
  __syncthreads();
  if (i < 16) out[i] = bins[i];
}

extern "C" __global__ void bad(const unsigned* x, unsigned* out) { histogram<true>(x, out); }
extern "C" __global__ void good(const unsigned* x, unsigned* out) { histogram<false>(x, out); }
