// Blocks draw numbers from a counter and note how many had been drawn before they came.
// Bug:  the note is a plain read of what other blocks change atomically.
// Good: an atomic read may meet atomic additions in any order.

template <bool kBad>
__device__ __forceinline__ void draw(unsigned* counter, unsigned* notes, unsigned* out) {
  if (threadIdx.x == 0) {
    notes[blockIdx.x] = kBad ? *counter : atomicAdd(counter, 0);  // BUG
    out[atomicAdd(counter, 1)] = 1;                               // BUG
  }
}

extern "C" __global__ void bad(unsigned* counter, unsigned* notes, unsigned* out) {
  draw<true>(counter, notes, out);
}
extern "C" __global__ void good(unsigned* counter, unsigned* notes, unsigned* out) {
  draw<false>(counter, notes, out);
}
