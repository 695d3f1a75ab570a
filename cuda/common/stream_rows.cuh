// Rows of weights and of x as they are, for stream_matmul.cuh: kUnitBytes of each row of a tile and
// of each token are a unit, in chunks of which lane (g, t) copies and reads 16 bytes in the rows g,
// g+8 and so on. What it has is one row of an operand in another order of columns, the same for
// both.
#pragma once

#include "stream_matmul.cuh"

template <class Shape_>
struct StreamRows {
  using Shape = Shape_;
  static constexpr int kUnitBytes = 128;  // of a row: a line of memory
  static constexpr int kChunks = kUnitBytes / 64;
  static constexpr int kRowGroups = Shape::kRowTiles * 2;  // of 8
  static constexpr int kXOffset = kChunks * kRowGroups * kChunkBytes;
  static constexpr int kUnitEnd = kXOffset + kChunks * Shape::kTokenTiles * kChunkBytes;

  const char* gmem_weight;  // the lane's first chunk of the unit that is copied next
  const char* gmem_x;
  int64_t weight_step;  // bytes from a row to the eighth behind it
  int64_t x_step;
  int64_t tile_step;  // bytes from the end of a tile's first row to the next tile
  int padded_bytes;   // of a row, in whole units
  int row_bytes;      // from the lane's first chunk on
  int rows;           // from the lane's first one of the tile to the end of the weight
  int tokens;
  uint32_t lane_offset;  // in a chunk
  uint64_t policy;

  __device__ __forceinline__ StreamRows(uint64_t weight, int64_t weight_row_bytes, uint64_t x,
                                        int64_t x_row_bytes, int n, int m, int k_bytes,
                                        const StreamUnit& first, int lane_idx)
      : weight_step(weight_row_bytes * 8),
        x_step(x_row_bytes * 8),
        lane_offset(lane_idx * 16),
        policy(evict_first_policy()) {
    const int g = lane_idx / 4;
    const int t = lane_idx % 4;
    padded_bytes = ((k_bytes - 1) / kUnitBytes + 1) * kUnitBytes;
    tile_step = weight_row_bytes * Shape::kRows - padded_bytes;
    row_bytes = k_bytes - t * 16;
    const int64_t first_row = first.tile * Shape::kRows + g;
    const int64_t offset = static_cast<int64_t>(first.column) * kUnitBytes + t * 16;
    gmem_weight = reinterpret_cast<const char*>(weight) + first_row * weight_row_bytes + offset;
    gmem_x = reinterpret_cast<const char*>(x) + g * x_row_bytes + offset;
    rows = static_cast<int>(n - first_row);
    tokens = m - g;
  }

  // Starts the copies of a unit. What lies past the end of rows, weight and x is zeros.
  __device__ __forceinline__ void copy_rows(uint32_t smem_place, int column) const {
    const uint32_t smem = smem_place + lane_offset;
    const int columns = row_bytes - column * kUnitBytes;
#pragma unroll
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      const bool inside = chunk * 64 < columns;
#pragma unroll
      for (int i = 0; i < kRowGroups; ++i) {
        cp_async_stream(smem + (chunk * kRowGroups + i) * kChunkBytes,
                        gmem_weight + i * weight_step + chunk * 64, policy, inside && i * 8 < rows);
      }
#pragma unroll
      for (int j = 0; j < Shape::kTokenTiles; ++j) {
        cp_async_shared_by_blocks(smem + kXOffset + (chunk * Shape::kTokenTiles + j) * kChunkBytes,
                                  gmem_x + j * x_step + chunk * 64, inside && j * 8 < tokens);
      }
    }
  }

  __device__ __forceinline__ void advance(int units) {
    gmem_weight += units * kUnitBytes;
    gmem_x += units * kUnitBytes;
  }
  __device__ __forceinline__ void next_tile() {
    gmem_weight += tile_step;
    gmem_x -= padded_bytes;
    rows -= Shape::kRows;
  }

  // What the lane has of a chunk: of the rows 8i+g, of the tokens 8j+g.
  __device__ __forceinline__ uint4 weights(uint32_t smem_place, int chunk, int i) const {
    return ld_shared(smem_place + lane_offset + (chunk * kRowGroups + i) * kChunkBytes);
  }
  __device__ __forceinline__ uint4 x(uint32_t smem_place, int chunk, int j) const {
    return ld_shared(smem_place + lane_offset + kXOffset +
                     (chunk * Shape::kTokenTiles + j) * kChunkBytes);
  }
};
