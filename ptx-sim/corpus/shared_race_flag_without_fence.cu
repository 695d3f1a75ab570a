// A producer warp fills a tile and raises a flag in shared memory; a consumer warp waits for it.
// Bug:  volatile orders nothing but the flag itself.
// Good: the producer's lanes meet, then one lane fences and raises the flag; the consumer's lane
//       that saw the flag fences, then meets its warp.

template <bool kBad>
__device__ __forceinline__ void hand_over(const float* x, float* out) {
  __shared__ float tile[32];
  __shared__ volatile unsigned flag;
  const unsigned lane = threadIdx.x % 32;
  if (threadIdx.x == 0) flag = 0;
  __syncthreads();
  if (threadIdx.x < 32) {
    tile[lane] = x[lane];  // BUG
    __syncwarp();
    if (lane == 0) {
      if (!kBad) __threadfence_block();
      flag = 1;
    }
  } else {
    if (lane == 0) {
      while (flag == 0) {
      }
      if (!kBad) __threadfence_block();
    }
    __syncwarp();
    out[lane] = tile[lane];  // BUG
  }
}

extern "C" __global__ void bad(const float* x, float* out) { hand_over<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { hand_over<false>(x, out); }
