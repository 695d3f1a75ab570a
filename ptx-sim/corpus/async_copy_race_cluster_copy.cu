// A block copies a tile into the other one's shared memory, and makes the next one in its place.
// Bug:  the next tile is stored while the copy may still read this one.
// Good: it waits until the other block has its tile.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void send(const float* x, float* out) {
  __shared__ alignas(16) float tile[32];
  __shared__ alignas(16) float inbox[32];
  __shared__ uint64_t full;
  const int rank = cluster_rank();
  tile[threadIdx.x] = x[32 * rank + threadIdx.x];
  if (threadIdx.x == 0) {
    mbarrier_init(&full, 1);
    fence_mbarrier_init();
    mbarrier_arrive_expect(&full, sizeof(inbox));
  }
  fence_proxy_async_shared();
  cluster_sync();
  if (threadIdx.x == 0) {
    bulk_copy_cluster(mapa(inbox, rank ^ 1), tile, sizeof(tile), mapa(&full, rank ^ 1));  // BUG
  }
  if (!kBad) {
    mbarrier_wait_cluster(&full, 0);
    cluster_sync();
  }
  __syncthreads();
  tile[threadIdx.x] = 1.0f;  // BUG
  if (kBad) mbarrier_wait_cluster(&full, 0);
  out[32 * rank + threadIdx.x] = inbox[threadIdx.x] + tile[threadIdx.x];
  cluster_sync();
}

extern "C" __global__ void bad(const float* x, float* out) { send<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { send<false>(x, out); }
