// Blocks add odd numbers to a sum under a lock.
// Bug:  a block with an even number leaves without giving the lock back.
// Good: the lock is given back on every path; fences stand after it is taken and before it is
//       given.

template <bool kBad>
__device__ __forceinline__ void add_odd(const unsigned* x, unsigned* lock, unsigned* out) {
  const unsigned value = x[blockIdx.x];
  while (atomicCAS(lock, 0, 1) != 0) {  // BUG
  }
  __threadfence();
  if (kBad && value % 2 == 0) return;
  if (value % 2 == 1) *out += value;
  __threadfence();
  atomicExch(lock, 0);
}

extern "C" __global__ void bad(const unsigned* x, unsigned* lock, unsigned* out) {
  add_odd<true>(x, lock, out);
}
extern "C" __global__ void good(const unsigned* x, unsigned* lock, unsigned* out) {
  add_odd<false>(x, lock, out);
}
