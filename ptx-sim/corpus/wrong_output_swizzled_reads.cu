// A tile of a matrix, loaded in the swizzle of 128 bytes.
// Bug:  it is read as if its rows lay as they do in the matrix.
// Good: the 16 bytes of a column are sought where the swizzle has put them.
#include "hopper.cuh"

template <bool kBad>
__device__ __forceinline__ void copy_rows(const TensorMap* x, float* out) {
  __shared__ alignas(1024) float tile[8][32];
  __shared__ uint64_t full;
  if (threadIdx.x == 0) {
    mbarrier_init(&full, 1);
    fence_mbarrier_init();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect(&full, sizeof(tile));
    tensor_load(tile, x, 0, 0, &full);
  }
  mbarrier_wait(&full, 0);
  for (int i = threadIdx.x; i < 8 * 32; i += 128) {
    const int row = i / 32, column = i % 32;
    out[i] = tile[row][kBad ? column : column ^ 4 * row];  // BUG
  }
}

extern "C" __global__ void bad(const __grid_constant__ TensorMap x, float* out) {
  copy_rows<true>(&x, out);
}
extern "C" __global__ void good(const __grid_constant__ TensorMap x, float* out) {
  copy_rows<false>(&x, out);
}
