// Three tiles are copied ahead before the first one is read.
// Bug:  there are two stages: the third copy goes where the first one is under way.
// Good: there are three; every thread waits for its copies before the barrier.
#include "ptx.cuh"

template <bool kBad>
__device__ __forceinline__ void reverse_tiles(const float* x, float* out) {
  constexpr int kStages = kBad ? 2 : 3;
  __shared__ __align__(16) float smem[kStages][256];
  const int i = 4 * threadIdx.x;
#pragma unroll 1
  for (int tile = 0; tile < 3; ++tile) {
    cp_async(&smem[tile % kStages][i], x + 256 * tile + i);  // BUG
    cp_async_commit();
  }
  cp_async_wait<0>();
  __syncthreads();
  for (int j = threadIdx.x; j < 3 * 256; j += 64) {
    out[j] = smem[j / 256 % kStages][255 - j % 256];
  }
}

extern "C" __global__ void bad(const float* x, float* out) { reverse_tiles<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { reverse_tiles<false>(x, out); }
