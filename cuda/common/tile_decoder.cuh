// Tiles of e4m3 codes become tiles of 16-bit numbers in shared memory: once for all warps of a
// block that multiply them.
#pragma once

#include "attention.cuh"

// Each thread decodes the chunks of codes that it has copied itself, so that it waits for its own
// copies alone; nobody else looks at the codes. `Copy` is a TileCopy of codes.
template <typename Cache, int kHeadDim, typename Copy>
class TileDecoder {
 public:
  __device__ __forceinline__ explicit TileDecoder(uint32_t thread_idx)
      : row_(thread_idx / Copy::kRowChunks * Copy::kRowsPerThread),
        chunk_(thread_idx % Copy::kRowChunks),
        turn_(thread_idx / 4 % 2) {}

  __device__ __forceinline__ void decode(uint32_t smem_codes, uint32_t smem_tile) const {
    for_each_row([&](int row) {
      const uint4 codes = ld_shared(smem_codes + swizzled<Copy::kRowChunks>(row, chunk_));
      const uint2 x = Cache::decode(codes.x), y = Cache::decode(codes.y);
      const uint2 z = Cache::decode(codes.z), w = Cache::decode(codes.w);
      const uint32_t smem = decoded(smem_tile, row);
      st_shared(smem, uint4{x.x, x.y, y.x, y.y});
      st_shared(smem ^ kChunkBytes, uint4{z.x, z.y, w.x, w.y});
    });
  }

  // Calls body(address) for each chunk of the tile that this thread has decoded.
  template <typename Body>
  __device__ __forceinline__ void for_each_chunk(uint32_t smem_tile, Body body) const {
    for_each_row([&](int row) {
      body(decoded(smem_tile, row));
      body(decoded(smem_tile, row) ^ kChunkBytes);
    });
  }

 private:
  // Eight threads store at a time. They have the even chunks of one row, of which those 128 bytes
  // apart meet the same banks, or of two: every other four threads begin with the odd row of a
  // pair, whose even chunks stand where the even row's odd ones do.
  template <typename Body>
  __device__ __forceinline__ void for_each_row(Body body) const {
    static_assert(Copy::kRowsPerThread % 2 == 0, "rows come in pairs");
#pragma unroll
    for (int i = 0; i < Copy::kRowsPerThread; ++i) body(row_ + (i ^ turn_));
  }

  __device__ __forceinline__ uint32_t decoded(uint32_t smem_tile, int row) const {
    return smem_tile + swizzled<kHeadDim / kChunkElements>(row, 2 * chunk_);
  }

  int row_;  // the first of this thread
  int chunk_;
  int turn_;
};
