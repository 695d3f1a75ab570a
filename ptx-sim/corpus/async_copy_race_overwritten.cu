// A tile whose rows behind the end of the array are zeros.
// Bug:  the zeros are stored into all rows, also where copies are under way.
// Good: copies and zeros go to different rows; every thread waits for its copies before the
//       barrier.
#include "ptx.cuh"

template <bool kBad>
__device__ __forceinline__ void fill_tile(const float* x, float* out, int rows) {
  __shared__ __align__(16) float tile[16][16];
  const int row = threadIdx.x / 4;
  const int col = 4 * (threadIdx.x % 4);
  if (row < rows) {
    cp_async(&tile[row][col], x + 16 * row + col);  // BUG
  }
  cp_async_commit();
  if (kBad || row >= rows) {
    tile[row][col] = tile[row][col + 1] = tile[row][col + 2] = tile[row][col + 3] = 0.0f;  // BUG
  }
  cp_async_wait<0>();
  __syncthreads();
  for (int j = threadIdx.x; j < 256; j += 64) {
    out[j] = tile[j / 16][j % 16];
  }
}

extern "C" __global__ void bad(const float* x, float* out, int rows) {
  fill_tile<true>(x, out, rows);
}
extern "C" __global__ void good(const float* x, float* out, int rows) {
  fill_tile<false>(x, out, rows);
}
