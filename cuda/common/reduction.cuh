// Sums over the threads that share a row. The order of the additions depends on their number alone,
// so that the same row gives the same bits in any batch.
#pragma once

#include <cstdint>

constexpr int kWarpSize = 32;
constexpr int kMaxWarps = 32;

// The sum over a warp, in every lane.
__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int lane_mask = kWarpSize / 2; lane_mask > 0; lane_mask /= 2) {
    value += __shfl_xor_sync(0xffffffff, value, lane_mask);
  }
  return value;
}

// The sum over the warps of a block, in every thread: every warp adds all partial sums itself,
// which saves the barrier that handing out a single result would take.
__device__ __forceinline__ float block_sum(float value) {
  __shared__ float smem_partial[kMaxWarps];
  const int warp_idx = threadIdx.x / kWarpSize;
  const int lane_idx = threadIdx.x % kWarpSize;
  value = warp_sum(value);
  if (lane_idx == 0) {
    smem_partial[warp_idx] = value;
  }
  __syncthreads();
  return warp_sum(lane_idx < blockDim.x / kWarpSize ? smem_partial[lane_idx] : 0.0f);
}
