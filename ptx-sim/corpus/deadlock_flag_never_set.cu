// A producer warp tells a consumer warp through a flag in shared memory that it has found a value.
// Bug:  where it finds none, the flag is never set.
// Good: the flag is set in any case. Fences on both sides order the value with the flag.

template <bool kBad>
__device__ __forceinline__ void find(const unsigned* x, unsigned* out) {
  __shared__ unsigned found;
  __shared__ volatile unsigned flag;
  if (threadIdx.x == 0) flag = 0;
  __syncthreads();
  if (threadIdx.x == 0) {
    const bool any = x[0] > 100;
    found = any ? x[0] : 0xffffffff;
    __threadfence_block();
    if (any || !kBad) flag = 1;
  } else if (threadIdx.x == 32) {
    while (flag == 0) {  // BUG
    }
    __threadfence_block();
    *out = found;
  }
}

extern "C" __global__ void bad(const unsigned* x, unsigned* out) { find<true>(x, out); }
extern "C" __global__ void good(const unsigned* x, unsigned* out) { find<false>(x, out); }
