// Softmax of rows: global loads and stores, arithmetic, shuffles, shared memory and barriers in the
// proportions of real kernels. One block a row; the row is walked three times.
#include <cstdint>

__device__ __forceinline__ float block_reduce(float value, bool maximum, float* smem) {
  for (int offset = 16; offset > 0; offset /= 2) {
    float other = __shfl_xor_sync(0xffffffff, value, offset);
    value = maximum ? fmaxf(value, other) : value + other;
  }
  int warp_idx = threadIdx.x / 32, lane_idx = threadIdx.x % 32;
  __syncthreads();
  if (lane_idx == 0) smem[warp_idx] = value;
  __syncthreads();
  value = smem[0];
  for (int i = 1; i < blockDim.x / 32; ++i)
    value = maximum ? fmaxf(value, smem[i]) : value + smem[i];
  return value;
}

extern "C" __global__ void mixed(const float* __restrict__ x, float* __restrict__ y, int columns) {
  __shared__ float smem[32];
  extern __shared__ float row[];
  const float* source = x + (size_t)blockIdx.x * columns;
  float* target = y + (size_t)blockIdx.x * columns;
  float row_max = -INFINITY;
  for (int i = threadIdx.x; i < columns; i += blockDim.x) {
    float value = source[i];
    row[i] = value;
    row_max = fmaxf(row_max, value);
  }
  row_max = block_reduce(row_max, true, smem);
  float row_sum = 0;
  for (int i = threadIdx.x; i < columns; i += blockDim.x) {
    float value = __expf(row[i] - row_max);
    row[i] = value;
    row_sum += value;
  }
  row_sum = block_reduce(row_sum, false, smem);
  float scale = 1.0f / row_sum;
  for (int i = threadIdx.x; i < columns; i += blockDim.x) target[i] = row[i] * scale;
}
