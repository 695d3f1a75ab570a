// What a device reaches with kernels that do one thing alone: the bench gives every other kernel's
// time as a share of these.
//
// ceiling_read:   out[block] = xor of all words that the block reads
// ceiling_copy:   out = source
// ceiling_mma:    out[warp,m,n] = rounds * sum_k a[m,k] * b[n,k]
// ceiling_empty:  nothing
//
// Layout: source, and out of ceiling_copy, num_vectors vectors of 16 bytes; out of ceiling_read one
//         u32 a block. a [64, 16] and b [32, 16] bf16 or f16, row-major; out of ceiling_mma f32
//         [warps, 64, 32].
// FLOPs:  ceiling_mma: 2 * 64 * 32 * 16 * rounds a warp; the others 0
// Bytes:  ceiling_read 16 * num_vectors read, 4 written a block; ceiling_copy 16 * num_vectors read
//         and as many written; ceiling_mma a, b and out, once
// Bound:  ceiling_read and ceiling_copy by HBM. Expected on an H200: 92 to 95% of the datasheet for
//         reading, about 90% for copying, which turns the bus around; the rest is DRAM's own
//         (refresh, rows). ceiling_mma by the tensor cores. Expected: all that mma.sync gives,
//         which is the datasheet's number on 8.x, but 65 to 75% of it on 9.0, where only wgmma
//         (ceiling_sm90.cu) reaches more. ceiling_empty by the launch.
//
// Read and copy: a tile is 16 KB, 4 loads of 16 bytes a thread, all in flight before the first is
// used: 128 KB a multiprocessor with 2048 threads, several times what latency times bandwidth asks
// for (4.8 TB/s * 0.8 us / 132 = 29 KB). Blocks take tiles in turns, so that with as many blocks as
// tiles each does one, with fewer they stay: which of them is faster depends on the device, so the
// grid is the bench's choice. Loads do not allocate in L1; in L2 they do, as other kernels' do: the
// bench also empties L2 by reading.
//
// Products: operands come from memory once, so that they can be random numbers (zeros toggle fewer
// wires, draw less power and so run at higher clocks). A warp holds 4 fragments of A and 4 of B and
// adds their 16 products to accumulators of their own, so that no product waits for the one before
// it: a tensor core takes a new m16n8k16 every 4 to 16 cycles with a latency of about 33, which is
// 2 to 9 in flight, and the 4 warps of each of a multiprocessor's quarters (two blocks of 8 warps)
// have 64. Four rounds of it stand in the loop, 64 products to one counter, compare and branch.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "params.h"
#include "ptx/ldst.cuh"
#include "ptx/mma.cuh"

constexpr int kVectors = CEILING_VECTORS_PER_THREAD;
constexpr int kTileVectors = CEILING_THREADS * kVectors;
constexpr int kWarpSize = 32;
constexpr int kWarps = CEILING_THREADS / kWarpSize;

// Calls body(i, byte offset from the first one) for each vector of this thread that lies in the
// tile. A whole tile asks for none of them whether it exists, so that its loads stand one after the
// other.
template <typename Body>
__device__ __forceinline__ void for_each_vector(int num_vectors, Body body) {
  const bool is_whole = num_vectors == kTileVectors;
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    const int vector_idx = i * CEILING_THREADS;
    if (is_whole || vector_idx + static_cast<int>(threadIdx.x) < num_vectors) {
      body(i, vector_idx * static_cast<int>(sizeof(uint4)));
    }
  }
}

// Calls body(byte offset of this thread's first vector, vectors of the tile) for each tile of this
// block.
template <typename Body>
__device__ __forceinline__ void for_each_tile(int64_t num_vectors, Body body) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kTileVectors;
  int64_t first = static_cast<int64_t>(blockIdx.x) * kTileVectors;
  const auto offset = [&] { return (first + threadIdx.x) * static_cast<int64_t>(sizeof(uint4)); };
#pragma unroll 1
  for (; first + kTileVectors <= num_vectors; first += step) {
    body(offset(), kTileVectors);
  }
  if (first < num_vectors) {
    body(offset(), static_cast<int>(num_vectors - first));
  }
}

extern "C" __global__ void __launch_bounds__(CEILING_THREADS)
    ceiling_read(const __grid_constant__ CeilingMemoryParams params) {
  __shared__ uint32_t smem_partial[kWarps];
  const char* gmem_source = reinterpret_cast<const char*>(params.source);
  uint32_t parity = 0;
  for_each_tile(params.num_vectors, [&](int64_t offset, int num_vectors) {
    uint4 v[kVectors] = {};
    for_each_vector(num_vectors, [&](int i, int vector) {
      v[i] = ld_global_once(gmem_source + offset + vector);
    });
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      parity ^= v[i].x ^ v[i].y ^ v[i].z ^ v[i].w;
    }
  });

  parity = __reduce_xor_sync(0xffffffff, parity);
  if (threadIdx.x % kWarpSize == 0) {
    smem_partial[threadIdx.x / kWarpSize] = parity;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    parity = 0;
#pragma unroll
    for (int warp_idx = 0; warp_idx < kWarps; ++warp_idx) {
      parity ^= smem_partial[warp_idx];
    }
    st_global_i32(reinterpret_cast<uint32_t*>(params.out) + blockIdx.x,
                  static_cast<int32_t>(parity));
  }
}

extern "C" __global__ void __launch_bounds__(CEILING_THREADS)
    ceiling_copy(const __grid_constant__ CeilingMemoryParams params) {
  const char* gmem_source = reinterpret_cast<const char*>(params.source);
  char* gmem_out = reinterpret_cast<char*>(params.out);
  for_each_tile(params.num_vectors, [&](int64_t offset, int num_vectors) {
    uint4 v[kVectors] = {};
    for_each_vector(num_vectors, [&](int i, int vector) {
      v[i] = ld_global_once(gmem_source + offset + vector);
    });
    for_each_vector(num_vectors,
                    [&](int i, int vector) { st_global(gmem_out + offset + vector, v[i]); });
  });
}

// Fragments of A and B in one warp's product.
constexpr int kFragmentsM = CEILING_MMA_M / 16;
constexpr int kFragmentsN = CEILING_MMA_N / 8;
static_assert(CEILING_MMA_K == 16, "one step of the inner dimension");

template <typename Pair>
__device__ __forceinline__ void ceiling_mma(const CeilingTensorParams& params) {
  const int lane_idx = threadIdx.x % kWarpSize;
  const int row = lane_idx / 4;
  const int column = lane_idx % 4 * 2;
  // Two neighbouring elements.
  auto pair = [&](uint64_t matrix, int row, int column) {
    const char* gmem = reinterpret_cast<const char*>(matrix);
    const int element = row * CEILING_MMA_K + column;
    return static_cast<uint32_t>(
        ld_global_i32(gmem + element * static_cast<int>(sizeof(Pair) / 2)));
  };

  uint32_t a[kFragmentsM][4];  // [64, 16]
#pragma unroll
  for (int m = 0; m < kFragmentsM; ++m) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      a[m][i] = pair(params.a, m * 16 + row + i % 2 * 8, column + i / 2 * 8);
    }
  }
  uint32_t b[kFragmentsN][2];  // [32, 16]
#pragma unroll
  for (int n = 0; n < kFragmentsN; ++n) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      b[n][i] = pair(params.b, n * 8 + row, column + i * 8);
    }
  }

  float acc[kFragmentsM][kFragmentsN][4] = {};  // [64, 32]
#pragma unroll 1
  for (int round = 0; round < params.rounds; round += CEILING_MMA_UNROLL) {
#pragma unroll
    for (int i = 0; i < CEILING_MMA_UNROLL; ++i) {
#pragma unroll
      for (int m = 0; m < kFragmentsM; ++m) {
#pragma unroll
        for (int n = 0; n < kFragmentsN; ++n) {
          mma_m16n8k16<Pair>(acc[m][n], a[m], b[n][0], b[n][1]);
        }
      }
    }
  }

  const int64_t warp = static_cast<int64_t>(blockIdx.x) * (CEILING_MMA_THREADS / kWarpSize) +
                       threadIdx.x / kWarpSize;
  float* gmem_out =
      reinterpret_cast<float*>(params.out) + warp * CEILING_MMA_M * CEILING_MMA_N;  // [64, 32]
#pragma unroll
  for (int m = 0; m < kFragmentsM; ++m) {
#pragma unroll
    for (int n = 0; n < kFragmentsN; ++n) {
      float* gmem = gmem_out + (m * 16 + row) * CEILING_MMA_N + n * 8 + column;
      st_global_f32x2(gmem, acc[m][n][0], acc[m][n][1]);
      st_global_f32x2(gmem + 8 * CEILING_MMA_N, acc[m][n][2], acc[m][n][3]);
    }
  }
}

// Two blocks fit a multiprocessor: 128 registers a thread at most.
extern "C" __global__ void __launch_bounds__(CEILING_MMA_THREADS, 2)
    ceiling_mma_bf16(const __grid_constant__ CeilingTensorParams params) {
  ceiling_mma<__nv_bfloat162>(params);
}

extern "C" __global__ void __launch_bounds__(CEILING_MMA_THREADS, 2)
    ceiling_mma_f16(const __grid_constant__ CeilingTensorParams params) {
  ceiling_mma<__half2>(params);
}

extern "C" __global__ void ceiling_empty(const __grid_constant__ CeilingMemoryParams) {}
