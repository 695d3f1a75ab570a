// Tiles stored to global memory by bulk copies, through one buffer.
// Bug:  the next tile is written into the buffer while the copy may still read it.
// Good: the thread that started the copy waits until it has read its source.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void double_tiles(const float* x, float* out) {
  __shared__ alignas(16) float tile[128];
  for (int i = 0; i < 4; ++i) {
    tile[threadIdx.x] = 2.0f * x[128 * i + threadIdx.x];  // BUG
    fence_proxy_async_shared();
    __syncthreads();
    if (threadIdx.x == 0) {
      bulk_store(out + 128 * i, tile, sizeof(tile));  // BUG
      bulk_commit();
      if (!kBad) bulk_wait_read<0>();
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) bulk_wait<0>();
}

extern "C" __global__ void bad(const float* x, float* out) { double_tiles<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { double_tiles<false>(x, out); }
