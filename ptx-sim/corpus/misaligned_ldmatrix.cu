// A 16 x 16 tile of 16-bit elements, stored row by row and loaded as matrices.
// Bug:  rows padded to 40 bytes do not all start at multiples of 16, which ldmatrix needs.
// Good: rows padded to 48 bytes do, and still fall into different banks; __syncwarp orders the
//       stores before the load.
#include "ptx.cuh"

template <bool kBad>
__device__ __forceinline__ void load_matrices(const uint32_t* x, uint32_t* out) {
  constexpr uint32_t kPitch = kBad ? 10 : 12;  // in words of two elements
  __shared__ __align__(16) uint32_t tile[16 * kPitch];
  const uint32_t lane = threadIdx.x;
  for (uint32_t i = lane; i < 16 * 8; i += 32) {
    tile[i / 8 * kPitch + i % 8] = x[i];
  }
  __syncwarp();
  uint32_t matrix[4];
  ldmatrix_x4(matrix, &tile[lane % 16 * kPitch + lane / 16 * 4]);  // BUG
  for (uint32_t j = 0; j < 4; ++j) {
    out[4 * lane + j] = matrix[j];
  }
}

extern "C" __global__ void bad(const uint32_t* x, uint32_t* out) { load_matrices<true>(x, out); }
extern "C" __global__ void good(const uint32_t* x, uint32_t* out) { load_matrices<false>(x, out); }
