// Two blocks each write 128 elements.
// Bug:  the blocks' ranges overlap by 8 elements.
// Good: each block has a range of its own.

template <bool kBad>
__device__ __forceinline__ void write_ranges(unsigned* out) {
  const unsigned first = blockIdx.x * (kBad ? 120 : 128);
  out[first + threadIdx.x] = blockIdx.x;  // BUG
}

extern "C" __global__ void bad(unsigned* out) { write_ranges<true>(out); }
extern "C" __global__ void good(unsigned* out) { write_ranges<false>(out); }
