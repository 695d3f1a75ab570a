// A table in constant memory that the kernel updates while it uses it.
// Bug:  the const_cast compiles, but a kernel cannot write constant memory.
// Good: the update goes to the output.

__constant__ float table[32] = {1.0f, 2.0f, 3.0f, 4.0f};

template <bool kBad>
__device__ __forceinline__ void update(float* out) {
  const unsigned i = threadIdx.x;
  float* destination = kBad ? const_cast<float*>(table) : out;
  // The compiler loses sight of the pointer, as at a call into another file.
  asm volatile("" : "+l"(destination));
  destination[i] = 1.0f + table[i];  // BUG
}

extern "C" __global__ void bad(float* out) { update<true>(out); }
extern "C" __global__ void good(float* out) { update<false>(out); }
