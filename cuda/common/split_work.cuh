// Work that is split evenly over the blocks of a launch, whatever the number of tiles ("Stream-K",
// Osama et al. 2023): the units of all tiles stand in one row, tile after tile, and each block
// takes as many neighbours as any other. A tile whose units lie in several blocks is added up by
// the block that comes last to it, in the order of k, from f32 partial sums in the workspace: the
// same bits every time, and no block waits for another.
//
//   unit        what a block cannot share: a stage of a tile's columns
//   segment     a block's neighbouring units of one tile
//
// Workspace: `gridDim.x` u32 counters, rounded up to 256 bytes, then two partial sums a block. Its
// owner fills the counters with zeros once; each launch leaves them zero. A launch of one block a
// tile splits none and needs none.
#pragma once

#include <cstdint>

#include "../ptx/ldst.cuh"

// A block's units, and where the segments of a tile are.
struct SplitWork {
  int units_per_tile;
  int64_t num_units;  // of all tiles
  bool whole_tiles;   // a block each

  __device__ __forceinline__ SplitWork(int64_t num_tiles, int units_per_tile)
      : units_per_tile(units_per_tile),
        num_units(num_tiles * units_per_tile),
        whole_tiles(num_tiles == static_cast<int64_t>(gridDim.x)) {}

  // The first unit of a block, and the end of the block before.
  __device__ __forceinline__ int64_t first_unit(int block) const {
    // A division of 64 bits takes as long as loading a stage.
    return whole_tiles ? static_cast<int64_t>(block) * units_per_tile
                       : num_units * block / static_cast<int64_t>(gridDim.x);
  }
  // The block that a unit is in.
  __device__ __forceinline__ int block_of(int64_t unit) const {
    return static_cast<int>(((unit + 1) * gridDim.x - 1) / num_units);
  }
};

// The units of this block that lie in one tile, and the other blocks of that tile.
struct Segment {
  int64_t tile;
  int first;        // unit of the tile
  int end;          // behind the last
  int first_block;  // that has units of the tile
  int last_block;

  // The segment that begins with `unit`, of a block that ends before `end_unit`.
  __device__ __forceinline__ Segment(const SplitWork& work, int64_t unit, int64_t end_unit) {
    const int per_tile = work.units_per_tile;
    tile = work.whole_tiles ? static_cast<int64_t>(blockIdx.x) : unit / per_tile;
    first = static_cast<int>(unit - tile * per_tile);
    end = static_cast<int>(min(static_cast<int64_t>(per_tile), first + end_unit - unit));
    first_block = first == 0 ? static_cast<int>(blockIdx.x) : work.block_of(tile * per_tile);
    last_block =
        end == per_tile ? static_cast<int>(blockIdx.x) : work.block_of((tile + 1) * per_tile - 1);
  }

  __device__ __forceinline__ bool whole() const { return first_block == last_block; }

  // Where the partial sums of a block of this tile stand: in its second place where it begins the
  // tile, for it ends another before; else in its first.
  __device__ __forceinline__ uint64_t partial(uint64_t workspace, int block,
                                              int64_t partial_bytes) const {
    const int64_t counters = (static_cast<int64_t>(gridDim.x) * 4 + 255) / 256 * 256;
    const int64_t place = static_cast<int64_t>(block) * 2 + (block == first_block);
    return workspace + counters + place * partial_bytes;
  }

  // By all threads, behind their stores of partial sums: whether this block is the tile's last, so
  // that all partial sums of the tile may be read (by ordinary loads). `smem_last` is a word of
  // shared memory that nobody else uses. Sets the counter back to zero.
  __device__ __forceinline__ bool arrives_last(uint64_t workspace, uint32_t* smem_last) const {
    __syncthreads();
    if (threadIdx.x == 0) {
      // Whoever begins a tile that others end does so once: its counter is the tile's.
      uint32_t* gmem_count = reinterpret_cast<uint32_t*>(workspace) + first_block;
      const bool last =
          atom_add_acq_rel(gmem_count, 1u) == static_cast<uint32_t>(last_block - first_block);
      if (last) *gmem_count = 0;
      *smem_last = last;
    }
    __syncthreads();
    return *smem_last != 0;
  }
};
