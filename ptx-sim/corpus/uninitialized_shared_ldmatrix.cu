// A 16 x 16 tile for ldmatrix, of which a partial problem fills eight rows.
// Bug:  the matrices of the lower rows are loaded although nothing was stored there.
// Good: rows behind the end are zeros; __syncwarp orders the stores before the load.
#include "ptx.cuh"

template <bool kBad>
__device__ __forceinline__ void load_matrices(const uint32_t* x, uint32_t* out, uint32_t rows) {
  constexpr uint32_t kPitch = 12;  // in words of two elements
  __shared__ __align__(16) uint32_t tile[16 * kPitch];
  const uint32_t lane = threadIdx.x;
  for (uint32_t i = lane; i < 16 * 8; i += 32) {
    const uint32_t row = i / 8;
    if (row < rows) {
      tile[row * kPitch + i % 8] = x[i];
    } else if (!kBad) {
      tile[row * kPitch + i % 8] = 0;
    }
  }
  __syncwarp();
  uint32_t matrix[4];
  ldmatrix_x4(matrix, &tile[lane % 16 * kPitch + lane / 16 * 4]);  // BUG
  for (uint32_t j = 0; j < 4; ++j) {
    out[4 * lane + j] = matrix[j];
  }
}

extern "C" __global__ void bad(const uint32_t* x, uint32_t* out, uint32_t rows) {
  load_matrices<true>(x, out, rows);
}
extern "C" __global__ void good(const uint32_t* x, uint32_t* out, uint32_t rows) {
  load_matrices<false>(x, out, rows);
}
