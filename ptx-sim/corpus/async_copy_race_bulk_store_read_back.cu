// A tile stored to a workspace by a bulk copy, and read from there by the same thread.
// Bug:  wait_group.read waits until the tile has been read, not until it has been written.
// Good: wait_group waits for both.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void reverse(const float* x, float* workspace, float* out) {
  __shared__ alignas(16) float tile[128];
  tile[threadIdx.x] = x[threadIdx.x];
  fence_proxy_async_shared();
  __syncthreads();
  if (threadIdx.x == 0) {
    bulk_store(workspace, tile, sizeof(tile));  // BUG
    bulk_commit();
    if (kBad) bulk_wait_read<0>();
    if (!kBad) bulk_wait<0>();
    fence_proxy_async_global();
    for (int i = 0; i < 128; ++i) out[i] = workspace[127 - i];  // BUG
  }
}

extern "C" __global__ void bad(const float* x, float* workspace, float* out) {
  reverse<true>(x, workspace, out);
}
extern "C" __global__ void good(const float* x, float* workspace, float* out) {
  reverse<false>(x, workspace, out);
}
