// Tiles through two stages: while one is read, the next one is copied.
// Bug:  no group is committed for the last tile, so that it is the newest itself and not waited
//       for.
// Good: every turn commits a group, empty for the last tile, so that all groups but the newest
//       cover the tile; barriers show the copies to the block, and end its reads before a stage is
//       filled again.
#include "ptx.cuh"

template <bool kBad>
__device__ __forceinline__ void reverse_tiles(const float* x, float* out, int tiles) {
  __shared__ __align__(16) float smem[2][256];
  const int i = 4 * threadIdx.x;
  cp_async(&smem[0][i], x + i);  // BUG
  cp_async_commit();
#pragma unroll 1
  for (int tile = 0; tile < tiles; ++tile) {
    if (tile + 1 < tiles) {
      cp_async(&smem[(tile + 1) % 2][i], x + 256 * (tile + 1) + i);  // BUG
    }
    if (!kBad || tile + 1 < tiles) cp_async_commit();
    cp_async_wait<1>();
    __syncthreads();
    for (int j = threadIdx.x; j < 256; j += 64) {
      out[256 * tile + j] = smem[tile % 2][255 - j];  // BUG
    }
    __syncthreads();
  }
}

extern "C" __global__ void bad(const float* x, float* out, int tiles) {
  reverse_tiles<true>(x, out, tiles);
}
extern "C" __global__ void good(const float* x, float* out, int tiles) {
  reverse_tiles<false>(x, out, tiles);
}
