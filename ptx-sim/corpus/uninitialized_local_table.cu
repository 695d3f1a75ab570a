// Each thread builds a table of squares and looks one up.
// Bug:  the table ends one entry early for odd threads.
// Good: every entry that is looked up was stored.

template <bool kBad>
__device__ __forceinline__ void look_up(const unsigned* x, unsigned* out) {
  const unsigned i = threadIdx.x;
  unsigned table[16];
  const unsigned entries = kBad ? 16 - i % 2 : 16;
#pragma unroll 1
  for (unsigned k = 0; k < entries; ++k) {
    table[k] = k * k;
  }
  out[i] = table[x[i] % 16];  // BUG
}

extern "C" __global__ void bad(const unsigned* x, unsigned* out) { look_up<true>(x, out); }
extern "C" __global__ void good(const unsigned* x, unsigned* out) { look_up<false>(x, out); }
