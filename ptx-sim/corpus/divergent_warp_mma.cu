// Multiplies a 16 x 16 tile of ones with a 16 x 8 tile of ones on the tensor cores.
// Bug:  the rows behind the end are guarded by lane: half a warp executes mma.
// Good: the whole warp executes mma, and the guard is on the stores.
#include "ptx.cuh"

template <bool kBad>
__device__ __forceinline__ void multiply(float* out, uint32_t rows) {
  const uint32_t row = threadIdx.x / 4;
  const uint32_t a[4] = {0x3c003c00, 0x3c003c00, 0x3c003c00, 0x3c003c00};
  const uint32_t b[2] = {0x3c003c00, 0x3c003c00};
  float acc[4] = {};
  if (!kBad || row < rows) {
    mma_f16(acc, a, b);  // BUG
  }
  if (row < rows) {
    out[8 * row + threadIdx.x % 4 * 2] = acc[0];
    out[8 * row + threadIdx.x % 4 * 2 + 1] = acc[1];
  }
}

extern "C" __global__ void bad(float* out, uint32_t rows) { multiply<true>(out, rows); }
extern "C" __global__ void good(float* out, uint32_t rows) { multiply<false>(out, rows); }
