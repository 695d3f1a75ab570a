// Gathers elements by index.
// Bug:  the assertion is off by one, and the last index of all is refused.
// Good: it allows every element of the array.
#include <cassert>

template <bool kBad>
__device__ __forceinline__ void gather(const unsigned* indices, unsigned* out, unsigned n) {
  const unsigned index = indices[threadIdx.x];
  assert(kBad ? index + 1 < n : index < n);  // BUG
  out[threadIdx.x] = index;
}

extern "C" __global__ void bad(const unsigned* indices, unsigned* out, unsigned n) {
  gather<true>(indices, out, n);
}
extern "C" __global__ void good(const unsigned* indices, unsigned* out, unsigned n) {
  gather<false>(indices, out, n);
}
