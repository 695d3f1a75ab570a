// Sum of a block: each warp adds up its lanes, the first thread adds the warps.
// Bug:  all warps store their sums into the same element.
// Good: each warp has an element of its own, and the barrier orders the stores before the reads.

template <bool kBad>
__device__ __forceinline__ void sum(const float* x, float* out) {
  __shared__ float warp_sums[4];
  const unsigned warp = threadIdx.x / 32;
  float value = x[threadIdx.x];
  for (int offset = 16; offset > 0; offset /= 2) {
    value += __shfl_xor_sync(0xffffffff, value, offset);
  }
  if (threadIdx.x % 32 == 0) {
    warp_sums[kBad ? 0 : warp] = value;  // BUG
  }
  __syncthreads();
  if (threadIdx.x == 0) *out = warp_sums[0] + warp_sums[1] + warp_sums[2] + warp_sums[3];
}

extern "C" __global__ void bad(const float* x, float* out) { sum<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { sum<false>(x, out); }
