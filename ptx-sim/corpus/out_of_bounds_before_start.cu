// Sum of each element and its left neighbour.
// Bug:  the first element has none: index -1 is before the allocation.
// Good: the first thread takes 0 instead.

template <bool kBad>
__device__ __forceinline__ void pair_sums(const float* x, float* out) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  float left = 0.0f;
  if (kBad || i > 0) {
    left = x[i - 1];  // BUG
  }
  out[i] = left + x[i];
}

extern "C" __global__ void bad(const float* x, float* out) { pair_sums<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { pair_sums<false>(x, out); }
