// Sum over blocks by atomic additions.
// Bug:  atomicAdd_block is atomic towards the threads of its own block only.
// Good: atomicAdd is atomic towards all threads of the device.

template <bool kBad>
__device__ __forceinline__ void add(const unsigned* x, unsigned* out) {
  const unsigned value = x[blockIdx.x * blockDim.x + threadIdx.x];
  if (kBad) {
    atomicAdd_block(out, value);  // BUG
  } else {
    atomicAdd(out, value);
  }
}

extern "C" __global__ void bad(const unsigned* x, unsigned* out) { add<true>(x, out); }
extern "C" __global__ void good(const unsigned* x, unsigned* out) { add<false>(x, out); }
