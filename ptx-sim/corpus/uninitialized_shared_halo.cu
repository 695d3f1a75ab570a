// Three-point sums over a tile in shared memory, with one element of halo on each side.
// Bug:  the right halo is never loaded.
// Good: the first thread loads the left halo, the last one the right; the barrier orders all stores
//       of the block before the reads.

template <bool kBad>
__device__ __forceinline__ void sums_of_three(const float* x, float* out) {
  __shared__ float tile[128 + 2];
  const unsigned i = threadIdx.x;
  tile[1 + i] = x[i];
  if (i == 0) tile[0] = 0.0f;
  if (!kBad && i == 127) tile[129] = 0.0f;
  __syncthreads();
  out[i] = tile[i] + tile[i + 1] + tile[i + 2];  // BUG
}

extern "C" __global__ void bad(const float* x, float* out) { sums_of_three<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { sums_of_three<false>(x, out); }
