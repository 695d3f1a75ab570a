// out[b] = sum of the 256 elements of block b, by halves in shared memory.
constexpr int kThreads = 256;

template <bool kBarrierInLoop>
__device__ void block_sum_of(const float* in, float* out) {
  __shared__ float partial[kThreads];
  int t = threadIdx.x;
  partial[t] = in[blockIdx.x * kThreads + t];
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (t < half) partial[t] += partial[t + half];
    if (kBarrierInLoop) __syncthreads();
  }
  if (t == 0) out[blockIdx.x] = partial[0];
}

extern "C" __global__ void block_sum(const float* in, float* out) { block_sum_of<true>(in, out); }

// Wrong: nothing orders the halves.
extern "C" __global__ void block_sum_racy(const float* in, float* out) {
  block_sum_of<false>(in, out);
}
