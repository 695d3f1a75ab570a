// rms_norm:     out = round(x * rsqrt(mean(x^2) + eps)) * weight, over each row
// add_rms_norm: residual = round(residual + x), stored; then rms_norm of the stored residual
//
// Layout: x, residual, out [num_tokens, hidden], weight [hidden]; bf16 or f16, rows 16-byte
//         aligned. Sums are f32; the normed value is rounded to the activation type before it
//         meets the weight, as Llama does.
// FLOPs:  4 * num_tokens * hidden (square, add, scale, weight); add_rms_norm 5
// Bytes:  rms_norm     2 * hidden * (2 * num_tokens + 1): x read, out written, the weight once
//         add_rms_norm 2 * hidden * (4 * num_tokens + 1): x and residual read, residual and out
//         written, the weight once
// Bound:  HBM bandwidth. Expected on an H200: 90% of the copy rate above 64 MB moved. The rest is
//         lost in the reduction, during which a block has no loads in flight (other blocks of the
//         SM have), and in the last wave. The weight is read for every row, but from L1.
#include "common/row.cuh"

// Norms the row in `x`. `weight` is loaded by the caller ahead of the reduction, so that its
// latency is hidden.
template <typename Pair>
__device__ __forceinline__ void norm_row(const RowTile& tile, const Vector<Pair> (&x)[kRowVectors],
                                         const Vector<Pair> (&weight)[kRowVectors], int hidden,
                                         float eps, char* gmem_out) {
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
  const float mean = __fdividef(tile.sum(sum_squares.x + sum_squares.y), hidden);
  const float scale = rsqrtf(mean + eps);

  tile.for_each([&](int i, int offset) {
    Vector<Pair> out;
#pragma unroll
    for (int j = 0; j < kVectorPairs; ++j) {
      const float2 value = to_f32(x[i].pairs[j]);
      const Pair normed = from_f32<Pair>({value.x * scale, value.y * scale});
      out.pairs[j] = __hmul2(normed, weight[i].pairs[j]);
    }
    st_global(gmem_out + offset, out.bits());
  });
}

template <typename Pair>
__device__ __forceinline__ void rms_norm(const RmsNormParams& params) {
  const RowTile tile(params.hidden);
  if (tile.row >= params.num_tokens) return;
  const char* gmem_x = row_address(params.x, tile.row, params.x_stride_token);
  const char* gmem_weight = row_address(params.weight, 0, 0);
  char* gmem_out = row_address(params.out, tile.row, params.out_stride_token);

  Vector<Pair> x[kRowVectors] = {};  // zeros beyond the row add nothing to the sum
  Vector<Pair> weight[kRowVectors];
  tile.for_each([&](int i, int offset) { x[i] = Vector<Pair>(ld_global_once(gmem_x + offset)); });
  tile.for_each([&](int i, int offset) {
    weight[i] = Vector<Pair>(ld_global_shared_by_blocks(gmem_weight + offset));
  });
  norm_row(tile, x, weight, params.hidden, params.eps, gmem_out);
}

template <typename Pair>
__device__ __forceinline__ void add_rms_norm(const AddRmsNormParams& params) {
  const RowTile tile(params.hidden);
  if (tile.row >= params.num_tokens) return;
  const char* gmem_x = row_address(params.x, tile.row, params.x_stride_token);
  char* gmem_residual = row_address(params.residual, tile.row, params.residual_stride_token);
  const char* gmem_weight = row_address(params.weight, 0, 0);
  char* gmem_out = row_address(params.out, tile.row, params.out_stride_token);

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
  norm_row(tile, residual, weight, params.hidden, params.eps, gmem_out);
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
