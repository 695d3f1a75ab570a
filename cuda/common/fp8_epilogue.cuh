// What follows the sums of matmul_fp8: the scales of a token and of a row of the weight, and
// results that are quantised themselves.
#pragma once

#include "epilogue.cuh"
#include "fp8.cuh"
#include "tile_matmul.cuh"

// acc *= the token's scale, then the row's, where the columns of a token have one. `first_row` and
// `first_column` are the warp's.
template <int kFragmentsM, int kFragmentsN>
__device__ __forceinline__ void apply_scales(const MatmulFp8Params& params,
                                             float (&acc)[kFragmentsM][kFragmentsN][4],
                                             int first_row, int first_column) {
  if (params.block_scales != 0) return;
  const int lane_idx = static_cast<int>(thread_idx_anew() % 32);
  const int g = lane_idx / 4;
  const int t = lane_idx % 4;
  const auto load = [](uint64_t base, int64_t index, bool inside) {
    const char* gmem = reinterpret_cast<const char*>(base) + index * sizeof(float);
    return inside ? ld_global_f32(gmem) : 0.0f;
  };
#pragma unroll
  for (int i = 0; i < kFragmentsM; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = first_row + i * 16 + half * 8 + g;
      const float scale =
          load(params.x_scale, row * params.x_scale_stride_row, row < params.matmul.m);
#pragma unroll
      for (int j = 0; j < kFragmentsN; ++j) {
        acc[i][j][2 * half] *= scale;
        acc[i][j][2 * half + 1] *= scale;
      }
    }
  }
#pragma unroll
  for (int j = 0; j < kFragmentsN; ++j) {
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      const int column = first_column + j * 8 + 2 * t + c;
      const float scale = load(params.weight_scale, column * params.weight_scale_stride_row,
                               column < params.matmul.n);
#pragma unroll
      for (int i = 0; i < kFragmentsM; ++i) {
        acc[i][j][c] *= scale;
        acc[i][j][2 + c] *= scale;
      }
    }
  }
}

// Whether a tile has gate and up of the columns that share a scale.
template <class Shape>
constexpr bool kQuantizes = Shape::kBlockN == 2 * FP8_GROUP_COLUMNS;

// Bias, SwiGLU, rounding to the type of `Pair`, then e4m3 with a scale for 128 columns: the bits of
// store_tile and quantize_fp8 behind it. The warps side by side make the columns of one scale, and
// tell each other their largest magnitudes. `first_row` and `first_column` are the warp's; all
// warps call it, with the pipeline's memory free behind a barrier.
template <class Shape, typename Pair>
__device__ __forceinline__ void store_quantized(const MatmulFp8Params& params,
                                                Accumulators<Shape>& acc, int first_row,
                                                int first_column) {
  static_assert(
      kQuantizes<Shape> && Shape::kFragmentsN == 8 && Shape::kWarpsK == 1 && Shape::kWarpsN == 4,
      "gate and up of 128 columns, 32 a warp");
  extern __shared__ __align__(256) unsigned char smem_pipeline[];
  const uint32_t smem = smem_address(smem_pipeline);  // [kBlockM][kWarpsN] f32
  const MatmulParams& matmul = params.matmul;
  const int lane_idx = static_cast<int>(thread_idx_anew() % 32);
  const int g = lane_idx / 4;
  const int t = lane_idx % 4;
  const int warp_n = first_column / Shape::kWarpN % Shape::kWarpsN;
  cp_async_wait<0>();
  __syncthreads();  // the last fragments have been read
  if (matmul.bias != 0) {
    add_bias<Pair>(acc, matmul.bias, first_column, matmul.n - first_column);
  }
  combine_gate_up(acc);
  constexpr int kFragments = Shape::kFragmentsN / 2;
  const auto row_of = [&](int i, int half) { return first_row + i * 16 + half * 8 + g; };
  const auto smem_of = [&](int i, int half) {
    return smem + row_of(i, half) % Shape::kBlockM * Shape::kWarpsN * sizeof(float);
  };

#pragma unroll
  for (int i = 0; i < Shape::kFragmentsM; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float largest = 0.0f;  // fmaxf drops NaN
#pragma unroll
      for (int j = 0; j < kFragments; ++j) {
        const float2 value = to_f32(from_f32<Pair>({acc[i][j][2 * half], acc[i][j][2 * half + 1]}));
        acc[i][j][2 * half] = value.x;
        acc[i][j][2 * half + 1] = value.y;
        largest = fmaxf(largest, fmaxf(fabsf(value.x), fabsf(value.y)));
      }
      largest = fmaxf(largest, __shfl_xor_sync(0xffffffff, largest, 1));
      largest = fmaxf(largest, __shfl_xor_sync(0xffffffff, largest, 2));
      if (t == 0) {
        st_shared(smem_of(i, half) + warp_n * sizeof(float), __float_as_uint(largest));
      }
    }
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < Shape::kFragmentsM; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint4 warps = ld_shared(smem_of(i, half));
      const float scale =
          e4m3_scale(fmaxf(fmaxf(__uint_as_float(warps.x), __uint_as_float(warps.y)),
                           fmaxf(__uint_as_float(warps.z), __uint_as_float(warps.w))));
      uint32_t codes[kFragments];
#pragma unroll
      for (int j = 0; j < kFragments; ++j) {
        codes[j] = encode_e4m3x2(
            {__fdiv_rn(acc[i][j][2 * half], scale), __fdiv_rn(acc[i][j][2 * half + 1], scale)});
      }
      transpose_quad(codes);  // now eight neighbours
      const int row = row_of(i, half);
      if (row < matmul.m) {
        char* gmem_out = reinterpret_cast<char*>(matmul.out) + row * matmul.out_stride_row;
        st_global(gmem_out + first_column / 2 + t * 8,
                  uint2{codes[0] | codes[1] << 16, codes[2] | codes[3] << 16});
        if (warp_n == 0 && t == 0) {
          const int64_t index =
              row * params.out_scale_stride_row + first_column / (2 * FP8_GROUP_COLUMNS);
          st_global_f32(reinterpret_cast<char*>(params.out_scale) + index * sizeof(float), scale);
        }
      }
    }
  }
}
