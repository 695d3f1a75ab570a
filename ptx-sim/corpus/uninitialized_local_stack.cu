// Each thread pushes the odd ones of its numbers on a stack of its own and takes the top.
// Bug:  a thread without odd numbers takes the top of an empty stack.
// Good: the bottom of the stack is a sentinel that is always there.

template <bool kBad>
__device__ __forceinline__ void last_odd(const unsigned* x, unsigned* out) {
  const unsigned i = threadIdx.x;
  unsigned stack[9];
  unsigned top = 0;
  if (!kBad) stack[0] = 0;
#pragma unroll 1
  for (unsigned k = 0; k < 8; ++k) {
    const unsigned value = x[i] * k;
    if (value % 2 == 1) stack[++top] = value;
  }
  out[i] = stack[top];  // BUG
}

extern "C" __global__ void bad(const unsigned* x, unsigned* out) { last_odd<true>(x, out); }
extern "C" __global__ void good(const unsigned* x, unsigned* out) { last_odd<false>(x, out); }
