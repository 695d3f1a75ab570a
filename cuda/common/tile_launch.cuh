// What a block of a matrix product does: the main loop over its part of the tiles' columns, the
// addition of the parts where blocks share a tile, and what follows the sum. A kernel says only
// what it multiplies: a format, which makes operands of its parameters.
#pragma once

#include "epilogue.cuh"
#include "split_work.cuh"
#include "tile_matmul.cuh"

// Where a tile is. Tiles of neighbouring numbers share rows of the weight: kRasterRows rows of x
// are walked through all of the weight before the next ones, so that what is in work together has
// about as many rows as columns and stays in L2.
template <class Shape, int kRasterRows>
struct TileCoordinate {
  int first_row;     // of x
  int first_column;  // of the output: a row of the weight

  __device__ __forceinline__ TileCoordinate(int tile, int m, int n) {
    constexpr int kGroup = kRasterRows / Shape::kBlockM;
    const int blocks_m = (m - 1) / Shape::kBlockM + 1;
    const int blocks_n = (n - 1) / Shape::kBlockN + 1;
    const int group_first = tile / (kGroup * blocks_n) * kGroup;
    const int in_group = tile - group_first * blocks_n;
    const int rows = min(kGroup, blocks_m - group_first);
    first_row = (group_first + in_group % rows) * Shape::kBlockM;
    first_column = in_group / rows * Shape::kBlockN;
  }

  __device__ __forceinline__ static int count(int m, int n) {
    return ((m - 1) / Shape::kBlockM + 1) * ((n - 1) / Shape::kBlockN + 1);
  }
};

// A block's sums of a tile in the workspace: what a lane holds of a fragment of accumulators is 16
// bytes, those of a warp's lanes lie together.
template <class Shape>
struct PartialSums {
  static constexpr int64_t kBytes = int64_t{Shape::kBlockM} * Shape::kBlockN * 4;
  static constexpr int kFragmentBytes = 32 * 16;
  static constexpr int kWarpBytes = Shape::kFragmentsM * Shape::kFragmentsN * kFragmentBytes;

  char* gmem_lane;

  __device__ __forceinline__ PartialSums(uint64_t base, const WarpCoordinate<Shape>& warp)
      : gmem_lane(reinterpret_cast<char*>(base) + (warp.n * Shape::kWarpsM + warp.m) * kWarpBytes +
                  thread_idx_anew() % 32 * 16) {}

  __device__ __forceinline__ void store(const Accumulators<Shape>& acc) const {
#pragma unroll
    for (int i = 0; i < Shape::kFragmentsM; ++i) {
#pragma unroll
      for (int j = 0; j < Shape::kFragmentsN; ++j) {
        uint4 bits;
        __builtin_memcpy(&bits, acc[i][j], sizeof(bits));
        st_global(gmem_lane + (i * Shape::kFragmentsN + j) * kFragmentBytes, bits);
      }
    }
  }

  // Adds a row of fragments to others.
  __device__ __forceinline__ void add_to(float (&sums)[Shape::kFragmentsN][4], int i) const {
#pragma unroll
    for (int j = 0; j < Shape::kFragmentsN; ++j) {
      const uint4 bits = ld_global_once(gmem_lane + (i * Shape::kFragmentsN + j) * kFragmentBytes);
      float values[4];
      __builtin_memcpy(values, &bits, sizeof(bits));
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        sums[j][c] += values[c];
      }
    }
  }
};

// Leaves this block's sums of a shared tile in the workspace. The block that comes last gets all of
// them, added in the order of k; `has_sums` says which warps have some.
template <class Shape>
__device__ __forceinline__ bool add_blocks(Accumulators<Shape>& acc, const Segment& segment,
                                           uint64_t workspace, uint32_t* smem_last, bool has_sums,
                                           const WarpCoordinate<Shape>& warp) {
  using Sums = PartialSums<Shape>;
  auto sums_of = [&](int block) {
    return Sums(segment.partial(workspace, block, Sums::kBytes), warp);
  };
  if (has_sums) {
    sums_of(blockIdx.x).store(acc);
  }
  if (!segment.arrives_last(workspace, smem_last)) {
    return false;
  }
  if (has_sums) {
    // A row of fragments after the other: more loads at a time have no room in registers.
#pragma unroll
    for (int i = 0; i < Shape::kFragmentsM; ++i) {
      float sums[Shape::kFragmentsN][4] = {};
#pragma unroll 1
      for (int block = segment.first_block; block <= segment.last_block; ++block) {
        sums_of(block).add_to(sums, i);
      }
      __builtin_memcpy(acc[i], sums, sizeof(sums));
    }
  }
  return has_sums;
}

// What operands in 16-bit types have in common, and all that there is to say of 16-bit weights.
template <class Shape_, typename Pair_>
struct PairFormat {
  using Shape = Shape_;
  using Pair = Pair_;

  const MatmulParams& params;

  // Stages of a tile.
  __device__ __forceinline__ int stages() const { return (params.k - 1) / Shape::kBlockK + 1; }

  // Operands from a row and a stage on.
  __device__ __forceinline__ ActivationOperand<Shape> x(int first_row, int first_stage,
                                                        const WarpCoordinate<Shape>& warp) const {
    return {params.x, params.x_stride_row, first_row, params.m, params.k, first_stage, warp};
  }
  __device__ __forceinline__ WeightOperand<Shape> weight(int first_row, int first_stage,
                                                         const WarpCoordinate<Shape>& warp) const {
    return {params.weight, params.weight_stride_row, first_row, params.n, params.k, first_stage,
            warp};
  }

  // The sums of a warp's outputs from a row, a column and a stage on.
  __device__ __forceinline__ PairProducts<Shape, Pair> products(int /*first_row*/,
                                                                int /*first_column*/,
                                                                int /*first_stage*/) const {
    return {};
  }

  // What follows the whole sum.
  __device__ __forceinline__ void store(Accumulators<Shape>& acc, int first_row,
                                        int first_column) const {
    store_tile<Pair>(params, acc, first_row, first_column);
  }
};

// All that a block does.
template <class Format>
__device__ __forceinline__ void matmul_tiles(const Format& format) {
  extern __shared__ __align__(256) unsigned char smem_pipeline[];
  using Shape = typename Format::Shape;
  using Tile = TileCoordinate<Shape, MATMUL_RASTER_ROWS>;
  const MatmulParams& params = format.params;
  const uint32_t smem = smem_address(smem_pipeline);
  const WarpCoordinate<Shape> warp;
  const SplitWork work(Tile::count(params.m, params.n), format.stages());
  int64_t unit = work.first_unit(blockIdx.x);
  const int64_t end_unit = work.first_unit(blockIdx.x + 1);

#pragma unroll 1
  while (true) {
    const Segment segment(work, unit, end_unit);
    const Tile tile(static_cast<int>(segment.tile), params.m, params.n);
    const int first_row = tile.first_row + warp.m * Shape::kWarpM;
    const int first_column = tile.first_column + warp.n * Shape::kWarpN;
    auto x = format.x(tile.first_row, segment.first, warp);
    auto weight = format.weight(tile.first_column, segment.first, warp);
    auto products = format.products(first_row, first_column, segment.first);
    matmul_stages<Shape>(products, x, weight, smem, segment.end - segment.first);

    bool stores = reduce_warps<Shape>(products.acc, smem, warp);
    if (!segment.whole()) {
      // Nobody reads the pipeline's memory behind the barrier in there.
      uint32_t* smem_last = reinterpret_cast<uint32_t*>(smem_pipeline);
      stores = add_blocks<Shape>(products.acc, segment, params.workspace, smem_last, stores, warp);
    }
    if (stores) {
      format.store(products.acc, first_row, first_column);
    }
    unit += segment.end - segment.first;
    if (unit >= end_unit) {
      break;
    }
    __syncthreads();  // the pipeline's memory is free again
  }
}
