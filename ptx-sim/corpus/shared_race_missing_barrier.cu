// Tiled transpose: a 32 x 32 tile is stored by rows and read by columns.
// Bug:  a thread reads elements that other warps store, and nothing orders the two.
// Good: the barrier orders all stores of the block before all its reads.

template <bool kBad>
__device__ __forceinline__ void transpose(const float* x, float* out) {
  __shared__ float tile[32][33];
  // Cleared, so that a read which comes too early finds zeros rather than nothing.
  for (unsigned row = threadIdx.y; row < 32; row += 8) {
    tile[row][threadIdx.x] = 0.0f;
  }
  __syncthreads();
  for (unsigned row = threadIdx.y; row < 32; row += 8) {
    tile[row][threadIdx.x] = x[32 * row + threadIdx.x];  // BUG
  }
  if (!kBad) __syncthreads();
  for (unsigned row = threadIdx.y; row < 32; row += 8) {
    out[32 * row + threadIdx.x] = tile[threadIdx.x][row];  // BUG
  }
}

extern "C" __global__ void bad(const float* x, float* out) { transpose<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { transpose<false>(x, out); }
