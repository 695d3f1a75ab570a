// Keeps the odd numbers of a block, then reads the kept ones back.
// Bug:  as many are read back as there were numbers, not as many as were kept.
// Good: the number of kept ones bounds the reads; the barrier orders stores before reads by other
//       threads of the block.

template <bool kBad>
__device__ __forceinline__ void keep_odd(const unsigned* x, unsigned* kept, unsigned* out,
                                         unsigned n) {
  const unsigned i = threadIdx.x;
  const unsigned value = x[i];
  if (value % 2 == 1) kept[value / 2] = value;
  __syncthreads();
  const unsigned count = kBad ? n : n / 2;
  if (i < count) {
    out[i] = kept[i];  // BUG
  }
}

extern "C" __global__ void bad(const unsigned* x, unsigned* kept, unsigned* out, unsigned n) {
  keep_odd<true>(x, kept, out, n);
}
extern "C" __global__ void good(const unsigned* x, unsigned* kept, unsigned* out, unsigned n) {
  keep_odd<false>(x, kept, out, n);
}
