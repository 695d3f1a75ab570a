// Transpose of a 4 x 32 tile in dynamic shared memory of 512 bytes.
// Bug:  rows padded to 33 elements need 524 bytes: the launch was not changed with the padding.
// Good: rows of 32 elements fill the 512 bytes exactly; the barrier orders stores and reads.

extern __shared__ float tile[];

template <bool kBad>
__device__ __forceinline__ void transpose(const float* x, float* out) {
  constexpr int kStride = kBad ? 33 : 32;
  const int i = threadIdx.y * 32 + threadIdx.x;
  tile[threadIdx.y * kStride + threadIdx.x] = x[i];  // BUG
  __syncthreads();
  out[i] = tile[i % 4 * kStride + i / 4];
}

extern "C" __global__ void bad(const float* x, float* out) { transpose<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { transpose<false>(x, out); }
