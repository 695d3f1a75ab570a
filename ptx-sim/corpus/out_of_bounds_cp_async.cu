// A tile filled by asynchronous copies of 16 bytes, from an array that ends within one of them.
// Bug:  whole copies read behind the array.
// Good: a copy reads what is left of the array and fills up with zeros; each thread waits for its
//       copies before the barrier, which shows them to the others.
#include "ptx.cuh"

template <bool kBad>
__device__ __forceinline__ void fill_tile(const float* x, float* out, int n) {
  __shared__ __align__(16) float tile[256];
  const int i = 4 * threadIdx.x;
  const int left = max(min(n - i, 4), 0);
  cp_async_tail(&tile[i], x + i, kBad ? 16 : 4 * left);  // BUG
  cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();
  for (int j = threadIdx.x; j < 256; j += 64) {
    out[j] = tile[j];
  }
}

extern "C" __global__ void bad(const float* x, float* out, int n) { fill_tile<true>(x, out, n); }
extern "C" __global__ void good(const float* x, float* out, int n) { fill_tile<false>(x, out, n); }
