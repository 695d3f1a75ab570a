// Each thread counts the digits of its eight numbers in an array of its own.
// Bug:  numbers to the base 5 have a digit 4, and the array ends at 3.
// Good: to the base 4 every digit has its place.

template <bool kBad>
__device__ __forceinline__ void count_digits(const unsigned* x, unsigned* out) {
  const unsigned i = threadIdx.x;
  unsigned counts[4] = {};
#pragma unroll 1
  for (unsigned k = 0; k < 8; ++k) {
    const unsigned digit = x[8 * i + k] % (kBad ? 5 : 4);
    counts[digit] += 1;  // BUG
  }
#pragma unroll 1
  for (unsigned digit = 0; digit < 4; ++digit) {
    out[4 * i + digit] = counts[digit];
  }
}

extern "C" __global__ void bad(const unsigned* x, unsigned* out) { count_digits<true>(x, out); }
extern "C" __global__ void good(const unsigned* x, unsigned* out) { count_digits<false>(x, out); }
