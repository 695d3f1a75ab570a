// All blocks meet at a barrier of the grid, then read what the next block stored.
// Bug:  thread 0 waits for the other blocks, its block does not wait for thread 0.
// Good: barriers of the block before and after thread 0's fences, arrival and wait.

template <bool kBad>
__device__ __forceinline__ void rotate(const float* x, float* data, unsigned* arrived, float* out) {
  const unsigned n = gridDim.x * blockDim.x;
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  data[i] = x[i];  // BUG
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    atomicAdd(arrived, 1);
    while (*static_cast<volatile unsigned*>(arrived) < gridDim.x) {
    }
    __threadfence();
  }
  if (!kBad) __syncthreads();
  out[i] = data[(i + blockDim.x) % n];  // BUG
}

extern "C" __global__ void bad(const float* x, float* data, unsigned* arrived, float* out) {
  rotate<true>(x, data, arrived, out);
}
extern "C" __global__ void good(const float* x, float* data, unsigned* arrived, float* out) {
  rotate<false>(x, data, arrived, out);
}
