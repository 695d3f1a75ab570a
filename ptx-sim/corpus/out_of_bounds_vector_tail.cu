// Scaling by vectors of four, of an array whose length is no multiple of four.
// Bug:  the last vector starts inside the allocation and ends behind it.
// Good: what is left of a vector is read element by element.

template <bool kBad>
__device__ __forceinline__ void scale(const float* x, float* out, unsigned n) {
  const unsigned i = 4 * threadIdx.x;
  if (i >= n) return;
  float4 v = {};
  if (kBad || i + 4 <= n) {
    v = *reinterpret_cast<const float4*>(x + i);  // BUG
  } else {
    v.x = x[i];
    if (i + 1 < n) v.y = x[i + 1];
    if (i + 2 < n) v.z = x[i + 2];
  }
  out[i] = 2.0f * v.x;
  if (i + 1 < n) out[i + 1] = 2.0f * v.y;
  if (i + 2 < n) out[i + 2] = 2.0f * v.z;
  if (i + 3 < n) out[i + 3] = 2.0f * v.w;
}

extern "C" __global__ void bad(const float* x, float* out, unsigned n) { scale<true>(x, out, n); }
extern "C" __global__ void good(const float* x, float* out, unsigned n) { scale<false>(x, out, n); }
