// Moves an array into shared memory and clears it behind itself.
// Bug:  the array is cleared while copies may still read it.
// Good: a thread clears what it copied after it has waited for that copy.
#include "ptx.cuh"

template <bool kBad>
__device__ __forceinline__ void take(float4* x, float4* out) {
  __shared__ float4 tile[64];
  const unsigned i = threadIdx.x;
  cp_async(&tile[i], x + i);  // BUG
  cp_async_commit();
  if (!kBad) cp_async_wait<0>();
  x[i] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);  // BUG
  cp_async_wait<0>();
  out[i] = tile[i];
}

extern "C" __global__ void bad(float4* x, float4* out) { take<true>(x, out); }
extern "C" __global__ void good(float4* x, float4* out) { take<false>(x, out); }
