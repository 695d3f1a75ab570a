// Tiles of 8 rows of a matrix, loaded by tensor copies.
// Bug:  the second tile begins at row 7, which the first one has as well.
// Good: it begins at row 8.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void copy_rows(const TensorMap* x, float* out) {
  __shared__ alignas(128) float tiles[2][8][32];
  __shared__ uint64_t full;
  if (threadIdx.x == 0) {
    mbarrier_init(&full, 1);
    fence_mbarrier_init();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect(&full, sizeof(tiles));
    tensor_load(tiles[0], x, 0, 0, &full);
    tensor_load(tiles[1], x, 0, kBad ? 7 : 8, &full);  // BUG
  }
  mbarrier_wait(&full, 0);
  for (int i = threadIdx.x; i < 16 * 32; i += 128) out[i] = tiles[i / 256][i / 32 % 8][i % 32];
}

extern "C" __global__ void bad(const __grid_constant__ TensorMap x, float* out) {
  copy_rows<true>(&x, out);
}
extern "C" __global__ void good(const __grid_constant__ TensorMap x, float* out) {
  copy_rows<false>(&x, out);
}
