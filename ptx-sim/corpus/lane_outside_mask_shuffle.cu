// The upper half of a warp adds values in pairs by a shuffle.
// Bug:  the mask names the lower half: no lane that shuffles is in its own mask.
// Good: the mask names exactly the lanes that shuffle.

template <bool kBad>
__device__ __forceinline__ void add_pairs(const float* x, float* out) {
  const unsigned lane = threadIdx.x;
  float value = x[lane];
  if (lane >= 16) {
    value += __shfl_xor_sync(kBad ? 0x0000ffff : 0xffff0000, value, 8);  // BUG
  }
  out[lane] = value;
}

extern "C" __global__ void bad(const float* x, float* out) { add_pairs<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { add_pairs<false>(x, out); }
