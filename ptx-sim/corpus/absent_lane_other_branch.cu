// The lower half of a warp adds up its values.
// Bug:  the full mask calls for the upper half, which waits behind the branch.
// Good: the mask names the lanes that take the branch; then the whole warp meets.

template <bool kBad>
__device__ __forceinline__ void lower_sum(const float* x, float* out) {
  __shared__ float total;
  const unsigned lane = threadIdx.x;
  float sum = x[lane];
  if (lane < 16) {
    for (unsigned offset = 8; offset > 0; offset /= 2) {
      sum += __shfl_xor_sync(kBad ? 0xffffffff : 0x0000ffff, sum, offset);  // BUG
    }
    if (lane == 0) total = sum;
  }
  __syncwarp();  // BUG
  out[lane] = total;
}

extern "C" __global__ void bad(const float* x, float* out) { lower_sum<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { lower_sum<false>(x, out); }
