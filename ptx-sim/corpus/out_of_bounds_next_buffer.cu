// Sum of two arrays that the kernel believes to lie one behind the other.
// Bug:  x + n is past x; allocations are aligned, so that y starts elsewhere.
// Good: y is reached through its own pointer.

template <bool kBad>
__device__ __forceinline__ void add(const float* x, const float* y, float* out, unsigned n) {
  const float* second = kBad ? x + n : y;
  const unsigned i = threadIdx.x;
  if (i < n) {
    out[i] = x[i] + second[i];  // BUG
  }
}

extern "C" __global__ void bad(const float* x, const float* y, float* out, unsigned n) {
  add<true>(x, y, out, n);
}
extern "C" __global__ void good(const float* x, const float* y, float* out, unsigned n) {
  add<false>(x, y, out, n);
}
