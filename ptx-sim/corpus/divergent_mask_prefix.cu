// Running sum within a warp.
// Bug:  each lane names itself and the lanes below: the masks of one shuffle differ.
// Good: all lanes shuffle together and say so.

template <bool kBad>
__device__ __forceinline__ void scan(const float* x, float* out) {
  const unsigned lane = threadIdx.x % 32;
  const unsigned mask = kBad ? 0xffffffff >> (31 - lane) : 0xffffffff;
  float sum = x[threadIdx.x];
  for (unsigned offset = 1; offset < 32; offset *= 2) {
    const float below = __shfl_up_sync(mask, sum, offset);  // BUG
    if (lane >= offset) sum += below;
  }
  out[threadIdx.x] = sum;
}

extern "C" __global__ void bad(const float* x, float* out) { scan<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { scan<false>(x, out); }
