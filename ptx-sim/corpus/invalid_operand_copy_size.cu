// A tile filled by asynchronous copies of 16 bytes, whose last one has fewer to read.
// Bug:  the bytes that are left are not limited to the 16 of a copy.
// Good: they are; every thread reads what it copied itself, after its wait.
#include "ptx.cuh"

template <bool kBad>
__device__ __forceinline__ void fill_tile(const float* x, float* out, int n) {
  __shared__ __align__(16) float tile[256];
  const int i = 4 * threadIdx.x;
  const int left = 4 * max(n - i, 0);
  cp_async_tail(&tile[i], x + i, kBad ? left : min(left, 16));  // BUG
  cp_async_commit();
  cp_async_wait<0>();
  for (int j = i; j < i + 4; ++j) {
    out[j] = tile[j];
  }
}

extern "C" __global__ void bad(const float* x, float* out, int n) { fill_tile<true>(x, out, n); }
extern "C" __global__ void good(const float* x, float* out, int n) { fill_tile<false>(x, out, n); }
