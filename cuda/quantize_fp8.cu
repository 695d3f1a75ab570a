// quantize_fp8: scale = absmax(x) / 448, codes = e4m3(x / scale), to nearest even and saturating
//
// Layout: x [num_tokens, width] in bf16 or f16, rows 16-byte aligned; codes e4m3 [num_tokens,
//         width], rows 8-byte aligned; scale f32 [num_tokens, groups]: one a token, or one for each
//         128 columns of it. Where all of them are zero the scale is 1. A NaN becomes a NaN and
//         leaves the others alone; with an infinity the scale is infinite.
// FLOPs:  2 * num_tokens * width (compare, divide)
// Bytes:  num_tokens * (3 * width + 4 * groups): x read once, codes and scales written
// Bound:  HBM bandwidth. Expected on an H200: 85% of the copy rate above 64 MB moved. The rest is
//         lost in the reduction, during which a block has no loads in flight (other blocks of the
//         SM have), and in the last wave. The division is IEEE's, as the reference's is: its dozen
//         instructions for an element fill about two thirds of the issue slots at that rate.
#include "common/quantize_row.cuh"

constexpr int kQuantizeVectors = QUANTIZE_FP8_VECTORS_PER_THREAD;

template <typename Pair>
__device__ __forceinline__ void quantize_fp8(const QuantizeFp8Params& params) {
  const RowTileOf<kQuantizeVectors> tile(params.width);
  if (tile.row >= params.num_tokens) return;
  const char* gmem_x = row_address(params.x, tile.row, params.x_stride_token);

  Vector<Pair> x[kQuantizeVectors] = {};  // zeros beyond the row are no maximum
  tile.for_each([&](int i, int offset) { x[i] = Vector<Pair>(ld_global_once(gmem_x + offset)); });
  quantize_row(tile, x, params.groups,
               codes_address(params.codes, tile.row, params.codes_stride_token),
               scale_address(params.scale, tile.row, params.scale_stride_token));
}

extern "C" __global__ void __launch_bounds__(kMaxRowThreads)
    quantize_fp8_bf16(const __grid_constant__ QuantizeFp8Params params) {
  quantize_fp8<__nv_bfloat162>(params);
}

extern "C" __global__ void __launch_bounds__(kMaxRowThreads)
    quantize_fp8_f16(const __grid_constant__ QuantizeFp8Params params) {
  quantize_fp8<__half2>(params);
}
