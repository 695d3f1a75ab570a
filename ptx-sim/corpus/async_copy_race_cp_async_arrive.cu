// Copies by cp.async, each thread's followed by an arrival at an mbarrier.
// Bug:  an ordinary arrival does not wait for the thread's copies.
// Good: cp.async.mbarrier.arrive comes when they are complete.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void reverse(const float* x, float* out) {
  __shared__ alignas(16) float tile[512];
  __shared__ uint64_t full;
  if (threadIdx.x == 0) mbarrier_init(&full, 128);
  __syncthreads();
  const int i = 4 * threadIdx.x;
  cp_async(&tile[i], x + i);  // BUG
  if (kBad) mbarrier_arrive(&full);
  if (!kBad) cp_async_mbarrier_arrive_noinc(&full);
  mbarrier_wait(&full, 0);
  for (int j = threadIdx.x; j < 512; j += 128) out[j] = tile[511 - j];  // BUG
}

extern "C" __global__ void bad(const float* x, float* out) { reverse<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { reverse<false>(x, out); }
