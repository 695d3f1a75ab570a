// matmul: out[m,n] = epilogue(sum_k x[m,k] * weight[n,k] + bias[n]), f32 sums, rounded once
//
// Layout: x [m, k], weight [n, k] and bias [n] in bf16 or f16; out [m, n] in the same type or f32.
//         With SwiGLU out is [m, n / 2], and the weight's rows are 8 of gate, 8 of up, and so on.
//         Rows are 16-byte aligned, k is a multiple of 8, m and n are any.
// FLOPs:  2 * m * n * k
// Bytes:  2 * (m * k + n * k + n) + out at least. A block of M x N outputs reads its rows of both:
//         2 * k * (m * ceil(n / N) + n * ceil(m / M)) through L2
// Bound:  tensor cores above some 200 tokens (on an H200, by the datasheet's numbers), below the
//         weights' way from memory. mma.sync has at most 65 to 75% of what wgmma has on Hopper,
//         which puts the ceiling there at about 620 of 989 TFLOP/s: expected above 60% of cuBLAS at
//         1024 tokens and more. The rest is lost in the last wave, and in filling the pipeline and
//         storing the tile where a multiprocessor has one block.
//
//   tile         warps              stages      shared  registers  blocks a multiprocessor
//   128x256x64   8 of 64x64         3 of 48 KB  144 KB  248        1
//   128x256x32   8 of 64x64         4 of 24 KB   96 KB  246        1, for 99 KB of shared memory
//   128x128x64   4 of 64x64         3 of 32 KB   96 KB  250        2
//   64x128x64    4 of 32x64         4 of 24 KB   96 KB  168        2, the batch-invariant one
//   64x64x128    2 of 32x64, twice  3 of 32 KB   96 KB  168        2
//
// A warp of 64x64 outputs makes 32 mma of 8 ldmatrix for each 16 columns. In the first tile that
// is, for a block, 410 cycles of the tensor cores at the 1280 products a cycle that mma.sync has on
// Hopper (512 at the 1024 of an A100), 352 of shared memory (32 KB of fragments, 12 KB of copies,
// 128 bytes a cycle) and 192 of L2 (64 bytes a cycle), so that the tensor cores bind. All
// multiprocessors together ask for 30 bytes a cycle each, about what L2 has to give; a tile of
// 128x128 would want 40. Half of the main loop's instructions are HMMA. Shared memory is swizzled:
// no bank is ever in conflict. plan::matmul chooses the tile from these numbers.
//
// Where whole tiles would leave multiprocessors idle, there are as many blocks as the device holds,
// and they share all tiles evenly by stages; the last block at a tile adds up its parts in the
// order of k (common/split_work.cuh). That moves 8 bytes an output and part through L2.
#include "common/tile_launch.cuh"

// One kernel a type and tile. The name says the tile; params.h has what the plan must know of it.
#define MATMUL_KERNEL(dtype, Pair, M, N, K, kWarpM, kWarpN, kWarpsK, kBlocksPerSm)              \
  extern "C" __global__ void __launch_bounds__(MATMUL_##M##X##N##X##K##_THREADS, kBlocksPerSm)  \
      matmul_##dtype##_##M##x##N##x##K(const __grid_constant__ MatmulParams params) {           \
    using Shape = TileShape<M, N, K, MATMUL_##M##X##N##X##K##_STAGES, kWarpM, kWarpN, kWarpsK>; \
    static_assert(Shape::kThreads == MATMUL_##M##X##N##X##K##_THREADS, "the plan's block");     \
    matmul_tiles(PairFormat<Shape, Pair>{params});                                              \
  }

#define MATMUL_KERNELS(dtype, Pair)                      \
  MATMUL_KERNEL(dtype, Pair, 128, 256, 64, 64, 64, 1, 1) \
  MATMUL_KERNEL(dtype, Pair, 128, 256, 32, 64, 64, 1, 1) \
  MATMUL_KERNEL(dtype, Pair, 128, 128, 64, 64, 64, 1, 2) \
  MATMUL_KERNEL(dtype, Pair, 64, 128, 64, 32, 64, 1, 2)  \
  MATMUL_KERNEL(dtype, Pair, 64, 64, 128, 32, 64, 2, 2)

MATMUL_KERNELS(bf16, __nv_bfloat162)
MATMUL_KERNELS(f16, __half2)
