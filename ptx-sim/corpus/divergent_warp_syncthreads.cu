// 48 of a block's 64 threads reverse an array through shared memory; then all clear the output's
// tail.
// Bug:  __syncthreads stands within the guard: half of the second warp waits at the next one.
// Good: all threads execute both, the guard is around the work.

template <bool kBad>
__device__ __forceinline__ void reverse(const float* x, float* out) {
  __shared__ float smem[64];
  const unsigned i = threadIdx.x;
  if (i < 48) {
    smem[i] = x[i];
    if (kBad) __syncthreads();  // BUG
  }
  if (!kBad) __syncthreads();
  if (i < 48) out[i] = smem[47 - i];
  __syncthreads();  // BUG
  smem[i] = 0.0f;
  if (i >= 48) out[i] = smem[i];
}

extern "C" __global__ void bad(const float* x, float* out) { reverse<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { reverse<false>(x, out); }
