// Products of e4m3 codes in the frame of tile_matmul.cuh, whose operands are 16-bit elements: here
// an element is two codes, and a step 32 columns. The fragments of m16n8k32 with e4m3 are those of
// m16n8k16 with such elements. Where the tensor cores take no e4m3 by mma.sync, a fragment becomes
// two of f16: the lower pair of each word, then the upper one. f16 holds all codes, and f32 the
// products of two, exactly.
//
// Sums leave the tensor cores' accumulators every 128 columns, times the scales of these columns
// where there are such: on compute capability 8.9 the accumulators have 13 bits behind the point,
// of which a long sum would lose the lower ones of each product.
#pragma once

#include "fp8.cuh"
#include "reduction.cuh"
#include "tile_matmul.cuh"

// The scales of 128 columns: of each token, and of each block of 128 rows of the weight. A warp
// loads those of eight blocks of columns at a time, a sector for a row, and its lanes hand them
// out.
template <class Shape>
struct BlockScales {
  static constexpr int kBlocks = 8;  // of columns, at a time
  static constexpr int kRowsAtOnce = kWarpSize / kBlocks;
  static constexpr int kLoads = Shape::kWarpM / kRowsAtOnce;
  static_assert(kMmaM == 16 && kRowsAtOnce == 4, "rows g of a fragment come with two loads");
  static_assert(FP8_GROUP_COLUMNS % Shape::kWarpN == 0, "a warp's rows lie in one block");

  float tokens[kLoads];  // of row kRowsAtOnce * i + lane / kBlocks, block lane % kBlocks
  float weight;          // of gate, or all (lane / kBlocks == 0), and of up (1)
  const char* gmem_tokens;
  const char* gmem_weight;
  int64_t token_load_bytes;  // from one load's row to the next
  int64_t token_block_bytes;
  int64_t weight_block_bytes;
  int rows;  // from this lane's first to the end of x
  int blocks;
  bool has_weight;

  // `first_row` and `first_column` are the warp's.
  __device__ __forceinline__ BlockScales(const MatmulFp8Params& params, int first_row,
                                         int first_column) {
    const MatmulParams& matmul = params.matmul;
    const int lane_row = threadIdx.x % kWarpSize / kBlocks;
    constexpr int64_t kBytes = sizeof(float);
    const int row = first_row + lane_row;
    gmem_tokens =
        reinterpret_cast<const char*>(params.x_scale) + row * params.x_scale_stride_row * kBytes;
    token_load_bytes = kRowsAtOnce * params.x_scale_stride_row * kBytes;
    token_block_bytes = params.x_scale_stride_group * kBytes;
    rows = matmul.m - row;
    blocks = (matmul.k - 1) / FP8_GROUP_COLUMNS + 1;
    // Rows of gate and up are counted apart.
    const bool swiglu = matmul.epilogue == MATMUL_EPILOGUE_SWIGLU;
    const int rows_of_part = swiglu ? matmul.n / 2 : matmul.n;
    const int part_row = swiglu ? first_column / 2 : first_column;
    const int64_t block_row = part_row / FP8_GROUP_COLUMNS +
                              (lane_row == 1 ? (rows_of_part - 1) / FP8_GROUP_COLUMNS + 1 : 0);
    gmem_weight = reinterpret_cast<const char*>(params.weight_scale) +
                  block_row * params.weight_scale_stride_row * kBytes;
    weight_block_bytes = params.weight_scale_stride_group * kBytes;
    has_weight = part_row < rows_of_part && lane_row <= static_cast<int>(swiglu);
  }

  // Starts loading those of the kBlocks blocks of columns from `block` on.
  __device__ __forceinline__ void load(int block) {
    const int column = block + static_cast<int>(threadIdx.x) % kBlocks;
    const bool inside = column < blocks;
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      tokens[i] =
          inside && kRowsAtOnce * i < rows
              ? ld_global_f32(gmem_tokens + i * token_load_bytes + column * token_block_bytes)
              : 0.0f;
    }
    weight = inside && has_weight ? ld_global_f32(gmem_weight + column * weight_block_bytes) : 0.0f;
  }

  // Of the row `row` * 8 + lane / 4 of the warp.
  __device__ __forceinline__ float token(int row, int block) const {
    const int g = threadIdx.x % kWarpSize / 4;
    const int source = g % kRowsAtOnce * kBlocks + block % kBlocks;
    const float low = __shfl_sync(0xffffffff, tokens[2 * row], source);
    const float high = __shfl_sync(0xffffffff, tokens[2 * row + 1], source);
    return g < kRowsAtOnce ? low : high;
  }
  // Of the gate rows, or all, and of the up rows.
  __device__ __forceinline__ float rows_of(int part, int block) const {
    return __shfl_sync(0xffffffff, weight, part * kBlocks + block % kBlocks);
  }
};

// See PairProducts.
template <class Shape>
struct Fp8Products {
  static constexpr int kStagesPerBlock = FP8_GROUP_COLUMNS / (2 * Shape::kBlockK);
  static_assert(kStagesPerBlock * 2 * Shape::kBlockK == FP8_GROUP_COLUMNS,
                "blocks end with stages");
  // What products of decoded codes lack.
#if HAS_MMA_E4M3
  static constexpr float kUnit = 1.0f;
#else
  static constexpr float kUnit = kE4m3Unit * kE4m3Unit;
#endif

  Accumulators<Shape> acc = {};
  Accumulators<Shape> partial = {};  // of the tensor cores
  BlockScales<Shape> scales;
  bool block_scales;
  bool swiglu;
  bool every_block;  // whether sums leave the tensor cores with each block of columns
  int first_stage;   // of the tile's

  __device__ __forceinline__ Fp8Products(const MatmulFp8Params& params, int first_row,
                                         int first_column, int first_stage)
      : scales(params, first_row, first_column),
        block_scales(params.block_scales != 0),
        swiglu(params.matmul.epilogue == MATMUL_EPILOGUE_SWIGLU),
        every_block(params.block_scales != 0 || params.fast_accumulation == 0),
        first_stage(first_stage) {}

  __device__ __forceinline__ void begin_stage(int stage, bool first) {
    constexpr int kStages = kStagesPerBlock * BlockScales<Shape>::kBlocks;
    const int of_tile = first_stage + stage;
    if (block_scales && (of_tile % kStages == 0 || first)) {
      scales.load(of_tile / kStages * BlockScales<Shape>::kBlocks);
    }
  }

  template <class OperandB>
  __device__ __forceinline__ void multiply(const uint32_t (&a)[Shape::kFragmentsM][4],
                                           const typename OperandB::Fragments& b) {
#if HAS_MMA_E4M3
#pragma unroll
    for (int j = 0; j < Shape::kFragmentsN; ++j) {
#pragma unroll
      for (int i = 0; i < Shape::kFragmentsM; ++i) {
        const int turn = j % 2 == 0 ? i : Shape::kFragmentsM - 1 - i;
        mma_m16n8k32_e4m3(partial[turn][j], a[turn], OperandB::low(b, j), OperandB::high(b, j));
      }
    }
#else
    uint32_t pairs[2][Shape::kFragmentsM][4];  // of A: lower and upper ones
#pragma unroll
    for (int i = 0; i < Shape::kFragmentsM; ++i) {
#pragma unroll
      for (int word = 0; word < 4; ++word) {
        const uint2 decoded = decode_e4m3x4(a[i][word]);
        pairs[0][i][word] = decoded.x;
        pairs[1][i][word] = decoded.y;
      }
    }
#pragma unroll
    for (int j = 0; j < Shape::kFragmentsN; ++j) {
      // Weights have no NaN.
      const uint2 low = decode_e4m3x4<false>(OperandB::low(b, j));
      const uint2 high = decode_e4m3x4<false>(OperandB::high(b, j));
#pragma unroll
      for (int i = 0; i < Shape::kFragmentsM; ++i) {
        mma_m16n8k16<__half2>(partial[i][j], pairs[0][i], low.x, high.x);
      }
#pragma unroll
      for (int i = 0; i < Shape::kFragmentsM; ++i) {
        mma_m16n8k16<__half2>(partial[i][j], pairs[1][i], low.y, high.y);
      }
    }
#endif
  }

  __device__ __forceinline__ void end_stage(int stage, bool last) {
    const int of_tile = first_stage + stage;
    const bool block_ends = (of_tile + 1) % kStagesPerBlock == 0;
    if (last || (every_block && block_ends)) {
      add_partial(of_tile / kStagesPerBlock);
    }
  }

  // acc += partial * scales, partial = 0.
  __device__ __forceinline__ void add_partial(int block) {
    float factors[Shape::kFragmentsM][2][2];  // of rows g and g+8, of gate (or all) and up
    if (block_scales) {
      const float gate = scales.rows_of(0, block) * kUnit;
      const float up = swiglu ? scales.rows_of(1, block) * kUnit : gate;
#pragma unroll
      for (int i = 0; i < Shape::kFragmentsM; ++i) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float token = scales.token(2 * i + half, block);
          factors[i][half][0] = token * gate;
          factors[i][half][1] = token * up;
        }
      }
    } else {
#pragma unroll
      for (int i = 0; i < Shape::kFragmentsM * 4; ++i) {
        factors[i / 4][i / 2 % 2][i % 2] = kUnit;
      }
    }
#pragma unroll
    for (int i = 0; i < Shape::kFragmentsM; ++i) {
#pragma unroll
      for (int j = 0; j < Shape::kFragmentsN; ++j) {
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          acc[i][j][c] = fmaf(partial[i][j][c], factors[i][c / 2][j % 2], acc[i][j][c]);
          partial[i][j][c] = 0.0f;
        }
      }
    }
  }
};
