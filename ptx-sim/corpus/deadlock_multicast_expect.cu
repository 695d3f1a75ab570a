// Both blocks of a cluster get a tile by multicast, which the first one starts.
// Bug:  it announces the bytes to its own mbarrier alone: the other one's phase does not end.
// Good: each block announces what it will get.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void reverse(const float* x, float* out) {
  __shared__ alignas(16) float tile[32];
  __shared__ uint64_t full;
  const int rank = cluster_rank();
  if (threadIdx.x == 0) {
    mbarrier_init(&full, 1);
    fence_mbarrier_init();
    if (!kBad || rank == 0) mbarrier_arrive_expect(&full, sizeof(tile));
  }
  cluster_sync();
  if (rank == 0 && threadIdx.x == 0) bulk_load_multicast(tile, x, sizeof(tile), &full, 3);
  mbarrier_wait(&full, 0);  // BUG
  out[32 * rank + threadIdx.x] = tile[31 - threadIdx.x];
  cluster_sync();
}

extern "C" __global__ void bad(const float* x, float* out) { reverse<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { reverse<false>(x, out); }
