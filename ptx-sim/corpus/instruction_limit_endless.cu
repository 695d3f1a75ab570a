// Greatest common divisor by subtraction.
// Bug:  with 0 the subtraction changes nothing, and the loop does not end.
// Good: 0 is taken out first.

template <bool kBad>
__device__ __forceinline__ void gcd(const unsigned* x, unsigned* out) {
  unsigned a = x[threadIdx.x];
  unsigned b = 12;
  if (!kBad && a == 0) a = b;
#pragma unroll 1
  while (a != b) {  // BUG
    if (a > b) {    // BUG
      a -= b;
    } else {
      b -= a;
    }
  }
  out[threadIdx.x] = a;
}

extern "C" __global__ void bad(const unsigned* x, unsigned* out) { gcd<true>(x, out); }
extern "C" __global__ void good(const unsigned* x, unsigned* out) { gcd<false>(x, out); }
