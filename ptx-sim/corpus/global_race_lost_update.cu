// Sum over blocks in one variable.
// Bug:  a read and a write, between which other blocks add.
// Good: the addition is atomic.

template <bool kBad>
__device__ __forceinline__ void add(const unsigned* x, unsigned* out) {
  if (threadIdx.x != 0) return;
  if (kBad) {
    *out += x[blockIdx.x];  // BUG
  } else {
    atomicAdd(out, x[blockIdx.x]);
  }
}

extern "C" __global__ void bad(const unsigned* x, unsigned* out) { add<true>(x, out); }
extern "C" __global__ void good(const unsigned* x, unsigned* out) { add<false>(x, out); }
