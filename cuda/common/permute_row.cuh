// The columns of a row that is held in registers, in another order.
#pragma once

#include "row.cuh"

// A row of each threadIdx.y, a vector behind the other. As long as the launch says: nothing where
// no columns are permuted.
extern __shared__ uint4 smem_permuted_rows[];

// Vector i of this thread becomes columns[8 * vector_idx(i)] and the seven behind it, of the row
// that the threads hold together. A column that the row does not have is 0, and reported in
// `error`, where there is one. Loads of indices are 16 bytes wide, and in flight together; stores
// to shared memory have no bank conflicts, but the loads of single elements from there have those
// that the permutation gives them, 3 or 4 a request where it is random.
template <typename Pair>
__device__ __forceinline__ void permute_row(const RowTile& tile, Vector<Pair> (&x)[kRowVectors],
                                            uint64_t columns, uint64_t error) {
  const uint32_t smem_row = static_cast<uint32_t>(
      __cvta_generic_to_shared(smem_permuted_rows + threadIdx.y * tile.num_vectors));
  tile.for_each([&](int i, int offset) { st_shared(smem_row + offset, x[i].bits()); });
  uint4 indices[kRowVectors][2];
  tile.for_each([&](int i, int offset) {
    const char* gmem_columns = reinterpret_cast<const char*>(columns) + 2 * offset;
    indices[i][0] = ld_global_shared_by_blocks(gmem_columns);
    indices[i][1] = ld_global_shared_by_blocks(gmem_columns + sizeof(uint4));
  });
  // Rows that share a block are a warp each.
  if (blockDim.x == kWarpSize) {
    __syncwarp();
  } else {
    __syncthreads();
  }
  const uint32_t width = tile.num_vectors * VECTOR_ELEMENTS;
  bool unknown = false;
  tile.for_each([&](int i, int) {
    const auto element = [&](uint32_t column) -> uint32_t {
      unknown |= column >= width;
      return column < width ? ld_shared_u16(smem_row + 2 * column) : 0;
    };
    const auto pair = [&](uint32_t first, uint32_t second) {
      return element(first) | element(second) << 16;
    };
    const uint4(&index)[2] = indices[i];
    x[i] = Vector<Pair>(uint4{pair(index[0].x, index[0].y), pair(index[0].z, index[0].w),
                              pair(index[1].x, index[1].y), pair(index[1].z, index[1].w)});
  });
  if (unknown && error != 0) {
    red_global_or(reinterpret_cast<void*>(error), DEVICE_ERROR_COLUMN);
  }
}
