// 4-bit weights as operand B of the matmul frame. A stage is one unit of 64 columns of each of the
// block's row tiles: 512 bytes of codes, which lie in memory as the lanes of a warp want them, so
// that they are copied and read in one piece, and the scales and zeros of the unit's groups. The
// codes of a unit pass into registers at its first step; a step takes a word of them, and makes
// weights of it just before they are multiplied: so few of them are in registers at a time.
#pragma once

#include "int4.cuh"
#include "tile_launch.cuh"

constexpr int kInt4Rows = 16;     // of a row tile
constexpr int kInt4Columns = 64;  // of a unit
constexpr int kInt4UnitBytes = 512;
constexpr int kInt4ScaleBytes = 32;                        // of a row tile and group
constexpr int kInt4GroupBytes = 2 * kInt4ScaleBytes;       // with its zeros
constexpr int kInt4StageScaleBytes = 2 * kInt4GroupBytes;  // two groups at most
constexpr int kInt4ScaleChunks = kInt4StageScaleBytes / 16;

template <class Shape, typename Pair>
struct Int4Operand {
  static constexpr int kTiles = Shape::kBlockN / kInt4Rows;
  static constexpr int kWarpTiles = Shape::kWarpN / kInt4Rows;
  static constexpr int kCodeBytes = kTiles * kInt4UnitBytes;
  static constexpr int kStageBytes = kCodeBytes + kTiles * kInt4StageScaleBytes;
  static constexpr int kCopies = kCodeBytes / 16 / Shape::kThreads;
  static constexpr int kTilesAtOnce = Shape::kThreads / 32;
  static_assert(Shape::kBlockK == kInt4Columns && Shape::kWarpsK == 1, "a stage is a unit");
  static_assert(kTiles % kTilesAtOnce == 0, "every thread copies as much");
  static_assert(kTiles * kInt4ScaleChunks <= Shape::kThreads, "a thread copies scales once");
  static_assert(kStageBytes % 256 == 0, "stages begin at multiples of 256 bytes");

  struct Fragments {
    uint32_t words[kWarpTiles];
    uint32_t scales[kWarpTiles];
    uint32_t zeros[kWarpTiles];
  };

  const MatmulInt4Params& params;
  const char* gmem_codes;  // this thread's chunk of the next stage, in its first row tile
  int64_t gmem_step;       // bytes from one of its row tiles to the next
  int tiles;               // from the block's first one to the end of the weight
  int first_tile;
  int next_stage;
  uint32_t smem_lane;
  uint32_t smem_scales_lane;
  uint4 codes[kWarpTiles];
  uint32_t scales[kWarpTiles];
  uint32_t zeros[kWarpTiles];

  __device__ __forceinline__ Int4Operand(const MatmulInt4Params& params, int first_row,
                                         int first_stage, const WarpCoordinate<Shape>& warp)
      : params(params) {
    const int units = (params.matmul.k - 1) / kInt4Columns + 1;
    const int warp_idx = threadIdx.x / 32;
    const int lane_idx = threadIdx.x % 32;
    gmem_step = static_cast<int64_t>(units) * (kTilesAtOnce * kInt4UnitBytes);
    first_tile = first_row / kInt4Rows;
    gmem_codes =
        reinterpret_cast<const char*>(params.matmul.weight) +
        ((first_tile + static_cast<int64_t>(warp_idx)) * units + first_stage) * kInt4UnitBytes +
        lane_idx * 16;
    tiles = (params.matmul.n - 1) / kInt4Rows + 1 - first_tile;
    next_stage = first_stage;
    smem_lane = warp.n * kWarpTiles * kInt4UnitBytes + lane_idx * 16;
    smem_scales_lane = kCodeBytes + warp.n * kWarpTiles * kInt4StageScaleBytes + lane_idx / 4 * 4;
  }

  // Starts the copies of the next stage.
  __device__ __forceinline__ void copy(uint32_t smem_stage) {
    const int tile = threadIdx.x / 32;
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      cp_async(smem_stage + (threadIdx.x + i * Shape::kThreads) * 16, gmem_codes + i * gmem_step,
               tile + i * kTilesAtOnce < tiles);
    }
    copy_scales(smem_stage + kCodeBytes);
    gmem_codes += kInt4UnitBytes;
    ++next_stage;
  }

  // A thread has 16 bytes of a row tile: half of the scales, or of the zeros, of one of two groups.
  __device__ __forceinline__ void copy_scales(uint32_t smem_scales) {
    const int tile = threadIdx.x / kInt4ScaleChunks;
    const int chunk = threadIdx.x % kInt4ScaleChunks;
    const int group_of_stage = chunk / 4;
    const int is_zero = chunk / 2 % 2;
    const int column = next_stage * kInt4Columns + group_of_stage * (kInt4Columns / 2);
    const bool wanted = (group_of_stage == 0 || params.group_shift == 5) &&
                        (is_zero == 0 || params.zeros) && tile < kTiles;
    if (wanted) {
      const int group = column >> params.group_shift;
      const int64_t row_tile = first_tile + tile;
      const int kinds = params.zeros ? 2 : 1;
      const char* gmem = reinterpret_cast<const char*>(params.scales) +
                         ((row_tile * params.groups + group) * kinds + is_zero) * kInt4ScaleBytes +
                         chunk % 2 * 16;
      cp_async(smem_scales + threadIdx.x * 16, gmem, tile < tiles && group < params.groups);
    }
  }

  __device__ __forceinline__ void load(Fragments& b, uint32_t smem_stage, int step) {
    if (step == 0) {
      load_codes(smem_stage);
      load_scales(smem_stage, 0);
    }
    if (step == 2 && params.group_shift == 5) {
      load_scales(smem_stage, 1);
    }
#pragma unroll
    for (int j = 0; j < kWarpTiles; ++j) {
      const uint32_t words[4] = {codes[j].x, codes[j].y, codes[j].z, codes[j].w};
      b.words[j] = words[step];
      b.scales[j] = scales[j];
      b.zeros[j] = zeros[j];
    }
  }

  __device__ __forceinline__ void load_codes(uint32_t smem_stage) {
#pragma unroll
    for (int j = 0; j < kWarpTiles; ++j) {
      codes[j] = ld_shared(smem_stage + smem_lane + j * kInt4UnitBytes);
    }
  }

  __device__ __forceinline__ void load_scales(uint32_t smem_stage, int group_of_stage) {
    const uint32_t smem = smem_stage + smem_scales_lane + group_of_stage * kInt4GroupBytes;
#pragma unroll
    for (int j = 0; j < kWarpTiles; ++j) {
      scales[j] = ld_shared_u32(smem + j * kInt4StageScaleBytes);
      zeros[j] = params.zeros ? ld_shared_u32(smem + j * kInt4StageScaleBytes + kInt4ScaleBytes)
                              : int4_symmetric_zeros(!params.scales_f16);
    }
  }
};

// Sums of products of 16-bit activations and of weights that are made on the way.
template <class Shape, typename Pair>
struct Int4Products : PairProducts<Shape, Pair> {
  const MatmulInt4Params& params;

  __device__ __forceinline__ explicit Int4Products(const MatmulInt4Params& params)
      : params(params) {}

  template <int kArithmetic, class Fragments, int kTiles>
  __device__ __forceinline__ void make(uint32_t (&weights)[kTiles][4], const Fragments& b) const {
#pragma unroll
    for (int j = 0; j < kTiles; ++j) {
      const Int4Group<Pair, kArithmetic> group(b.scales[j], b.zeros[j], !params.scales_f16);
      group.weights(weights[j], b.words[j]);
    }
  }

  template <class OperandB>
  __device__ __forceinline__ void multiply(const uint32_t (&a)[Shape::kFragmentsM][4],
                                           const typename OperandB::Fragments& b) {
    uint32_t weights[OperandB::kWarpTiles][4];
    // One of three for all of a launch.
    if (params.arithmetic == MATMUL_INT4_EXACT_16) {
      make<MATMUL_INT4_EXACT_16>(weights, b);
    } else if (params.arithmetic == MATMUL_INT4_EXACT_32) {
      make<MATMUL_INT4_EXACT_32>(weights, b);
    } else {
      make<MATMUL_INT4_ROUNDED>(weights, b);
    }
#pragma unroll
    for (int j = 0; j < Shape::kFragmentsN; ++j) {
      const uint32_t(&b_of)[4] = weights[j / 2];
#pragma unroll
      for (int i = 0; i < Shape::kFragmentsM; ++i) {
        const int turn = j % 2 == 0 ? i : Shape::kFragmentsM - 1 - i;
        mma_m16n8k16<Pair>(this->acc[turn][j], a[turn], b_of[j % 2], b_of[j % 2 + 2]);
      }
    }
  }
};

// 16-bit activations with 4-bit weights.
template <class Shape_, typename Pair_>
struct Int4Format : PairFormat<Shape_, Pair_> {
  using Shape = Shape_;
  using Pair = Pair_;

  const MatmulInt4Params& int4;

  __device__ __forceinline__ explicit Int4Format(const MatmulInt4Params& params)
      : PairFormat<Shape, Pair>{params.matmul}, int4(params) {}

  __device__ __forceinline__ Int4Operand<Shape, Pair> weight(
      int first_row, int first_stage, const WarpCoordinate<Shape>& warp) const {
    return {int4, first_row, first_stage, warp};
  }
  __device__ __forceinline__ Int4Products<Shape, Pair> products(int /*first_row*/,
                                                                int /*first_column*/,
                                                                int /*first_stage*/) const {
    return Int4Products<Shape, Pair>(int4);
  }
};
