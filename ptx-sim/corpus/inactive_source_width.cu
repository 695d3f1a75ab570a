// The lower half of a warp adds up its values.
// Bug:  a shuffle over 32 lanes makes lanes 8 to 15 read lanes that do not shuffle.
// Good: over 16 lanes, a lane whose source would be outside reads its own value.

template <bool kBad>
__device__ __forceinline__ void lower_sum(const float* x, float* out) {
  const unsigned lane = threadIdx.x;
  if (lane < 16) {
    float sum = x[lane];
    for (unsigned offset = 8; offset > 0; offset /= 2) {
      sum += __shfl_down_sync(0x0000ffff, sum, offset, kBad ? 32 : 16);  // BUG
    }
    if (lane == 0) *out = sum;
  }
}

extern "C" __global__ void bad(const float* x, float* out) { lower_sum<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { lower_sum<false>(x, out); }
