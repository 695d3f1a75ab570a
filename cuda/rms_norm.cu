// rms_norm:     out = round(x * rsqrt(mean(x^2) + eps)) * weight, over each row
// add_rms_norm: residual = round(residual + x), stored; then rms_norm of the stored residual
//               with columns: out[t,j] = that[t,columns[j]], for a weight whose columns are stored
//               in another order (GPTQ's act-order)
// rms_norm_fp8, add_rms_norm_fp8: the same, and quantize_fp8 of what would be stored as out
//
// Layout: x, residual, out [num_tokens, hidden], weight [hidden]; bf16 or f16, rows 16-byte
//         aligned. Sums are f32; the normed value is rounded to the activation type before it
//         meets the weight, as Llama does. fp8: codes e4m3 [num_tokens, hidden], rows 8-byte
//         aligned; scale f32 [num_tokens, groups], one a token or for each 128 columns. columns i32
//         [hidden], 16-byte aligned; the row passes through shared memory on its way to out.
// FLOPs:  4 * num_tokens * hidden (square, add, scale, weight); add_rms_norm 5; fp8 2 more
// Bytes:  rms_norm     2 * hidden * (2 * num_tokens + 1): x read, out written, the weight once
//         add_rms_norm 2 * hidden * (4 * num_tokens + 1): x and residual read, residual and out
//         written, the weight once
//         columns      4 * hidden more
//         fp8          out is num_tokens * (hidden + 4 * groups) bytes
// Bound:  HBM bandwidth. Expected on an H200: 90% of the copy rate above 64 MB moved. The rest is
//         lost in the reduction, during which a block has no loads in flight (other blocks of the
//         SM have), and in the last wave. The weight is read for every row, but from L1. fp8: 80%,
//         with a second reduction, and a division for each element. columns: 80%, as for
//         permute_columns.
#include "common/permute_row.cuh"
#include "common/quantize_row.cuh"

// Whether the row is written as codes and scales.
template <typename Params>
constexpr bool kQuantizes = false;
template <>
constexpr bool kQuantizes<RmsNormFp8Params> = true;
template <>
constexpr bool kQuantizes<AddRmsNormFp8Params> = true;

// Norms the row in `x` and writes it. `weight` is loaded by the caller ahead of the reduction, so
// that its latency is hidden.
template <typename Pair, typename Params>
__device__ __forceinline__ void norm_row(const RowTile& tile, const Vector<Pair> (&x)[kRowVectors],
                                         const Vector<Pair> (&weight)[kRowVectors],
                                         const Params& params) {
  float2 sum_squares = {0.0f, 0.0f};  // two chains of additions: half the latency of one
#pragma unroll
  for (int i = 0; i < kRowVectors; ++i) {
#pragma unroll
    for (const Pair pair : x[i].pairs) {
      const float2 value = to_f32(pair);
      sum_squares.x = fmaf(value.x, value.x, sum_squares.x);
      sum_squares.y = fmaf(value.y, value.y, sum_squares.y);
    }
  }
  const float mean = __fdividef(tile.sum(sum_squares.x + sum_squares.y), params.hidden);
  const float scale = rsqrtf(mean + params.eps);

  const auto normed = [&](int i) {
    Vector<Pair> out;
#pragma unroll
    for (int j = 0; j < kVectorPairs; ++j) {
      const float2 value = to_f32(x[i].pairs[j]);
      const Pair rounded = from_f32<Pair>({value.x * scale, value.y * scale});
      out.pairs[j] = __hmul2(rounded, weight[i].pairs[j]);
    }
    return out;
  };
  if constexpr (kQuantizes<Params>) {
    Vector<Pair> out[kRowVectors] = {};  // zeros beyond the row are no maximum
    tile.for_each([&](int i, int) { out[i] = normed(i); });
    quantize_row(tile, out, params.groups,
                 codes_address(params.codes, tile.row, params.codes_stride_token),
                 scale_address(params.scale, tile.row, params.scale_stride_token));
  } else {
    char* gmem_out = row_address(params.out, tile.row, params.out_stride_token);
    Vector<Pair> out[kRowVectors];
    tile.for_each([&](int i, int) { out[i] = normed(i); });
    if (params.columns != 0) {
      permute_row(tile, out, params.columns, params.error);
    }
    tile.for_each([&](int i, int offset) { st_global(gmem_out + offset, out[i].bits()); });
  }
}

template <typename Pair, typename Params>
__device__ __forceinline__ void rms_norm(const Params& params) {
  const RowTile tile(params.hidden);
  if (tile.row >= params.num_tokens) return;
  const char* gmem_x = row_address(params.x, tile.row, params.x_stride_token);
  const char* gmem_weight = row_address(params.weight, 0, 0);

  Vector<Pair> x[kRowVectors] = {};  // zeros beyond the row add nothing to the sum
  Vector<Pair> weight[kRowVectors];
  tile.for_each([&](int i, int offset) { x[i] = Vector<Pair>(ld_global_once(gmem_x + offset)); });
  tile.for_each([&](int i, int offset) {
    weight[i] = Vector<Pair>(ld_global_shared_by_blocks(gmem_weight + offset));
  });
  norm_row(tile, x, weight, params);
}

template <typename Pair, typename Params>
__device__ __forceinline__ void add_rms_norm(const Params& params) {
  const RowTile tile(params.hidden);
  if (tile.row >= params.num_tokens) return;
  const char* gmem_x = row_address(params.x, tile.row, params.x_stride_token);
  char* gmem_residual = row_address(params.residual, tile.row, params.residual_stride_token);
  const char* gmem_weight = row_address(params.weight, 0, 0);

  Vector<Pair> x[kRowVectors];
  Vector<Pair> residual[kRowVectors] = {};  // zeros beyond the row add nothing to the sum
  Vector<Pair> weight[kRowVectors];
  tile.for_each([&](int i, int offset) { x[i] = Vector<Pair>(ld_global_once(gmem_x + offset)); });
  tile.for_each([&](int i, int offset) {
    residual[i] = Vector<Pair>(ld_global_once(gmem_residual + offset));
  });
  tile.for_each([&](int i, int offset) {
    weight[i] = Vector<Pair>(ld_global_shared_by_blocks(gmem_weight + offset));
  });
  tile.for_each([&](int i, int offset) {
#pragma unroll
    for (int j = 0; j < kVectorPairs; ++j) {
      residual[i].pairs[j] = __hadd2(residual[i].pairs[j], x[i].pairs[j]);
    }
    st_global(gmem_residual + offset, residual[i].bits());
  });
  norm_row(tile, residual, weight, params);
}

extern "C" __global__ void __launch_bounds__(kMaxRowThreads)
    rms_norm_bf16(const __grid_constant__ RmsNormParams params) {
  rms_norm<__nv_bfloat162>(params);
}

extern "C" __global__ void __launch_bounds__(kMaxRowThreads)
    rms_norm_f16(const __grid_constant__ RmsNormParams params) {
  rms_norm<__half2>(params);
}

extern "C" __global__ void __launch_bounds__(kMaxRowThreads)
    add_rms_norm_bf16(const __grid_constant__ AddRmsNormParams params) {
  add_rms_norm<__nv_bfloat162>(params);
}

extern "C" __global__ void __launch_bounds__(kMaxRowThreads)
    add_rms_norm_f16(const __grid_constant__ AddRmsNormParams params) {
  add_rms_norm<__half2>(params);
}

extern "C" __global__ void __launch_bounds__(kMaxRowThreads)
    rms_norm_fp8_bf16(const __grid_constant__ RmsNormFp8Params params) {
  rms_norm<__nv_bfloat162>(params);
}

extern "C" __global__ void __launch_bounds__(kMaxRowThreads)
    rms_norm_fp8_f16(const __grid_constant__ RmsNormFp8Params params) {
  rms_norm<__half2>(params);
}

extern "C" __global__ void __launch_bounds__(kMaxRowThreads)
    add_rms_norm_fp8_bf16(const __grid_constant__ AddRmsNormFp8Params params) {
  add_rms_norm<__nv_bfloat162>(params);
}

extern "C" __global__ void __launch_bounds__(kMaxRowThreads)
    add_rms_norm_fp8_f16(const __grid_constant__ AddRmsNormFp8Params params) {
  add_rms_norm<__half2>(params);
}
