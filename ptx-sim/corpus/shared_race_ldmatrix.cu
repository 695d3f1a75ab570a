// A 16 x 16 tile of A is stored by two warps, and both multiply with it.
// Bug:  ldmatrix reads rows that the other warp stores.
// Good: the barrier orders the stores of both warps before the loads.
#include "ptx.cuh"

template <bool kBad>
__device__ __forceinline__ void multiply(const uint32_t* a, float* out) {
  constexpr uint32_t kPitch = 12;  // in words of two elements
  __shared__ __align__(16) uint32_t tile[16 * kPitch];
  // Cleared, so that a read which comes too early finds zeros rather than nothing.
  for (uint32_t i = threadIdx.x; i < 16 * kPitch; i += 64) {
    tile[i] = 0;
  }
  __syncthreads();
  for (uint32_t i = threadIdx.x; i < 16 * 8; i += 64) {
    tile[i / 8 * kPitch + i % 8] = a[i];  // BUG
  }
  if (!kBad) __syncthreads();
  const uint32_t lane = threadIdx.x % 32;
  uint32_t matrix[4];
  ldmatrix_x4(matrix, &tile[lane % 16 * kPitch + lane / 16 * 4]);  // BUG
  const uint32_t ones[2] = {0x3c003c00, 0x3c003c00};
  float acc[4] = {};
  mma_f16(acc, matrix, ones);
  for (uint32_t j = 0; j < 4; ++j) {
    out[4 * threadIdx.x + j] = acc[j];
  }
}

extern "C" __global__ void bad(const uint32_t* a, float* out) { multiply<true>(a, out); }
extern "C" __global__ void good(const uint32_t* a, float* out) { multiply<false>(a, out); }
