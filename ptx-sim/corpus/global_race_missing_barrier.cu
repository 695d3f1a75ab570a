// Threads of a block exchange values through global memory.
// Bug:  nothing orders a thread's read after another warp's store.
// Good: __syncthreads orders global accesses of the block as it does shared ones.

template <bool kBad>
__device__ __forceinline__ void reverse(const float* x, float* scratch, float* out) {
  const unsigned i = threadIdx.x;
  scratch[i] = x[i];  // BUG
  if (!kBad) __syncthreads();
  out[i] = scratch[127 - i];  // BUG
}

extern "C" __global__ void bad(const float* x, float* scratch, float* out) {
  reverse<true>(x, scratch, out);
}
extern "C" __global__ void good(const float* x, float* scratch, float* out) {
  reverse<false>(x, scratch, out);
}
