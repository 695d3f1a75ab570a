// Tiles through two buffers with one barrier each: while one is read, the next is stored.
// Bug:  the next tile is stored into the buffer that the block reads, not into the other one.
// Good: a buffer is stored one barrier after its last read, and read one barrier after its stores.

template <bool kBad>
__device__ __forceinline__ void reverse_tiles(const float* x, float* out, unsigned tiles) {
  __shared__ float smem[2][128];
  const unsigned i = threadIdx.x;
  smem[0][i] = x[i];
  for (unsigned tile = 0; tile < tiles; ++tile) {
    __syncthreads();
    if (tile + 1 < tiles) {
      const unsigned next = kBad ? tile : tile + 1;
      smem[next % 2][i] = x[128 * (tile + 1) + i];  // BUG
    }
    out[128 * tile + i] = smem[tile % 2][127 - i];
  }
}

extern "C" __global__ void bad(const float* x, float* out, unsigned tiles) {
  reverse_tiles<true>(x, out, tiles);
}
extern "C" __global__ void good(const float* x, float* out, unsigned tiles) {
  reverse_tiles<false>(x, out, tiles);
}
