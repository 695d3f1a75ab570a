// Each thread counts the odd ones of its numbers atomically.
// Bug:  the counter is the thread's own variable, and there are no atomics on local memory.
// Good: the counter is the thread's element of the output.

template <bool kBad>
__device__ __forceinline__ void count_odd(const unsigned* x, unsigned* out) {
  const unsigned i = threadIdx.x;
  unsigned own = 0;
  unsigned* counter = kBad ? &own : &out[i];
  // The compiler loses sight of the pointer, as at a call into another file.
  asm volatile("" : "+l"(counter)::"memory");
  for (unsigned k = 0; k < 8; ++k) {
    if (x[8 * i + k] % 2 == 1) {
      atomicAdd(counter, 1);  // BUG
    }
  }
  if (kBad) out[i] = own;
}

extern "C" __global__ void bad(const unsigned* x, unsigned* out) { count_odd<true>(x, out); }
extern "C" __global__ void good(const unsigned* x, unsigned* out) { count_odd<false>(x, out); }
