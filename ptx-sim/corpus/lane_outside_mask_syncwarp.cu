// Lanes of a warp exchange values through shared memory.
// Bug:  all lanes execute a __syncwarp whose mask names half of them.
// Good: the mask names all lanes; __syncwarp orders their stores before their reads.

template <bool kBad>
__device__ __forceinline__ void reverse(const float* x, float* out) {
  __shared__ float smem[32];
  const unsigned lane = threadIdx.x;
  smem[lane] = x[lane];
  __syncwarp(kBad ? 0x0000ffff : 0xffffffff);  // BUG
  out[lane] = smem[31 - lane];
}

extern "C" __global__ void bad(const float* x, float* out) { reverse<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { reverse<false>(x, out); }
