// permute_columns: out[t,j] = x[t,columns[j]], the activation of a weight whose columns are stored
// in
//                  another order (GPTQ's act-order), where no norm writes it
//
// Layout: x, out [num_tokens, width], 16-bit elements, rows 16-byte aligned; columns i32 [width],
//         16-byte aligned. One kernel for bf16 and f16: a copy does not ask what the bits mean.
// FLOPs:  0
// Bytes:  4 * num_tokens * width (x read, out written) + 4 * width
// Bound:  HBM bandwidth. A row passes through shared memory, so that both its sides are 16-byte
//         accesses; 2 bytes of shared memory an element. Expected on an H200: 80% of the copy rate
//         above 64 MB moved. The indices are read for every row, but from L1, and twice as many
//         bytes of it as they have: a thread's loads take half a sector each. The loads of single
//         elements take three or four cycles of shared memory a warp, together half of the time
//         that the row takes to come from HBM.
#include "common/permute_row.cuh"

extern "C" __global__ void __launch_bounds__(kMaxRowThreads)
    permute_columns_b16(const __grid_constant__ PermuteColumnsParams params) {
  const RowTile tile(params.width);
  if (tile.row >= params.num_tokens) return;
  const char* gmem_x = row_address(params.x, tile.row, params.x_stride_token);
  char* gmem_out = row_address(params.out, tile.row, params.out_stride_token);

  Vector<__half2> x[kRowVectors];
  tile.for_each(
      [&](int i, int offset) { x[i] = Vector<__half2>(ld_global_once(gmem_x + offset)); });
  permute_row(tile, x, params.columns, params.error);
  tile.for_each([&](int i, int offset) { st_global(gmem_out + offset, x[i].bits()); });
}
