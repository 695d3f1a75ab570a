// Producer and consumer warps of a block, each with its own code.
// Bug:  both execute a __syncthreads, but not the same one.
// Good: the __syncthreads is where both come together.

template <bool kBad>
__device__ __forceinline__ void hand_over(const float* x, float* out) {
  __shared__ float tile[32];
  const unsigned lane = threadIdx.x % 32;
  const bool producer = threadIdx.x < 32;
  if (producer) {
    tile[lane] = x[lane];
    if (kBad) __syncthreads();  // BUG
  } else if (kBad) {
    __syncthreads();  // BUG
    out[lane] = tile[31 - lane];
  }
  if (!kBad) {
    __syncthreads();
    if (!producer) out[lane] = tile[31 - lane];
  }
}

extern "C" __global__ void bad(const float* x, float* out) { hand_over<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { hand_over<false>(x, out); }
