// Sum of each element and its right neighbour; every block reads one element of the next block's.
// Bug:  the sums replace the elements, which the neighbouring block may not have read yet.
// Good: the sums go elsewhere.

template <bool kBad>
__device__ __forceinline__ void pair_sums(float* x, float* out, unsigned n) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  const float sum = x[i] + (i + 1 < n ? x[i + 1] : 0.0f);  // BUG
  __syncthreads();            // within the block all elements are read before one is replaced
  (kBad ? x : out)[i] = sum;  // BUG
}

extern "C" __global__ void bad(float* x, float* out, unsigned n) { pair_sums<true>(x, out, n); }
extern "C" __global__ void good(float* x, float* out, unsigned n) { pair_sums<false>(x, out, n); }
