// Reads an array that was reallocated before the launch because it had to grow.
// Bug:  the old pointer is still in use.
// Good: the kernel reads the array that lives.

template <bool kBad>
__device__ __forceinline__ void scale(const float* old_x, const float* grown_x, float* out) {
  const float* x = kBad ? old_x : grown_x;
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  out[i] = 2.0f * x[i];  // BUG
}

extern "C" __global__ void bad(const float* old_x, const float* grown_x, float* out) {
  scale<true>(old_x, grown_x, out);
}
extern "C" __global__ void good(const float* old_x, const float* grown_x, float* out) {
  scale<false>(old_x, grown_x, out);
}
