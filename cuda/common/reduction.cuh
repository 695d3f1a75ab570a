// Sums and maxima over the threads that share a row. The order of the additions depends on their
// number alone, so that the same row gives the same bits in any batch.
#pragma once

#include <cstdint>

constexpr int kWarpSize = 32;
constexpr int kMaxWarps = 32;

struct Sum {
  __device__ __forceinline__ static float of(float a, float b) { return a + b; }
};

// Of numbers that are not negative; NaN counts as none.
struct Max {
  __device__ __forceinline__ static float of(float a, float b) { return fmaxf(a, b); }
};

// Over kLanes neighbouring lanes of a warp, a power of two, in each of them.
template <typename Op, int kLanes = kWarpSize>
__device__ __forceinline__ float warp_reduce(float value) {
#pragma unroll
  for (int lane_mask = kLanes / 2; lane_mask > 0; lane_mask /= 2) {
    value = Op::of(value, __shfl_xor_sync(0xffffffff, value, lane_mask));
  }
  return value;
}

// Over the warps of a block, in every thread: every warp reduces all partial results itself, which
// saves the barrier that handing out a single result would take. Once a kernel for each Op.
template <typename Op>
__device__ __forceinline__ float block_reduce(float value) {
  __shared__ float smem_partial[kMaxWarps];
  const int warp_idx = threadIdx.x / kWarpSize;
  const int lane_idx = threadIdx.x % kWarpSize;
  value = warp_reduce<Op>(value);
  if (lane_idx == 0) {
    smem_partial[warp_idx] = value;
  }
  __syncthreads();
  return warp_reduce<Op>(lane_idx < blockDim.x / kWarpSize ? smem_partial[lane_idx] : 0.0f);
}
