// A block reads the shared memory of the other one of its cluster, late.
// Bug:  the block that is read does not wait for that, and exits.
// Good: it waits.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void exchange(const float* x, float* out) {
  __shared__ float tile[32];
  const int rank = cluster_rank();
  tile[threadIdx.x] = x[32 * rank + threadIdx.x];
  cluster_sync();
  if (rank == 0) {
    // Threads that have exited count as arrived.
    cluster_sync();
    out[threadIdx.x] = load_cluster(mapa(&tile[threadIdx.x], 1));  // BUG
    cluster_sync();
  } else if (!kBad) {
    cluster_sync();
    cluster_sync();
  }
}

extern "C" __global__ void bad(const float* x, float* out) { exchange<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { exchange<false>(x, out); }
