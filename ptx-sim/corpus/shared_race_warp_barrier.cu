// Tiled transpose whose threads read what other warps stored.
// Bug:  __syncwarp orders the lanes of one warp only.
// Good: __syncthreads orders all stores of the block before its reads.

template <bool kBad>
__device__ __forceinline__ void transpose(const float* x, float* out) {
  __shared__ float tile[16][17];
  const unsigned i = 16 * threadIdx.y + threadIdx.x;
  // Cleared, so that a read which comes too early finds zeros rather than nothing.
  tile[threadIdx.y][threadIdx.x] = 0.0f;
  __syncthreads();
  tile[threadIdx.y][threadIdx.x] = x[i];  // BUG
  if (kBad) {
    __syncwarp();
  } else {
    __syncthreads();
  }
  out[i] = tile[threadIdx.x][threadIdx.y];  // BUG
}

extern "C" __global__ void bad(const float* x, float* out) { transpose<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { transpose<false>(x, out); }
