// Two blocks of a cluster store into each other's shared memory.
// Bug:  the first store may come before the other block has started.
// Good: a barrier of the cluster at the start.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void exchange(const float* x, float* out) {
  __shared__ float inbox[32];
  const int rank = cluster_rank();
  if (!kBad) cluster_sync();
  store_cluster(mapa(&inbox[threadIdx.x], rank ^ 1), x[32 * rank + threadIdx.x]);  // BUG
  cluster_sync();
  out[32 * rank + threadIdx.x] = inbox[threadIdx.x];
}

extern "C" __global__ void bad(const float* x, float* out) { exchange<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { exchange<false>(x, out); }
