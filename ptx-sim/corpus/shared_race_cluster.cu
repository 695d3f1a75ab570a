// Two blocks of a cluster read each other's shared memory.
// Bug:  a barrier of the block does not order the other block's stores before the reads.
// Good: a barrier of the cluster does.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void exchange(const float* x, float* out) {
  __shared__ float tile[32];
  const int rank = cluster_rank();
  tile[threadIdx.x] = 0.0f;
  cluster_sync();
  tile[threadIdx.x] = x[32 * rank + threadIdx.x];  // BUG
  if (kBad) __syncthreads();
  if (!kBad) cluster_sync();
  out[32 * rank + threadIdx.x] = load_cluster(mapa(&tile[threadIdx.x], rank ^ 1));  // BUG
  cluster_sync();
}

extern "C" __global__ void bad(const float* x, float* out) { exchange<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { exchange<false>(x, out); }
