// embed:       out[t,:] = table[ids[t],:]
// gather_rows: the same with x for the table and indices of its rows for ids
//
// Layout: ids i32 [num_tokens], table [vocab_size, hidden], out [num_tokens, hidden]; 16-bit
//         elements, rows 16-byte aligned. One kernel for bf16 and f16: a copy does not ask what
//         the bits mean.
// FLOPs:  0
// Bytes:  num_tokens * (4 + 2 * hidden read + 2 * hidden written), where no id repeats
// Bound:  HBM bandwidth. Expected on an H200: 90% of the copy rate above 64 MB moved. The rest is
//         lost in the load of the id, which the row's loads wait for, and in the last wave of
//         blocks. A decode step moves kilobytes: there the launch is all.
#include "common/row.cuh"

extern "C" __global__ void __launch_bounds__(kMaxRowThreads)
    embed_b16(const __grid_constant__ EmbedParams params) {
  const RowTile tile(params.hidden);
  if (tile.row >= params.num_tokens) return;

  const int32_t id = ld_global_i32(reinterpret_cast<const int32_t*>(params.ids) + tile.row);
  const bool known = id >= 0 && id < params.vocab_size;
  if (!known && threadIdx.x == 0 && params.error != 0) {
    red_global_or(reinterpret_cast<void*>(params.error), params.error_bit);
  }

  const char* gmem_table = row_address(params.table, known ? id : 0, params.table_stride_row);
  char* gmem_out = row_address(params.out, tile.row, params.out_stride_token);
  uint4 vectors[kRowVectors] = {};  // a row of zeros for an unknown id
  if (known) {
    tile.for_each([&](int i, int offset) { vectors[i] = ld_global_once(gmem_table + offset); });
  }
  tile.for_each([&](int i, int offset) { st_global(gmem_out + offset, vectors[i]); });
}
