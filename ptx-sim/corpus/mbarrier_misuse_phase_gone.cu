// A thread arrives at an mbarrier in three phases, and remembers the arrivals' states.
// Bug:  it then waits for the first one, which is two phases old: an mbarrier knows the phase that
//       it is in and the one before.
// Good: it waits for the last one.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void copy(const float* x, float* out) {
  __shared__ uint64_t bar[32];
  mbarrier_init(&bar[threadIdx.x], 1);
  const uint64_t first = mbarrier_arrive_state(&bar[threadIdx.x]);
  mbarrier_arrive(&bar[threadIdx.x]);
  const uint64_t last = mbarrier_arrive_state(&bar[threadIdx.x]);
  mbarrier_wait_state(&bar[threadIdx.x], kBad ? first : last);  // BUG
  out[threadIdx.x] = x[threadIdx.x];
}

extern "C" __global__ void bad(const float* x, float* out) { copy<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { copy<false>(x, out); }
