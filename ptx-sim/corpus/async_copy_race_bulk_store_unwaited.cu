// Rows added to a sum in global memory by bulk reductions; thread 0 then reads the sum.
// Bug:  the reductions are never committed to the group that is waited for.
// Good: they are, and the wait covers them.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void add_rows(const float* x, float* sum, float* out) {
  __shared__ alignas(16) float rows[4][32];
  rows[threadIdx.x / 32][threadIdx.x % 32] = x[threadIdx.x];
  fence_proxy_async_shared();
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int row = 0; row < 4; ++row) {
    bulk_reduce_add_f32(sum, rows[row], sizeof(rows[row]));  // BUG
  }
  if (!kBad) bulk_commit();
  bulk_wait<0>();
  fence_proxy_async_global();
  for (int i = 0; i < 32; ++i) out[i] = sum[i];  // BUG
}

extern "C" __global__ void bad(const float* x, float* sum, float* out) {
  add_rows<true>(x, sum, out);
}
extern "C" __global__ void good(const float* x, float* sum, float* out) {
  add_rows<false>(x, sum, out);
}
