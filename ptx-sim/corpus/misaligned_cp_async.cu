// A tile that starts at the second element of an array, filled by asynchronous copies.
// Bug:  a copy of 16 bytes needs an address that is a multiple of 16, also in global memory.
// Good: four copies of 4 bytes; every thread reads what it copied itself, after its wait.
#include "ptx.cuh"

template <bool kBad>
__device__ __forceinline__ void fill_tile(const float* x, float* out) {
  __shared__ __align__(16) float tile[128];
  const int i = 4 * threadIdx.x;
  if (kBad) {
    cp_async(&tile[i], x + 1 + i);  // BUG
  } else {
    for (int j = i; j < i + 4; ++j) {
      cp_async_word(&tile[j], x + 1 + j);
    }
  }
  cp_async_commit();
  cp_async_wait<0>();
  for (int j = i; j < i + 4; ++j) {
    out[j] = tile[j];
  }
}

extern "C" __global__ void bad(const float* x, float* out) { fill_tile<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { fill_tile<false>(x, out); }
