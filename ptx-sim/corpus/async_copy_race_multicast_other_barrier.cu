// Both blocks of a cluster get a tile by multicast.
// Bug:  the first one waits for its own tile, then both pass a barrier of the cluster: the second
//       one's may still be under way.
// Good: each waits for its own mbarrier.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void reverse(const float* x, float* out) {
  __shared__ alignas(16) float tile[32];
  __shared__ uint64_t full;
  const int rank = cluster_rank();
  if (threadIdx.x == 0) {
    mbarrier_init(&full, 1);
    fence_mbarrier_init();
    mbarrier_arrive_expect(&full, sizeof(tile));
  }
  cluster_sync();
  if (rank == 0 && threadIdx.x == 0) {
    bulk_load_multicast(tile, x, sizeof(tile), &full, 3);  // BUG
  }
  if (!kBad || rank == 0) mbarrier_wait(&full, 0);
  cluster_sync();
  out[32 * rank + threadIdx.x] = tile[31 - threadIdx.x];  // BUG
}

extern "C" __global__ void bad(const float* x, float* out) { reverse<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { reverse<false>(x, out); }
