// The frame of matrix products of few tokens, of which reading the weights is all: 16 rows of
// weights are operand A of an mma, 8 tokens of x are operand B. It knows how work is shared, how
// copies run ahead and how sums come together; an operand (stream_rows.cuh, stream_int4.cuh) knows
// where weights and x lie (`copy`) and what an mma takes of them (`multiply`). So another kind of
// weight is another operand, and nothing else.
//
//   tile   the rows of the weight whose sums a warp has in registers, and all columns
//   unit   what a warp copies and multiplies at a time: the tile's rows, and a few of its columns
//
// The units of all tiles stand in one row, of which each block has a part (split_work.cuh), and the
// warps of a block take them in turn, whatever tile they belong to: all multiprocessors and all
// their warps end together. A warp copies its units into a ring of its own in shared memory, of
// kStreamDepth places, past the end of a tile into the next one: while sums are added up and stored
// the memory goes on. No warp waits for another before the end of a tile, since it reads what it
// has copied itself.
//
// At the end of a tile, or of the block's part of it, each warp writes its sums where it would copy
// to next. They are added in the order of the warps, and those of blocks that share a tile in the
// order of its columns: the same bits every time.
#pragma once

#include "../ptx/cp_async.cuh"
#include "../ptx/ldst.cuh"
#include "../ptx/mma.cuh"
#include "../ptx/special.cuh"
#include "epilogue.cuh"
#include "layout.cuh"
#include "split_work.cuh"

constexpr int kStreamDepth = MATMUL_STREAM_DEPTH;
constexpr int kStreamThreads = MATMUL_STREAM_WARPS * 32;  // at most
constexpr int kTileRows = 16;                             // of the weight in an mma
constexpr int kTileTokens = 8;                            // of x
constexpr int kChunkBytes = 32 * 16;                      // what a warp copies or reads at a time
static_assert((kStreamDepth & (kStreamDepth - 1)) == 0, "places in a ring are counted by masks");

template <int kRowTiles_, int kTokenTiles_>
struct StreamShape {
  static constexpr int kRowTiles = kRowTiles_;
  static constexpr int kTokenTiles = kTokenTiles_;
  static constexpr int kRows = kRowTiles * kTileRows;
  static constexpr int kTokens = kTokenTiles * kTileTokens;
  static constexpr int kFragments = kRowTiles * kTokenTiles;
  static constexpr int kSumBytes = kFragments * kChunkBytes;  // of a tile
};

// With g = lane / 4 and t = lane % 4: rows g and g+8 of each row tile, tokens 2t and 2t+1 of each
// token tile, as mma.cuh has them.
template <class Shape>
using StreamSums = float[Shape::kRowTiles][Shape::kTokenTiles][4];

// The unit that a warp copies next.
struct StreamUnit {
  int64_t tile;
  int column;  // unit of the tile
};

// Bias, SwiGLU and store of the sums of the rows `row` and `row` + 8 for the tokens `token` and
// `token` + 1, in the order of an mma's accumulators.
template <typename Pair>
__device__ __forceinline__ void store_sums(const MatmulParams& params, float (&sums)[4],
                                           int64_t row, int token) {
  if (params.bias != 0) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      if (row + h * 8 < params.n) {
        const float bias = load_element<Pair>(params.bias, row + h * 8);
        sums[h * 2] += bias;
        sums[h * 2 + 1] += bias;
      }
    }
  }
  const bool swiglu = params.epilogue == MATMUL_EPILOGUE_SWIGLU;
  if (swiglu) {
    sums[0] = silu(sums[0]) * sums[2];
    sums[1] = silu(sums[1]) * sums[3];
  }
  const int64_t column = swiglu ? (row - row % kTileRows) / 2 + row % kTileRows : row;
  char* gmem_out = reinterpret_cast<char*>(params.out);
#pragma unroll
  for (int h = 0; h < 2; ++h) {
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      if (token + c >= params.m || row + h * 8 >= params.n || (swiglu && h > 0)) {
        continue;
      }
      const int64_t offset = (token + c) * params.out_stride_row + column + h * 8;
      const float sum = sums[h * 2 + c];
      if (params.out_f32) {
        st_global_f32(gmem_out + offset * 4, sum);
      } else {
        st_global_u16(gmem_out + offset * 2, static_cast<uint16_t>(rounded<Pair>(sum, 0.0f)));
      }
    }
  }
}

// A block's part of the product. The operand is made for the first unit of its warp; what follows
// the sums is `store(sums, row, token)`.
template <class Operand, class Params, class Store>
__device__ __forceinline__ void stream_matmul(const Params& params, uint64_t workspace, int n,
                                              int units_per_tile, const Store& store) {
  extern __shared__ __align__(128) unsigned char smem_rings[];
  using Shape = typename Operand::Shape;
  __shared__ uint32_t smem_last;
  // Read once: else it is read again for each unit.
  const int thread_idx = thread_idx_anew();
  const int warp_idx = thread_idx / 32;
  const int lane_idx = thread_idx % 32;
  const int num_warps = blockDim.x / 32;
  // Without a workspace no tile is split.
  const int64_t num_tiles = (n - 1) / Shape::kRows + 1;
  const SplitWork work(num_tiles, units_per_tile);
  const SplitWork whole_tiles(num_tiles, 1);
  const auto first_of = [&](int block) {
    return workspace == 0 ? whole_tiles.first_unit(block) * units_per_tile : work.first_unit(block);
  };
  const int64_t first_unit = first_of(blockIdx.x);
  const int num_units = static_cast<int>(first_of(blockIdx.x + 1) - first_unit);

  // Where the warp's copies are.
  StreamUnit next;
  next.tile = (first_unit + warp_idx) / units_per_tile;
  next.column = static_cast<int>(first_unit + warp_idx - next.tile * units_per_tile);
  int left = num_units > warp_idx ? (num_units - warp_idx - 1) / num_warps + 1 : 0;
  Operand operand(params, next, lane_idx);

  const uint32_t smem = smem_address(smem_rings);
  const uint32_t place_bytes = operand.place_bytes();
  const uint32_t ring_bytes = kStreamDepth * place_bytes;
  const uint32_t smem_ring = smem + warp_idx * ring_bytes;
  const auto place = [&](int unit) { return (unit & (kStreamDepth - 1)) * place_bytes; };

  const auto copy = [&](int unit) {
    if (left > 0) {
      operand.copy(smem_ring + place(unit), next.column);
      --left;
      next.column += num_warps;
      operand.advance(num_warps);
      while (next.column >= units_per_tile) {
        next.column -= units_per_tile;
        operand.next_tile();
      }
    }
    cp_async_commit();  // an empty group where there is nothing to copy: waits count groups
  };
#pragma unroll 1
  for (int unit = 0; unit < kStreamDepth - 1; ++unit) {
    copy(unit);
  }

  // What lane i % 32 has of the tile's fragment i / 32.
  const auto store_fragment = [&](int64_t tile, int i, float(&sums)[4]) {
    const int fragment = i / 32;
    const int64_t row =
        tile * Shape::kRows + fragment / Shape::kTokenTiles * kTileRows + i % 32 / 4;
    store(sums, row, fragment % Shape::kTokenTiles * kTileTokens + i % 4 * 2);
  };

  StreamSums<Shape> acc = {};
  int taken = 0;  // units that this warp has multiplied
  int begin = 0;  // of the segment, in the block's units
#pragma unroll 1
  while (begin < num_units) {
    const Segment segment(work, first_unit + begin, first_unit + num_units);
    const int end = begin + segment.end - segment.first;
#pragma unroll 1
    for (int unit = warp_idx + taken * num_warps; unit < end; unit += num_warps) {
      cp_async_wait<kStreamDepth - 2>();
      // The lanes see each other's copies, and have read what is overwritten now.
      __syncwarp();
      copy(taken + kStreamDepth - 1);
      operand.multiply(acc, smem_ring + place(taken), segment.first + unit - begin);
      ++taken;
    }

    __syncwarp();
    const uint32_t smem_sums = smem_ring + place(taken + kStreamDepth - 1) + lane_idx * 16;
    // Warps that have had a turn more are the first ones.
    const int turns = end / num_warps;
    const int more = end % num_warps;
    const uint64_t partial = segment.partial(workspace, blockIdx.x, Shape::kSumBytes);
    // A place may have room for a part of the row tiles only.
    constexpr int kRounds = (Shape::kSumBytes - 1) / Operand::kUnitEnd + 1;
    constexpr int kRoundTiles = Shape::kRowTiles / kRounds;
    constexpr int kRoundLanes = kRoundTiles * Shape::kTokenTiles * 32;
    static_assert(Shape::kRowTiles % kRounds == 0, "rounds are alike");
#pragma unroll
    for (int round = 0; round < kRounds; ++round) {
      if (round > 0) {
        __syncthreads();  // the last round's sums have been read
      }
#pragma unroll
      for (int r = 0; r < kRoundTiles; ++r) {
#pragma unroll
        for (int j = 0; j < Shape::kTokenTiles; ++j) {
          float(&sums)[4] = acc[round * kRoundTiles + r][j];
          st_shared_f32x4(smem_sums + (r * Shape::kTokenTiles + j) * kChunkBytes, sums);
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            sums[i] = 0.0f;
          }
        }
      }
      __syncthreads();
#pragma unroll 1
      for (int i = thread_idx; i < kRoundLanes; i += blockDim.x) {
        float sums[4] = {};
#pragma unroll
        for (int warp = 0; warp < MATMUL_STREAM_WARPS; ++warp) {
          if (warp < num_warps) {
            const int free = turns + (warp < more) + kStreamDepth - 1;
            add_shared_f32x4(sums, smem + warp * ring_bytes + place(free) + i * 16);
          }
        }
        const int of_tile = round * kRoundLanes + i;
        if (segment.whole()) {
          store_fragment(segment.tile, of_tile, sums);
        } else {
          st_global_f32x4(reinterpret_cast<char*>(partial) + of_tile * 16, sums);
        }
      }
    }
    if (segment.whole()) {
      __syncthreads();  // the sums have been read
    } else if (segment.arrives_last(workspace, &smem_last)) {
#pragma unroll 1
      for (int i = thread_idx; i < Shape::kFragments * 32; i += blockDim.x) {
        float sums[4] = {};
        for (int block = segment.first_block; block <= segment.last_block; ++block) {
          const uint64_t part = segment.partial(workspace, block, Shape::kSumBytes);
          add_global_f32x4(sums, reinterpret_cast<const char*>(part) + i * 16);
        }
        store_fragment(segment.tile, i, sums);
      }
    }
    begin = end;
  }
}
