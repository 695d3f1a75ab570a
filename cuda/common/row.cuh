// One row held in the registers of a warp or of a block, so that it is read once.
//
// A thread holds kRowVectors vectors of 16 bytes, blockDim.x apart: neighbouring threads read
// neighbouring vectors. blockDim.x is the row's vectors / kRowVectors, rounded up to warps; where
// that is one warp, blockDim.y rows share the block. So one instantiation covers every width up to
// 1024 * 4 * 8 elements, and every thread has four independent loads in flight.
// A kernel whose rows may be wider has room for more vectors.
#pragma once

#include "../ptx/ldst.cuh"
#include "reduction.cuh"
#include "vectors.cuh"

constexpr int kRowVectors = ROW_VECTORS_PER_THREAD;
constexpr int kMaxRowThreads = 1024;

template <int kVectors>
struct RowTileOf {
  int64_t row;      // of the matrix
  int num_vectors;  // of the row

  __device__ __forceinline__ explicit RowTileOf(int hidden)
      : row(static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y),
        num_vectors(hidden / VECTOR_ELEMENTS) {}

  __device__ __forceinline__ int vector_idx(int i) const { return i * blockDim.x + threadIdx.x; }

  // Calls body(i, byte offset in the row) for each vector that this thread holds.
  template <typename Body>
  __device__ __forceinline__ void for_each(Body body) const {
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      if (vector_idx(i) < num_vectors) {
        body(i, vector_idx(i) * static_cast<int>(sizeof(uint4)));
      }
    }
  }

  // The sum over the threads of a row. blockDim.x is the same in all threads, so no barrier is
  // divergent; rows that share a block need none.
  __device__ __forceinline__ float sum(float value) const { return reduce<Sum>(value); }

  // Likewise the largest of numbers that are not negative.
  __device__ __forceinline__ float max(float value) const { return reduce<Max>(value); }

 private:
  template <typename Op>
  __device__ __forceinline__ static float reduce(float value) {
    return blockDim.x == kWarpSize ? warp_reduce<Op>(value) : block_reduce<Op>(value);
  }
};

using RowTile = RowTileOf<kRowVectors>;
