// Block-wide sum of an array that does not fill the block's tile.
// Bug:  threads behind the end of the array store nothing, and the tree adds what they left.
// Good: they store 0; a barrier before each level of the tree orders its reads and stores.

template <bool kBad>
__device__ __forceinline__ void sum(const float* x, float* out, unsigned n) {
  __shared__ float tile[128];
  const unsigned i = threadIdx.x;
  if (i < n) {
    tile[i] = x[i];
  } else if (!kBad) {
    tile[i] = 0.0f;
  }
  for (unsigned half = 64; half > 0; half /= 2) {
    __syncthreads();
    if (i < half) {
      tile[i] += tile[i + half];  // BUG
    }
  }
  if (i == 0) *out = tile[0];
}

extern "C" __global__ void bad(const float* x, float* out, unsigned n) { sum<true>(x, out, n); }
extern "C" __global__ void good(const float* x, float* out, unsigned n) { sum<false>(x, out, n); }
