// Two warps sum up tiles, with a barrier around each tile.
// Bug:  the second warp has fewer tiles: it waits behind the loop while the first one waits within.
// Good: both turn as often, and the guard is around the work.

template <bool kBad>
__device__ __forceinline__ void sum_tiles(const float* x, float* out) {
  __shared__ float total[64];
  const unsigned i = threadIdx.x;
  const unsigned tiles = 4 - i / 32;
  float sum = 0.0f;
#pragma unroll 1
  for (unsigned tile = 0; tile < (kBad ? tiles : 4); ++tile) {
    __syncthreads();  // BUG
    if (tile < tiles) sum += x[64 * tile + i];
  }
  total[i] = sum;
  __syncthreads();  // BUG
  out[i] = total[63 - i];
}

extern "C" __global__ void bad(const float* x, float* out) { sum_tiles<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { sum_tiles<false>(x, out); }
