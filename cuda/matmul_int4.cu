// matmul_int4: out[m,n] = epilogue(sum_k x[m,k] * w[n,k] + bias[n]), w = round((code - zero) *
// scale)
//
// Layout: as in matmul.cu, but for the weight: codes u8 [n / 16][k / 64][32 lanes][16], scales (and
//         zeros) [n / 16][groups][1 or 2][16], in the order of quant::int4::Packed. A group is 32,
//         64 or 128 columns, or the row; n is a multiple of 8, k of the group, or of 16.
// FLOPs:  2 * m * n * k
// Bytes:  2 * m * k + n * k / 2 + 2 * n * groups + 2 * n + out at least. A block of M x N outputs
//         reads its rows of both: (2 * m * k * ceil(n / N) + n * k / 2 * ceil(m / M)) through L2,
//         and scales anew every 64 columns: n * k / 32 * ceil(m / M) without zeros.
// Bound:  the weights' way from memory up to some 50 tokens (on an H200, by the datasheet's
//         numbers), above that the tensor cores, by mma.sync as in matmul.cu. Expected: as fast as
//         cuBLAS in 16 bits up to 256 tokens, above 60% of it beyond.
//
//   tile        warps         stages          shared    registers  blocks a multiprocessor
//   128x256x64  8 of 64x64    3 of 26 KB       78 KB    255        1
//   64x128x64   4 of 32x64    4 of 13 KB       52 KB    196        2, the batch-invariant one
//   32x256x64   4 of 32x64    4 of 14 KB       56 KB    196        2, for up to 32 tokens
//
// Codes take 13 (f16) or 15 (bf16) instructions for 8 weights of a lane, and 6 for their scales and
// zeros (common/int4.cuh has the ways for others): a warp of 64 x 64 outputs has 80 of them beside
// 32 mma and 8 loads for each 16 columns, in which the tensor cores are busy for 200 cycles and two
// warps share a scheduler. Codes are read as they were copied, a lane its 16 bytes: no bank is ever
// in conflict. Blocks share tiles as in matmul.cu.
#include "common/int4_operand.cuh"

#define MATMUL_INT4_KERNEL(dtype, Pair, M, N, K, kWarpM, kWarpN, kBlocksPerSm)                   \
  extern "C" __global__ void __launch_bounds__(MATMUL_INT4_##M##X##N##X##K##_THREADS,            \
                                               kBlocksPerSm)                                     \
      matmul_int4_##dtype##_##M##x##N##x##K(const __grid_constant__ MatmulInt4Params params) {   \
    using Shape = TileShape<M, N, K, MATMUL_INT4_##M##X##N##X##K##_STAGES, kWarpM, kWarpN, 1>;   \
    static_assert(Shape::kThreads == MATMUL_INT4_##M##X##N##X##K##_THREADS, "the plan's block"); \
    matmul_tiles(Int4Format<Shape, Pair>(params));                                               \
  }

#define MATMUL_INT4_KERNELS(dtype, Pair)                   \
  MATMUL_INT4_KERNEL(dtype, Pair, 128, 256, 64, 64, 64, 1) \
  MATMUL_INT4_KERNEL(dtype, Pair, 64, 128, 64, 32, 64, 2)  \
  MATMUL_INT4_KERNEL(dtype, Pair, 32, 256, 64, 32, 64, 2)

MATMUL_INT4_KERNELS(bf16, __nv_bfloat162)
MATMUL_INT4_KERNELS(f16, __half2)
