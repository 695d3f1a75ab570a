// The other two blocks of a cluster add to a sum in the first one's shared memory, asynchronously.
// Bug:  the additions are announced for one block: the mbarrier opens while others are under way.
// Good: they are announced for both.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void add(unsigned* out) {
  __shared__ uint32_t sum[32];
  __shared__ uint64_t full;
  sum[threadIdx.x] = 0;
  if (threadIdx.x == 0) {
    mbarrier_init(&full, 1);
    fence_mbarrier_init();
    mbarrier_arrive_expect(&full, (kBad ? 1 : 2) * sizeof(sum));
  }
  fence_proxy_async_shared();
  cluster_sync();
  if (cluster_rank() != 0) {
    add_async(mapa(&sum[threadIdx.x], 0), threadIdx.x + 1, mapa(&full, 0));  // BUG
  }
  cluster_sync();
  if (cluster_rank() == 0) {
    mbarrier_wait_cluster(&full, 0);
    out[threadIdx.x] = sum[31 - threadIdx.x];  // BUG
  }
  cluster_sync();
}

extern "C" __global__ void bad(unsigned* out) { add<true>(out); }
extern "C" __global__ void good(unsigned* out) { add<false>(out); }
