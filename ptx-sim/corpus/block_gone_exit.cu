// Two blocks of a cluster read each other's shared memory.
// Bug:  a block may exit while the other one has yet to read.
// Good: a barrier of the cluster at the end.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void exchange(const float* x, float* out) {
  __shared__ float tile[32];
  const int rank = cluster_rank();
  tile[threadIdx.x] = x[32 * rank + threadIdx.x];
  cluster_sync();
  out[32 * rank + threadIdx.x] = load_cluster(mapa(&tile[threadIdx.x], rank ^ 1));  // BUG
  if (!kBad) cluster_sync();
}

extern "C" __global__ void bad(const float* x, float* out) { exchange<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { exchange<false>(x, out); }
