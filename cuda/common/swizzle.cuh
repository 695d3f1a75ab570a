// Where 16-byte chunks of a tile stand in shared memory, so that ldmatrix (eight rows, one chunk
// each) and cp.async (eight chunks of one row) both touch every bank once.
#pragma once

#include <cstdint>

// Byte offset of chunk `chunk` of row `row` in a tile whose rows have kRowChunks chunks of 16 bytes
// (4: 64-byte rows; 8 or more: 128 bytes or a multiple). Chunks trade places within groups of 8.
template <int kRowChunks>
__device__ __forceinline__ uint32_t swizzled(int row, int chunk) {
  static_assert(kRowChunks == 4 || kRowChunks % 8 == 0, "a row is 64 bytes or a multiple of 128");
  const int turn = kRowChunks == 4 ? (row / 2) % 4 : row % 8;
  return static_cast<uint32_t>(row * kRowChunks + (chunk ^ turn)) * 16;
}
