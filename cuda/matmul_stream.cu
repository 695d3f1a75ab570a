// matmul of few tokens, at most 8 or 16: out[m,n] = epilogue(sum_k x[m,k] * weight[n,k] + bias[n])
//
// Layout: as in matmul.cu.
// FLOPs:  2 * m * n * k; the tensor cores make those of 8 or 16 tokens
// Bytes:  2 * (m * k + n * k + n) + out. All of x is read again for each tile of 32 rows, 2 * m * k
// *
//         ceil(n / 32) in all, of which L1 serves what it has room for. Blocks that share a tile
//         exchange 4 * 32 * tokens bytes each.
// Bound:  HBM bandwidth: the weights' bytes. Expected on an H200: 85% of a kernel that only reads
//         them. The rest is lost while the rings fill, once a launch, and where blocks that share a
//         tile wait for its last sums.
//
// The frame is common/stream_matmul.cuh. A unit is 32 rows of 64 columns, one line of memory of
// each row: 4 KB of weights, and 1 or 2 KB of x. In flight: 3 units of each of 8 warps, 96 KB a
// multiprocessor. What 4.3 TB/s need for 0.8 us is 26 KB on each of 132. Shared memory: 160 KB for
// 8 tokens, 192 KB for 16, fewer warps where a device has less; one block a multiprocessor.
#include "common/stream_rows.cuh"

template <class Shape, typename Pair>
struct WeightRows : StreamRows<Shape> {
  using Base = StreamRows<Shape>;

  __device__ __forceinline__ WeightRows(const MatmulParams& params, const StreamUnit& first,
                                        int lane_idx)
      : Base(params.weight, params.weight_stride_row * 2, params.x, params.x_stride_row * 2,
             params.n, params.m, params.k * 2, first, lane_idx) {}

  __device__ __forceinline__ static uint32_t place_bytes() { return Base::kUnitEnd; }

  __device__ __forceinline__ void copy(uint32_t smem_place, int column) const {
    Base::copy_rows(smem_place, column);
  }

  // sums += weights * x^T. What an mma takes for columns 2t, 2t+1, 2t+8 and 2t+9 of its 16 are here
  // four neighbours.
  __device__ __forceinline__ void multiply(StreamSums<Shape>& sums, uint32_t smem_place,
                                           int) const {
#pragma unroll
    for (int chunk = 0; chunk < Base::kChunks; ++chunk) {
      uint4 x[Shape::kTokenTiles];
#pragma unroll
      for (int j = 0; j < Shape::kTokenTiles; ++j) {
        x[j] = Base::x(smem_place, chunk, j);
      }
#pragma unroll
      for (int r = 0; r < Shape::kRowTiles; ++r) {
        const uint4 low = Base::weights(smem_place, chunk, 2 * r);
        const uint4 high = Base::weights(smem_place, chunk, 2 * r + 1);
#pragma unroll
        for (int j = 0; j < Shape::kTokenTiles; ++j) {
          mma_m16n8k16<Pair>(sums[r][j], {low.x, high.x, low.y, high.y}, x[j].x, x[j].y);
          mma_m16n8k16<Pair>(sums[r][j], {low.z, high.z, low.w, high.w}, x[j].z, x[j].w);
        }
      }
    }
  }
};

template <class Shape, typename Pair>
__device__ __forceinline__ void matmul_stream(const MatmulParams& params) {
  using Operand = WeightRows<Shape, Pair>;
  static_assert(Operand::kUnitBytes == MATMUL_STREAM_COLUMNS * 2, "the plan's tile");
  static_assert(Shape::kRows == MATMUL_STREAM_ROWS, "the plan's tile");
  const int units_per_tile = (params.k - 1) / MATMUL_STREAM_COLUMNS + 1;
  stream_matmul<Operand>(
      params, params.workspace, params.n, units_per_tile,
      [&](float(&sums)[4], int64_t row, int token) { store_sums<Pair>(params, sums, row, token); });
}

#define MATMUL_STREAM_KERNEL(dtype, Pair, tokens)                                           \
  extern "C" __global__ void __launch_bounds__(kStreamThreads, 1)                           \
      matmul_stream_##dtype##_m##tokens(const __grid_constant__ MatmulParams params) {      \
    matmul_stream<StreamShape<MATMUL_STREAM_ROWS / kTileRows, tokens / kTileTokens>, Pair>( \
        params);                                                                            \
  }

MATMUL_STREAM_KERNEL(bf16, __nv_bfloat162, 8)
MATMUL_STREAM_KERNEL(bf16, __nv_bfloat162, 16)
MATMUL_STREAM_KERNEL(f16, __half2, 8)
MATMUL_STREAM_KERNEL(f16, __half2, 16)
