// A producer warp fills one buffer again and again for a consumer warp: "full" and "empty"
// barriers.
// Bug:  the consumer declares the buffer empty before it has read it.
// Good: the consumer arrives at "empty" after its reads, the producer waits there before it stores.
#include "ptx.cuh"

constexpr int kFull = 1;
constexpr int kEmpty = 2;

template <bool kBad>
__device__ __forceinline__ void hand_over(const float* x, float* out, unsigned tiles) {
  __shared__ float tile[32];
  const unsigned lane = threadIdx.x % 32;
  if (threadIdx.x < 32) {
#pragma unroll 1
    for (unsigned i = 0; i < tiles; ++i) {
      if (i > 0) barrier_sync(kEmpty, 64);
      tile[lane] = x[32 * i + lane];  // BUG
      barrier_arrive(kFull, 64);
    }
  } else {
#pragma unroll 1
    for (unsigned i = 0; i < tiles; ++i) {
      barrier_sync(kFull, 64);
      const bool more = i + 1 < tiles;
      if (kBad && more) barrier_arrive(kEmpty, 64);
      out[32 * i + lane] = tile[lane];  // BUG
      if (!kBad && more) barrier_arrive(kEmpty, 64);
    }
  }
}

extern "C" __global__ void bad(const float* x, float* out, unsigned tiles) {
  hand_over<true>(x, out, tiles);
}
extern "C" __global__ void good(const float* x, float* out, unsigned tiles) {
  hand_over<false>(x, out, tiles);
}
