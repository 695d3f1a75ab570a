// Sum of each warp of an array that does not fill the last one.
// Bug:  threads behind the end have left, and the shuffles read their values.
// Good: they stay, and add 0.

template <bool kBad>
__device__ __forceinline__ void warp_sums(const float* x, float* out, unsigned n) {
  const unsigned i = threadIdx.x;
  if (kBad && i >= n) return;
  float sum = i < n ? x[i] : 0.0f;
  for (unsigned offset = 16; offset > 0; offset /= 2) {
    sum += __shfl_xor_sync(0xffffffff, sum, offset);  // BUG
  }
  if (i % 32 == 0) out[i / 32] = sum;
}

extern "C" __global__ void bad(const float* x, float* out, unsigned n) {
  warp_sums<true>(x, out, n);
}
extern "C" __global__ void good(const float* x, float* out, unsigned n) {
  warp_sums<false>(x, out, n);
}
