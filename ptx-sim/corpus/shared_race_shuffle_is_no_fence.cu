// Lanes of a warp exchange values through shared memory around a shuffle.
// Bug:  a shuffle brings the lanes together, but it orders none of their memory accesses.
// Good: __syncwarp does both.

template <bool kBad>
__device__ __forceinline__ void reverse(const float* x, float* out) {
  __shared__ float smem[32];
  const unsigned lane = threadIdx.x;
  const float value = x[lane];
  smem[lane] = value;
  const float first = __shfl_sync(0xffffffff, value, 0);
  if (!kBad) __syncwarp();
  out[lane] = smem[lane ^ 31] + first;  // BUG
}

extern "C" __global__ void bad(const float* x, float* out) { reverse<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { reverse<false>(x, out); }
