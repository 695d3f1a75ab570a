// A block stores into the other one's shared memory, asynchronously.
// Bug:  a barrier of the cluster does not wait for st.async.
// Good: the mbarrier that it signals does.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void send(const float* x, float* out) {
  __shared__ float inbox[32];
  __shared__ uint64_t full;
  const int rank = cluster_rank();
  if (threadIdx.x == 0) {
    mbarrier_init(&full, 1);
    fence_mbarrier_init();
    mbarrier_arrive_expect(&full, sizeof(inbox));
  }
  cluster_sync();
  if (rank == 0) {
    store_async(mapa(&inbox[threadIdx.x], 1), x[threadIdx.x], mapa(&full, 1));  // BUG
  }
  cluster_sync();
  if (rank == 1) {
    if (!kBad) mbarrier_wait_cluster(&full, 0);
    out[threadIdx.x] = inbox[31 - threadIdx.x];  // BUG
  }
}

extern "C" __global__ void bad(const float* x, float* out) { send<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { send<false>(x, out); }
