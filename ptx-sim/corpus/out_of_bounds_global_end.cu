// Element-wise scaling whose guard lets one thread too many through.
// Bug:  `i <= n` reads and writes element n, the first one past both allocations.
// Good: with `i < n` every access is an element of its array.

template <bool kBad>
__device__ __forceinline__ void scale(const float* x, float* out, unsigned n) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (kBad ? i <= n : i < n) {
    out[i] = 2.0f * x[i];  // BUG
  }
}

extern "C" __global__ void bad(const float* x, float* out, unsigned n) { scale<true>(x, out, n); }
extern "C" __global__ void good(const float* x, float* out, unsigned n) { scale<false>(x, out, n); }
