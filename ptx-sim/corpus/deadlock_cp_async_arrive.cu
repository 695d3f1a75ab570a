// Copies by cp.async, whose completion arrives at an mbarrier that counts all threads.
// Bug:  without .noinc the mbarrier is told of each such arrival beforehand: those that it was
//       initialised for never come.
// Good: .noinc, so that the copies make the arrivals that it waits for.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void reverse(const float* x, float* out) {
  __shared__ alignas(16) float tile[512];
  __shared__ uint64_t full;
  if (threadIdx.x == 0) mbarrier_init(&full, 128);
  __syncthreads();
  const int i = 4 * threadIdx.x;
  cp_async(&tile[i], x + i);
  if (kBad) cp_async_mbarrier_arrive(&full);
  if (!kBad) cp_async_mbarrier_arrive_noinc(&full);
  mbarrier_wait(&full, 0);  // BUG
  for (int j = threadIdx.x; j < 512; j += 128) out[j] = tile[511 - j];
}

extern "C" __global__ void bad(const float* x, float* out) { reverse<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { reverse<false>(x, out); }
