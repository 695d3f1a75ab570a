// Tiles of 8 rows of a matrix, loaded by tensor copies; the map's box has 8 rows.
// Bug:  the mbarrier is told of 9 rows: a box of one more is what the kernel was written for.
// Good: it is told of 8.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void copy_rows(const TensorMap* x, float* out) {
  constexpr int kRows = kBad ? 9 : 8;
  __shared__ alignas(128) float tile[kRows][32];
  __shared__ uint64_t full;
  if (threadIdx.x == 0) {
    mbarrier_init(&full, 1);
    fence_mbarrier_init();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect(&full, sizeof(tile));
    tensor_load(tile, x, 0, 8, &full);
  }
  mbarrier_wait(&full, 0);  // BUG
  for (int i = threadIdx.x; i < 8 * 32; i += 128) out[i] = tile[i / 32][i % 32];
}

extern "C" __global__ void bad(const __grid_constant__ TensorMap x, float* out) {
  copy_rows<true>(&x, out);
}
extern "C" __global__ void good(const __grid_constant__ TensorMap x, float* out) {
  copy_rows<false>(&x, out);
}
