// A critical section under a lock, entered by every thread.
// Bug:  the lock is given back without a fence: the next owner need not see the section's stores.
// Good: a fence follows the lock and another one precedes its release. A lane that has the lock
//       does not wait for others of its warp, so that they cannot block each other.

template <bool kBad>
__device__ __forceinline__ void add(const unsigned* x, unsigned* lock, unsigned* out) {
  const unsigned value = x[blockIdx.x * blockDim.x + threadIdx.x];
  bool done = false;
  while (!done) {
    if (atomicCAS(lock, 0, 1) == 0) {
      __threadfence();
      *out += value;  // BUG
      if (!kBad) __threadfence();
      atomicExch(lock, 0);
      done = true;
    }
  }
}

extern "C" __global__ void bad(const unsigned* x, unsigned* lock, unsigned* out) {
  add<true>(x, lock, out);
}
extern "C" __global__ void good(const unsigned* x, unsigned* lock, unsigned* out) {
  add<false>(x, lock, out);
}
