// matmul_fp8: out[m,n] = epilogue(sum_k x[m,k] * weight[n,k] * scale + bias[n]), x and weight e4m3,
//             f32 sums, rounded once
//
// Layout: x [m, k] and weight [n, k] in e4m3, rows 16-byte aligned, k a multiple of 16, n of 8; the
//         scales in f32: of x one for all, one a token, or one for 128 columns of it; of the weight
//         one for all, one a row, or one for 128 columns of 128 rows. bias [n] and out [m, n] as in
//         matmul.cu; with SwiGLU out [m, n / 2], or that in e4m3 with scales [m, n / 2 / 128].
// FLOPs:  2 * m * n * k
// Bytes:  m * k + n * k + scales + 2 * n + out at least. A block of M x N outputs reads its rows of
//         both: k * (m * ceil(n / N) + n * ceil(m / M)) through L2
// Bound:  tensor cores above some 400 tokens, below the weights' way from memory. On compute
//         capability 8.9 they take e4m3 at twice the rate of 16 bits. Elsewhere codes become f16 in
//         registers, and the rate is that of f16 at best. On Hopper that is the ceiling of
//         matmul.cu, 62% of wgmma's 16 bits: for 32 columns a warp's 32 mma take 205 cycles of its
//         tensor core, its 48 conversions 96 of the ALU; expected above 85% of matmul's rate. On
//         8.0 a word of four codes takes 7 instructions, of x 11: 1.5 times as long as the mma.
//
//   tile          warps        stages      shared  registers  blocks a multiprocessor
//   128x128x128   8 of 32x64   3 of 32 KB   96 KB  255        1
//   64x256x64     8 of 32x64   4 of 20 KB   80 KB  254        1, the one that quantises its results
//   64x128x128    4 of 32x64   4 of 24 KB   96 KB  255        2, the batch-invariant one
//
// All fit 99 KB of shared memory. Sums leave the accumulators of the tensor cores every 128 columns
// (common/fp8_products.cuh), into as many registers more: that is why warps are 32x64 here. The
// order of the additions into an output is the same in all three tiles. plan::matmul chooses, and
// whether blocks share tiles (matmul.cu).
#include "common/fp8_epilogue.cuh"
#include "common/fp8_products.cuh"
#include "common/tile_launch.cuh"

// Two codes are an element of the frame's.
template <class Shape_, typename Pair_>
struct Fp8Format {
  using Shape = Shape_;
  using Pair = Pair_;

  const MatmulFp8Params& fp8;
  const MatmulParams& params;

  __device__ __forceinline__ explicit Fp8Format(const MatmulFp8Params& fp8)
      : fp8(fp8), params(fp8.matmul) {}

  __device__ __forceinline__ int columns() const { return params.k / 2; }
  __device__ __forceinline__ int stages() const { return (columns() - 1) / Shape::kBlockK + 1; }

  __device__ __forceinline__ ActivationOperand<Shape> x(int first_row, int first_stage,
                                                        const WarpCoordinate<Shape>& warp) const {
    return {params.x, params.x_stride_row / 2, first_row, params.m, columns(), first_stage, warp};
  }
  __device__ __forceinline__ WeightOperand<Shape> weight(int first_row, int first_stage,
                                                         const WarpCoordinate<Shape>& warp) const {
    return {
        params.weight, params.weight_stride_row / 2, first_row, params.n, columns(), first_stage,
        warp};
  }
  __device__ __forceinline__ Fp8Products<Shape> products(int first_row, int first_column,
                                                         int first_stage) const {
    return {fp8, first_row, first_column, first_stage};
  }

  __device__ __forceinline__ void store(Accumulators<Shape>& acc, int first_row,
                                        int first_column) const {
    apply_scales(fp8, acc, first_row, first_column);
    if constexpr (kQuantizes<Shape>) {
      if (fp8.out_scale != 0) {
        store_quantized<Shape, Pair>(fp8, acc, first_row, first_column);
        return;
      }
    }
    store_tile<Pair>(params, acc, first_row, first_column);
  }
};

// One kernel a type and tile, whose K is in codes.
#define MATMUL_FP8_KERNEL(dtype, Pair, M, N, K, kBlocksPerSm)                                      \
  extern "C" __global__ void __launch_bounds__(MATMUL_FP8_##M##X##N##X##K##_THREADS, kBlocksPerSm) \
      matmul_fp8_##dtype##_##M##x##N##x##K(const __grid_constant__ MatmulFp8Params params) {       \
    using Shape = TileShape<M, N, K / 2, MATMUL_FP8_##M##X##N##X##K##_STAGES, 32, 64, 1>;          \
    static_assert(Shape::kThreads == MATMUL_FP8_##M##X##N##X##K##_THREADS, "the plan's block");    \
    matmul_tiles(Fp8Format<Shape, Pair>(params));                                                  \
  }

#define MATMUL_FP8_KERNELS(dtype, Pair)            \
  MATMUL_FP8_KERNEL(dtype, Pair, 128, 128, 128, 1) \
  MATMUL_FP8_KERNEL(dtype, Pair, 64, 256, 64, 1)   \
  MATMUL_FP8_KERNEL(dtype, Pair, 64, 128, 128, 2)

MATMUL_FP8_KERNELS(bf16, __nv_bfloat162)
MATMUL_FP8_KERNELS(f16, __half2)
