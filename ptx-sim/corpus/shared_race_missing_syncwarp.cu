// Lanes of a warp reverse their values through shared memory.
// Bug:  lanes need not run in step: a lane may read before its partner has stored.
// Good: __syncwarp orders the stores of all lanes before the reads.

template <bool kBad>
__device__ __forceinline__ void reverse(const float* x, float* out) {
  __shared__ float smem[128];
  const unsigned i = threadIdx.x;
  smem[i] = x[i];
  if (!kBad) __syncwarp();
  out[i] = smem[i ^ 31];  // BUG
}

extern "C" __global__ void bad(const float* x, float* out) { reverse<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { reverse<false>(x, out); }
