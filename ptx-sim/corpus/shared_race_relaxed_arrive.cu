// A block stores into the other one's shared memory, and arrives at that block's mbarrier.
// Bug:  the arrival is relaxed: it does not order the stores before what follows the wait.
// Good: it is a release at the scope of the cluster, and the wait an acquire.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void send(const float* x, float* out) {
  __shared__ float inbox[32];
  __shared__ uint64_t full;
  const int rank = cluster_rank();
  inbox[threadIdx.x] = 0.0f;
  if (threadIdx.x == 0) {
    mbarrier_init(&full, 32);
    fence_mbarrier_init();
  }
  cluster_sync();
  if (rank == 0) {
    store_cluster(mapa(&inbox[threadIdx.x], 1), x[threadIdx.x]);  // BUG
    if (kBad) mbarrier_arrive_cluster_relaxed(mapa(&full, 1));
    if (!kBad) mbarrier_arrive_cluster(mapa(&full, 1));
  } else {
    mbarrier_wait_cluster(&full, 0);
    out[threadIdx.x] = inbox[31 - threadIdx.x];  // BUG
  }
  cluster_sync();
}

extern "C" __global__ void bad(const float* x, float* out) { send<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { send<false>(x, out); }
