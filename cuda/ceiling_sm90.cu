// ceiling_wgmma: out[block,m,n] = rounds * sum_k a[m,k] * b[n,k]
//
// What Hopper's tensor cores reach: with wgmma alone, since mma.sync (ceiling.cu) comes to 65 to
// 75% of it there, and shares of that would flatter every kernel.
//
// Layout: a [128, 64] and b [256, 64] bf16 or f16, row-major; out f32 [blocks, 128, 256].
// FLOPs:  2 * 128 * 256 * 64 * rounds a block
// Bytes:  a, b and out, once
// Bound:  the tensor cores. Expected on an H200: all of what its power allows, 75 to 85% of the
//         datasheet's 989 TFLOP/s with random numbers: clocks fall under this load. Zeros would run
//         faster; operands come from memory, so that they are not known to be any.
//
// A multiprocessor does m64n256k16, the widest, in 128 cycles, and reads 10 KB of shared memory for
// it, 80 of the 128 bytes a cycle that there are. Two warpgroups, half of the rows of A each, share
// the tensor cores: while one waits for a group of 4 instructions (all 64 columns of A and B),
// those of the other run. Each thread holds 128 accumulators, so that one block of 256 threads
// fills the multiprocessor's registers to more than half; 48 KB of shared memory hold a and b for
// good.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "params.h"
#include "ptx/ldst.cuh"
#include "ptx/wgmma.cuh"

constexpr int kWarpSize = 32;
constexpr int kWarpgroupSize = 128;
constexpr int kWarpgroups = CEILING_WGMMA_THREADS / kWarpgroupSize;
constexpr int kBlockK = CEILING_WGMMA_K;
constexpr int kRowVectors = kBlockK / VECTOR_ELEMENTS;
static_assert(kBlockK == 64, "a row is the 128 bytes that the swizzle is of");
static_assert(CEILING_WGMMA_M == 64 * kWarpgroups, "64 rows of A a warpgroup");
static_assert(CEILING_WGMMA_N == 256, "one instruction's rows of B");

// Rows from memory into shared memory, swizzled as the descriptor says.
template <int kRows>
__device__ __forceinline__ void load_rows(uint32_t smem, uint64_t matrix) {
  const uint4* gmem = reinterpret_cast<const uint4*>(matrix);
  for (int i = threadIdx.x; i < kRows * kRowVectors; i += CEILING_WGMMA_THREADS) {
    const int row = i / kRowVectors;
    const int chunk = i % kRowVectors ^ row % 8;
    st_shared(smem + (row * kRowVectors + chunk) * static_cast<int>(sizeof(uint4)),
              ld_global_shared_by_blocks(gmem + i));
  }
}

template <typename Pair>
__device__ __forceinline__ void ceiling_wgmma(const CeilingTensorParams& params) {
  // The swizzle repeats every 1024 bytes, and goes by addresses.
  __shared__ __align__(1024) uint4 smem_a[CEILING_WGMMA_M * kRowVectors];  // [128, 64]
  __shared__ __align__(1024) uint4 smem_b[CEILING_WGMMA_N * kRowVectors];  // [256, 64]
  const uint32_t a_address = static_cast<uint32_t>(__cvta_generic_to_shared(smem_a));
  const uint32_t b_address = static_cast<uint32_t>(__cvta_generic_to_shared(smem_b));
  load_rows<CEILING_WGMMA_M>(a_address, params.a);
  load_rows<CEILING_WGMMA_N>(b_address, params.b);
  fence_proxy_async_shared();
  __syncthreads();

  const int warpgroup_idx = threadIdx.x / kWarpgroupSize;
  constexpr int kWarpgroupBytes = 64 * kBlockK * static_cast<int>(sizeof(Pair) / 2);
  const uint64_t a = wgmma_descriptor(a_address + warpgroup_idx * kWarpgroupBytes);
  const uint64_t b = wgmma_descriptor(b_address);
  float acc[128] = {};  // [64, 256]
#pragma unroll 1
  for (int round = 0; round < params.rounds; ++round) {
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < kBlockK / 16; ++k) {
      wgmma_m64n256k16<Pair>(acc, a + 2 * k, b + 2 * k);
    }
    wgmma_commit();
    // The next group may be queued behind this one.
    wgmma_wait<1>();
  }
  wgmma_wait<0>();

  const int lane_idx = threadIdx.x % kWarpSize;
  const int row = threadIdx.x / kWarpSize * 16 + lane_idx / 4;
  float* gmem_out = reinterpret_cast<float*>(params.out) +
                    static_cast<int64_t>(blockIdx.x) * CEILING_WGMMA_M * CEILING_WGMMA_N +
                    row * CEILING_WGMMA_N + lane_idx % 4 * 2;  // [128, 256]
#pragma unroll
  for (int j = 0; j < CEILING_WGMMA_N / 8; ++j) {
    st_global_f32x2(gmem_out + 8 * j, acc[4 * j], acc[4 * j + 1]);
    st_global_f32x2(gmem_out + 8 * CEILING_WGMMA_N + 8 * j, acc[4 * j + 2], acc[4 * j + 3]);
  }
}

extern "C" __global__ void __launch_bounds__(CEILING_WGMMA_THREADS, 1)
    ceiling_sm90_wgmma_bf16(const __grid_constant__ CeilingTensorParams params) {
  ceiling_wgmma<__nv_bfloat162>(params);
}

extern "C" __global__ void __launch_bounds__(CEILING_WGMMA_THREADS, 1)
    ceiling_sm90_wgmma_f16(const __grid_constant__ CeilingTensorParams params) {
  ceiling_wgmma<__half2>(params);
}
