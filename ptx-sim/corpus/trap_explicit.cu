// Decodes symbols, and traps on one that does not exist.
// Bug:  the greatest symbol is taken for unknown.
// Good: it is decoded as the others are.

template <bool kBad>
__device__ __forceinline__ void decode(const unsigned* x, unsigned* out) {
  const unsigned symbol = x[threadIdx.x];
  if (symbol > (kBad ? 62 : 63)) {
    __trap();  // BUG
  }
  out[threadIdx.x] = 2 * symbol;
}

extern "C" __global__ void bad(const unsigned* x, unsigned* out) { decode<true>(x, out); }
extern "C" __global__ void good(const unsigned* x, unsigned* out) { decode<false>(x, out); }
