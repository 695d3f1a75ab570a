// Blocks count themselves and report the total. They are so large that only one fits a
// multiprocessor, and there is one more of them than the device has multiprocessors.
// Bug:  each block waits until all have counted: the last one cannot start before another one ends.
// Good: nobody waits: the block that comes last reports. The counter is atomic.

extern __shared__ unsigned large[];

template <bool kBad>
__device__ __forceinline__ void count_blocks(unsigned* counter, unsigned* out) {
  if (threadIdx.x != 0) return;
  large[0] = atomicAdd(counter, 1) + 1;
  if (kBad) {
    while (*static_cast<volatile unsigned*>(counter) < gridDim.x) {  // BUG
    }
  }
  if (large[0] == gridDim.x) *out = large[0];
}

extern "C" __global__ void bad(unsigned* counter, unsigned* out) {
  count_blocks<true>(counter, out);
}
extern "C" __global__ void good(unsigned* counter, unsigned* out) {
  count_blocks<false>(counter, out);
}
