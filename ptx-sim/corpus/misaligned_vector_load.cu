// Rows read by vectors of four.
// Bug:  rows of 33 elements start at addresses that are no multiples of 16.
// Good: rows of 36 elements keep every vector aligned.

template <bool kBad>
__device__ __forceinline__ void copy_rows(const float* x, float4* out) {
  constexpr unsigned kPitch = kBad ? 33 : 36;
  const unsigned row = threadIdx.x / 8;
  const unsigned col = threadIdx.x % 8 * 4;
  out[threadIdx.x] = *reinterpret_cast<const float4*>(x + row * kPitch + col);  // BUG
}

extern "C" __global__ void bad(const float* x, float4* out) { copy_rows<true>(x, out); }
extern "C" __global__ void good(const float* x, float4* out) { copy_rows<false>(x, out); }
