// A persistent block draws tile numbers from a counter; thread 0 tells them to the others.
// Bug:  the next number replaces this one while slower warps have not read it yet.
// Good: a barrier after the number is stored, and another one after all have read it.

template <bool kBad>
__device__ __forceinline__ void work(unsigned* counter, unsigned* out, unsigned tiles) {
  __shared__ unsigned next;
  while (true) {
    if (threadIdx.x == 0) {
      next = atomicAdd(counter, 1);  // BUG
    }
    __syncthreads();
    const unsigned tile = next;  // BUG
    if (!kBad) __syncthreads();
    if (tile >= tiles) break;
    out[tile * blockDim.x + threadIdx.x] = tile;
  }
}

extern "C" __global__ void bad(unsigned* counter, unsigned* out, unsigned tiles) {
  work<true>(counter, out, tiles);
}
extern "C" __global__ void good(unsigned* counter, unsigned* out, unsigned tiles) {
  work<false>(counter, out, tiles);
}
