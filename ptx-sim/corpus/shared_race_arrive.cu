// A producer warp fills a tile for a consumer warp; they meet at a named barrier.
// Bug:  the consumer arrives without waiting, and the producer waits.
// Good: the producer arrives after its stores, and the consumer waits before it reads.
#include "ptx.cuh"

template <bool kBad>
__device__ __forceinline__ void hand_over(const float* x, float* out) {
  __shared__ float tile[32];
  const unsigned lane = threadIdx.x % 32;
  const bool producer = threadIdx.x < 32;
  // Cleared, so that a read which comes too early finds zeros rather than nothing.
  if (producer) tile[lane] = 0.0f;
  __syncthreads();
  if (producer) {
    tile[lane] = x[lane];  // BUG
  }
  if (producer != kBad) {
    barrier_arrive(1, 64);
  } else {
    barrier_sync(1, 64);
  }
  if (!producer) {
    out[lane] = tile[lane];  // BUG
  }
}

extern "C" __global__ void bad(const float* x, float* out) { hand_over<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { hand_over<false>(x, out); }
