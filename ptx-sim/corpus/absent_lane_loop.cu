// A warp counts the odd ones of 40 numbers, 32 at a time.
// Bug:  in the second turn 8 lanes are in the loop, and the full mask calls for all; the others
// wait
//       behind the loop.
// Good: all lanes turn as often; those behind the end vote no.

template <bool kBad>
__device__ __forceinline__ void count_odd(const unsigned* x, unsigned* out, unsigned n) {
  const unsigned lane = threadIdx.x;
  const unsigned end = kBad ? n : (n + 31) / 32 * 32;
  unsigned count = 0;
#pragma unroll 1
  for (unsigned i = lane; i < end; i += 32) {
    count += __popc(__ballot_sync(0xffffffff, i < n && x[i] % 2 == 1));  // BUG
  }
  out[lane] = __shfl_sync(0xffffffff, count, 0);  // BUG
}

extern "C" __global__ void bad(const unsigned* x, unsigned* out, unsigned n) {
  count_odd<true>(x, out, n);
}
extern "C" __global__ void good(const unsigned* x, unsigned* out, unsigned n) {
  count_odd<false>(x, out, n);
}
