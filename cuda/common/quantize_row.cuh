// A row that is held in registers, written as e4m3 codes and their scales.
#pragma once

#include "fp8.cuh"
#include "row.cuh"

// Threads that hold the columns of one scale: neighbours in half a warp.
constexpr int kGroupLanes = FP8_GROUP_COLUMNS / VECTOR_ELEMENTS;
static_assert(kWarpSize % kGroupLanes == 0, "the columns of a scale lie in one warp");

// `x` is zero beyond the row. `groups` is the same in all threads: 1 is a scale for the row, else
// each FP8_GROUP_COLUMNS columns have one.
template <typename Pair, int kVectors>
__device__ __forceinline__ void quantize_row(const RowTileOf<kVectors>& tile,
                                             const Vector<Pair> (&x)[kVectors], int groups,
                                             char* gmem_codes, char* gmem_scale) {
  const bool per_token = groups == 1;
  float row_scale = 1.0f;
  if (per_token) {
    float largest = 0.0f;
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      largest = fmaxf(largest, absmax(x[i]));
    }
    row_scale = e4m3_scale(tile.max(largest));
    if (threadIdx.x == 0) {
      st_global_f32(gmem_scale, row_scale);
    }
  }
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    // Whole warps, so that their lanes may exchange what they hold.
    if (i * static_cast<int>(blockDim.x) >= tile.num_vectors) break;
    const int vector_idx = tile.vector_idx(i);
    const float scale =
        per_token ? row_scale : e4m3_scale(warp_reduce<Max, kGroupLanes>(absmax(x[i])));
    if (vector_idx < tile.num_vectors) {
      st_global(gmem_codes + vector_idx * VECTOR_ELEMENTS, quantize(x[i], scale));
      if (!per_token && vector_idx % kGroupLanes == 0) {
        st_global_f32(gmem_scale + vector_idx / kGroupLanes * sizeof(float), scale);
      }
    }
  }
}

// Where a row of codes, and a row of scales, begins.
__device__ __forceinline__ char* codes_address(uint64_t base, int64_t row, int64_t stride) {
  return reinterpret_cast<char*>(base) + row * stride;
}
__device__ __forceinline__ char* scale_address(uint64_t base, int64_t row, int64_t stride) {
  return reinterpret_cast<char*>(base) + row * stride * static_cast<int64_t>(sizeof(float));
}
