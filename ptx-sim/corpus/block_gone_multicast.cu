// Both blocks of a cluster get a tile by multicast; the second one has no rows of the result.
// Bug:  a block without rows leaves at once, and the tile is sent to a block that has exited.
// Good: it stays until its tile has come.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void reverse(const float* x, float* out, int n) {
  __shared__ alignas(16) float tile[32];
  __shared__ uint64_t full;
  const int i = 32 * cluster_rank() + threadIdx.x;
  if (kBad && i >= n) return;
  if (threadIdx.x == 0) {
    mbarrier_init(&full, 1);
    fence_mbarrier_init();
    mbarrier_arrive_expect(&full, sizeof(tile));
  }
  cluster_sync();
  if (i == 0) bulk_load_multicast(tile, x, sizeof(tile), &full, 3);  // BUG
  mbarrier_wait(&full, 0);
  if (i < n) out[i] = tile[31 - threadIdx.x];
}

extern "C" __global__ void bad(const float* x, float* out, int n) { reverse<true>(x, out, n); }
extern "C" __global__ void good(const float* x, float* out, int n) { reverse<false>(x, out, n); }
