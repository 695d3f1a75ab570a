// Every lane of a warp takes the last value of an array that does not fill the warp.
// Bug:  the last lane does not take part.
// Good: the source is the last lane of the mask.

template <bool kBad>
__device__ __forceinline__ void last_value(const float* x, float* out, unsigned n) {
  const unsigned lane = threadIdx.x;
  const unsigned mask = __ballot_sync(0xffffffff, lane < n);
  if (lane < n) {
    const int source = kBad ? 31 : 31 - __clz(mask);
    out[lane] = __shfl_sync(mask, x[lane], source);  // BUG
  }
}

extern "C" __global__ void bad(const float* x, float* out, unsigned n) {
  last_value<true>(x, out, n);
}
extern "C" __global__ void good(const float* x, float* out, unsigned n) {
  last_value<false>(x, out, n);
}
