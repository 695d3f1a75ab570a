// 4-bit weights in the order of fragments (src/quant/int4/packed.rs) for stream_matmul.cuh: a unit
// is kHalves times 64 columns, of each of which a lane copies and reads 16 bytes in each row tile,
// with the scales and zeros of their groups. x lies in the order of its columns, which ldmatrix
// makes the fragments of.
#pragma once

#include "int4.cuh"
#include "stream_matmul.cuh"

template <class Shape_, typename Pair, int kHalves>
struct StreamInt4 {
  using Shape = Shape_;
  static constexpr int kHalfColumns = 64;  // of a lane's 16 bytes in all lanes
  static constexpr int kUnitColumns = kHalves * kHalfColumns;
  static constexpr int kSteps = kHalfColumns / 16;      // of an mma, in a half
  static constexpr int kTokenBytes = kHalfColumns * 2;  // of a half
  static constexpr int kHalfXBytes = Shape::kTokens * kTokenBytes;
  static constexpr int kXCopies = kHalfXBytes / kChunkBytes;
  static constexpr int kXOffset = Shape::kRowTiles * kHalves * kChunkBytes;
  static constexpr int kUnitEnd = kXOffset + kHalves * kHalfXBytes;  // but for scales
  static constexpr int kScalesOffset = kUnitEnd;
  static constexpr int kMaxScaleBytes =
      kHalves * 128;  // of a row tile: two groups with zeros a half
  static constexpr int kScaleCopies = (Shape::kRowTiles * kMaxScaleBytes - 1) / kChunkBytes + 1;
  static_assert(kHalves == 1 || kHalves == 2, "a group begins at a half or a quarter");

  const MatmulInt4Params& params;
  const char* gmem_codes;   // the lane's 16 bytes of the first row tile of the unit copied next
  const char* gmem_scales;  // the lane's first 16 bytes of the tile's scales
  const char* gmem_x;       // the lane's first 16 bytes of the unit copied next
  int64_t codes_step;       // bytes from a row tile to the next
  int64_t tile_step;        // bytes from the end of a tile's first row tile to the next tile
  int x_tile_step;
  int64_t scales_step;
  int64_t x_step;        // bytes from a token to the fourth behind it
  int row_tiles;         // from the tile's first one to the end of the weight
  int group_bytes;       // of a row tile
  int scale_bytes;       // of a row tile and a unit
  int scale_row;         // the row tile of the lane's first 16 bytes of scales
  int scale_rows;        // row tiles from there to that of the lane's next ones
  int scale_group;       // the group, in the unit, of the lane's 16 bytes
  int x_column;          // of a unit, of the lane's 16 bytes of x
  int x_tokens;          // from the lane's first one on
  uint32_t lane_offset;  // in what a warp copies at a time
  uint32_t smem_scales;  // what the lane reads of a row tile's scales
  uint32_t smem_x_copy;  // where the lane's first 16 bytes of x go in a place
  uint32_t smem_x;       // what the lane gives ldmatrix
  uint64_t policy;

  __device__ __forceinline__ StreamInt4(const MatmulInt4Params& params, const StreamUnit& first,
                                        int lane_idx)
      : params(params), lane_offset(lane_idx * 16), policy(evict_first_policy()) {
    const MatmulParams& matmul = params.matmul;
    const int64_t first_row_tile = first.tile * Shape::kRowTiles;
    codes_step = static_cast<int64_t>((matmul.k - 1) / kHalfColumns + 1) * kChunkBytes;
    tile_step = Shape::kRowTiles * codes_step - unit_bytes(matmul.k, kChunkBytes);
    gmem_codes = reinterpret_cast<const char*>(matmul.weight) + first_row_tile * codes_step +
                 static_cast<int64_t>(first.column) * (kHalves * kChunkBytes) + lane_idx * 16;
    x_tile_step = unit_bytes(matmul.k, kTokenBytes);
    row_tiles = static_cast<int>((matmul.n - 1) / kTileRows + 1 - first_row_tile);

    group_bytes = params.zeros ? 64 : 32;
    // The groups of a unit: one of 64 columns in a half, two of 32, and one of more in all.
    const int groups = params.group_shift == 5   ? 2 * kHalves
                       : params.group_shift == 6 ? kHalves
                                                 : 1;
    scale_bytes = groups * group_bytes;
    const int chunks = scale_bytes / 16;
    scale_row = lane_idx / chunks;
    scale_rows = 32 / chunks;
    const int scale_offset = lane_idx % chunks * 16;
    scale_group = scale_offset / group_bytes;
    scales_step = static_cast<int64_t>(params.groups) * group_bytes;
    gmem_scales = reinterpret_cast<const char*>(params.scales) +
                  (first_row_tile + scale_row) * scales_step + scale_offset;

    // x: 8 lanes copy a token's columns. Chunks trade places, so that ldmatrix, which reads one of
    // each of 8 tokens, touches every bank once.
    const int token = lane_idx / 8;
    const int chunk = lane_idx % 8;
    x_step = matmul.x_stride_row * 8;
    gmem_x = row_address(matmul.x, token, matmul.x_stride_row) +
             static_cast<int64_t>(first.column) * (kHalves * kTokenBytes) + chunk * 16;
    smem_x_copy = kXOffset + token * kTokenBytes + (chunk ^ token) * 16;
    x_column = chunk * VECTOR_ELEMENTS;
    x_tokens = matmul.m - token;
    smem_scales = kScalesOffset + lane_idx / 4 * 4;
    // Lanes 8i to 8i+7 give the rows of matrix i: 8 columns of 8 tokens.
    smem_x = kXOffset + lane_idx % 8 * kTokenBytes + (lane_idx / 8 ^ lane_idx % 8) * 16;
  }

  // Of a row of whole units, where a half has so many bytes.
  __device__ __forceinline__ static int unit_bytes(int k, int half_bytes) {
    return ((k - 1) / kUnitColumns + 1) * (kHalves * half_bytes);
  }

  __device__ __forceinline__ uint32_t place_bytes() const {
    return kScalesOffset + Shape::kRowTiles * scale_bytes;
  }

  // Starts the copies of a unit. What lies past the end of weight and x is zeros.
  __device__ __forceinline__ void copy(uint32_t smem_place, int column) const {
    const int columns = params.matmul.k - column * kUnitColumns;
#pragma unroll
    for (int half = 0; half < kHalves; ++half) {
      const bool inside = half * kHalfColumns < columns;
#pragma unroll
      for (int r = 0; r < Shape::kRowTiles; ++r) {
        cp_async_stream(smem_place + lane_offset + (r * kHalves + half) * kChunkBytes,
                        gmem_codes + r * codes_step + half * kChunkBytes, policy,
                        inside && r < row_tiles);
      }
      const bool x_inside = half * kHalfColumns + x_column < columns;
#pragma unroll
      for (int i = 0; i < kXCopies; ++i) {
        // Of tokens 4 to 7 of each 8 the chunks have traded places by 4 more.
        const uint32_t smem = smem_place + (smem_x_copy ^ i % 2 * 64) + i * kChunkBytes;
        cp_async_shared_by_blocks(smem + half * kHalfXBytes,
                                  gmem_x + i * x_step + half * kTokenBytes,
                                  x_inside && i * 4 < x_tokens);
      }
    }
    const int group = column * kUnitColumns >> params.group_shift;
    const char* gmem = gmem_scales + static_cast<int64_t>(group) * group_bytes;
    const bool exists = group + scale_group < params.groups;
#pragma unroll
    for (int i = 0; i < kScaleCopies; ++i) {
      const int row = scale_row + i * scale_rows;
      if (row < Shape::kRowTiles) {
        cp_async(smem_place + kScalesOffset + i * kChunkBytes + lane_offset,
                 gmem + i * scale_rows * scales_step, exists && row < row_tiles);
      }
    }
  }

  __device__ __forceinline__ void advance(int units) {
    gmem_codes += units * (kHalves * kChunkBytes);
    gmem_x += units * (kHalves * kTokenBytes);
  }
  __device__ __forceinline__ void next_tile() {
    gmem_codes += tile_step;
    gmem_x -= x_tile_step;
    gmem_scales += Shape::kRowTiles * scales_step;
    row_tiles -= Shape::kRowTiles;
  }

  __device__ __forceinline__ void multiply(StreamSums<Shape>& sums, uint32_t smem_place,
                                           int) const {
    // Which way is the same for all warps of a launch.
    if (params.arithmetic == MATMUL_INT4_EXACT_16) {
      multiply_by<MATMUL_INT4_EXACT_16>(sums, smem_place);
    } else if (params.arithmetic == MATMUL_INT4_EXACT_32) {
      multiply_by<MATMUL_INT4_EXACT_32>(sums, smem_place);
    } else {
      multiply_by<MATMUL_INT4_ROUNDED>(sums, smem_place);
    }
  }

  // sums += weights * x^T.
  template <int kArithmetic>
  __device__ __forceinline__ void multiply_by(StreamSums<Shape>& sums, uint32_t smem_place) const {
    uint32_t x[Shape::kTokenTiles][kHalves * kSteps / 2][4];  // of two steps each
#pragma unroll
    for (int j = 0; j < Shape::kTokenTiles; ++j) {
#pragma unroll
      for (int i = 0; i < kHalves * kSteps / 2; ++i) {
        const int half = i / (kSteps / 2);
        ldmatrix_x4(x[j][i], smem_place + (smem_x ^ i % (kSteps / 2) * 64) + half * kHalfXBytes +
                                 j * kTileTokens * kTokenBytes);
      }
    }
#pragma unroll
    for (int r = 0; r < Shape::kRowTiles; ++r) {
      const uint32_t smem = smem_place + smem_scales + r * scale_bytes;
      Group<kArithmetic> group = load_group<kArithmetic>(smem);
#pragma unroll
      for (int half = 0; half < kHalves; ++half) {
        const uint4 codes =
            ld_shared(smem_place + lane_offset + (r * kHalves + half) * kChunkBytes);
        const uint32_t words[kSteps] = {codes.x, codes.y, codes.z, codes.w};
        const uint32_t smem_half = smem + half * scale_bytes / kHalves;
        if (half > 0 && scale_bytes > group_bytes) {
          group = load_group<kArithmetic>(smem_half);
        }
#pragma unroll
        for (int step = 0; step < kSteps; ++step) {
          if (step == kSteps / 2 && scale_bytes == 2 * kHalves * group_bytes) {
            group = load_group<kArithmetic>(smem_half + group_bytes);
          }
          uint32_t a[4];
          group.weights(a, words[step]);
#pragma unroll
          for (int j = 0; j < Shape::kTokenTiles; ++j) {
            const uint32_t(&b)[4] = x[j][(half * kSteps + step) / 2];
            mma_m16n8k16<Pair>(sums[r][j], a, b[step % 2 * 2], b[step % 2 * 2 + 1]);
          }
        }
      }
    }
  }

  template <int kArithmetic>
  using Group = Int4Group<Pair, kArithmetic, true>;

  template <int kArithmetic>
  __device__ __forceinline__ Group<kArithmetic> load_group(uint32_t smem) const {
    const uint32_t scales = ld_shared_u32(smem);
    const uint32_t zeros =
        params.zeros ? ld_shared_u32(smem + 32) : int4_symmetric_zeros(!params.scales_f16);
    return Group<kArithmetic>(scales, zeros, !params.scales_f16);
  }
};
