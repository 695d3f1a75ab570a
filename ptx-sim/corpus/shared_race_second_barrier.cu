// Each block walks over tiles: loads one, barrier, reads it in reverse.
// Bug:  the next tile is stored while slower warps still read this one.
// Good: a second barrier orders the reads of a tile before the stores of the next.

template <bool kBad>
__device__ __forceinline__ void reverse_tiles(const float* x, float* out, unsigned tiles) {
  __shared__ float smem[128];
  const unsigned i = threadIdx.x;
  for (unsigned tile = 0; tile < tiles; ++tile) {
    smem[i] = x[128 * tile + i];  // BUG
    __syncthreads();
    out[128 * tile + i] = smem[127 - i];
    if (!kBad) __syncthreads();
  }
}

extern "C" __global__ void bad(const float* x, float* out, unsigned tiles) {
  reverse_tiles<true>(x, out, tiles);
}
extern "C" __global__ void good(const float* x, float* out, unsigned tiles) {
  reverse_tiles<false>(x, out, tiles);
}
