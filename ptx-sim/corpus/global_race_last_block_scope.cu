// Sum over blocks: each stores its partial sum, the last one to finish adds them up.
// Bug:  the fence before the ticket reaches the threads of the same block only.
// Good: thread 0 fences before its ticket, so that who sees the ticket sees the partial sum, and
//       after it, and the barrier passes on to the block what the last thread 0 has seen.

template <bool kBad>
__device__ __forceinline__ void sum(const float* x, float* partials, unsigned* tickets,
                                    float* out) {
  __shared__ bool last;
  if (threadIdx.x == 0) {
    partials[blockIdx.x] = x[2 * blockIdx.x] + x[2 * blockIdx.x + 1];  // BUG
    if (kBad) {
      __threadfence_block();
    } else {
      __threadfence();
    }
    last = atomicAdd(tickets, 1) == gridDim.x - 1;
    __threadfence();
  }
  __syncthreads();
  if (last && threadIdx.x < 32) {
    float value = threadIdx.x < gridDim.x ? partials[threadIdx.x] : 0.0f;  // BUG
    for (int offset = 16; offset > 0; offset /= 2) {
      value += __shfl_xor_sync(0xffffffff, value, offset);
    }
    if (threadIdx.x == 0) *out = value;
  }
}

extern "C" __global__ void bad(const float* x, float* partials, unsigned* tickets, float* out) {
  sum<true>(x, partials, tickets, out);
}
extern "C" __global__ void good(const float* x, float* partials, unsigned* tickets, float* out) {
  sum<false>(x, partials, tickets, out);
}
