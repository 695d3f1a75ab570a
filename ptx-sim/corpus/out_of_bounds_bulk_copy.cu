// The last tile of an array, loaded by a bulk copy: it is shorter than the others.
// Bug:  a whole tile is copied, past the end of the array.
// Good: what there is.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void copy_tail(const float* x, float* out, int n) {
  __shared__ alignas(16) float tile[128];
  __shared__ uint64_t full;
  if (threadIdx.x == 0) {
    mbarrier_init(&full, 1);
    fence_mbarrier_init();
  }
  __syncthreads();
  const uint32_t bytes = kBad ? sizeof(tile) : n * sizeof(float);
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect(&full, bytes);
    bulk_load(tile, x, bytes, &full);  // BUG
  }
  mbarrier_wait(&full, 0);
  if (threadIdx.x < n) out[threadIdx.x] = tile[threadIdx.x];
}

extern "C" __global__ void bad(const float* x, float* out, int n) { copy_tail<true>(x, out, n); }
extern "C" __global__ void good(const float* x, float* out, int n) { copy_tail<false>(x, out, n); }
