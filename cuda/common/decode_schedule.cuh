// What a block of attention_decode computes: which queries of its sequence, as which rows of its
// tile, over which of the keys; and where the partial results of a split stand in the workspace.
// Everything that the device says is bounded by what the host knows.
#pragma once

#include <cstdint>

#include "attention.cuh"
#include "reduction.cuh"

// The queries of one sequence.
struct Queries {
  int begin;   // the first one's token
  int len;     // how many
  bool wrong;  // that is not what q_indptr says

  // By all lanes of a warp. Bounded so that sequences lie in q and do not overlap: a sequence
  // begins where those before it end, or later.
  __device__ __forceinline__ Queries(const AttentionParams& params, int seq_idx) : begin(0) {
    const int given_end = load_i32(params.q_indptr, params.first_seq + seq_idx + 1ll);
    int given_begin = 0;
    for (int idx = threadIdx.x % kWarpSize; idx <= seq_idx; idx += kWarpSize) {
      given_begin = load_i32(params.q_indptr, params.first_seq + static_cast<int64_t>(idx));
      begin = max(begin, given_begin);
    }
    given_begin = __shfl_sync(0xffffffff, given_begin, seq_idx % kWarpSize);
    begin = min(__reduce_max_sync(0xffffffff, begin), params.num_tokens);
    const int end = max(begin, min(given_end, params.num_tokens));
    len = min(end - begin, params.max_q_len);
    wrong = begin != given_begin || begin + len != given_end;
  }
};

// The rows of a block as queries of a sequence and heads of the group. Divides by the group with a
// multiplication: rows are below 2^8, so that 16 bits of the reciprocal, rounded up, are exact.
struct PackedRows {
  int first;  // of this block
  int num;    // of this block; 0 or fewer where it has none
  int group;
  int reciprocal;

  __device__ __forceinline__ PackedRows(int first, int q_len, int group)
      : first(first), num(q_len * group - first), group(group), reciprocal((1 << 16) / group + 1) {}

  __device__ __forceinline__ int query(int row) const { return (first + row) * reciprocal >> 16; }
  __device__ __forceinline__ int head(int row) const { return first + row - query(row) * group; }
};

// Rows of the partial results.
__device__ __forceinline__ int64_t num_part_rows(const AttentionParams& params) {
  return static_cast<int64_t>(params.num_seqs) * params.max_q_len * params.num_kv_heads *
         params.group;
}

// The row of the partial results that is this split's of row `row` of the tile.
__device__ __forceinline__ int64_t part_row(const AttentionParams& params, int seq_idx, int kv_head,
                                            const PackedRows& rows, int row) {
  const int64_t token = static_cast<int64_t>(seq_idx) * params.max_q_len + rows.query(row);
  return blockIdx.y * num_part_rows(params) + token * params.num_kv_heads * rows.group +
         kv_head * rows.group + rows.head(row);
}

__device__ __forceinline__ void* part_lse(const AttentionParams& params, int64_t part_row) {
  return reinterpret_cast<char*>(params.lse) + part_row * 4;
}

// Which rows of the result are the sequence's: in front of the partial results' lse.
__device__ __forceinline__ void tell_combine(const AttentionParams& params, int seq_idx,
                                             const Queries& queries) {
  char* gmem = reinterpret_cast<char*>(params.lse) - (params.num_seqs - seq_idx) * 8ll;
  st_global(gmem, uint2{static_cast<uint32_t>(queries.begin), static_cast<uint32_t>(queries.len)});
}

// lse = -inf for rows of queries that the sequence could have brought, so that attention_combine
// need not know which rows there are before it asks for their parts.
template <int kBlockM>
__device__ __forceinline__ void mark_missing(const AttentionParams& params, int seq_idx,
                                             int kv_head, const PackedRows& rows) {
  const int end = min(params.max_q_len * params.group - rows.first, kBlockM);
  for (int row = max(rows.num, 0) + threadIdx.x; row < end; row += ATTENTION_DECODE_THREADS) {
    st_global_f32(part_lse(params, part_row(params, seq_idx, kv_head, rows, row)), -kInfinity);
  }
}

// The keys that a block reads: whole tiles, but for a sequence's last.
struct Split {
  int start;
  int end;

  __device__ __forceinline__ Split(const AttentionParams& params, int split_idx, int kv_len) {
    int size = params.split_keys;
    if (size == 0) {
      // As few splits as the grid has, of at least so many keys.
      size = (kv_len + params.max_splits - 1) / params.max_splits;
      size = max((size + ATTENTION_DECODE_KEYS - 1) / ATTENTION_DECODE_KEYS * ATTENTION_DECODE_KEYS,
                 ATTENTION_DECODE_MIN_SPLIT_KEYS);
    }
    // No overflow: both factors are bounded by the number of keys of a sequence, 2^30.
    start = min(static_cast<int64_t>(split_idx) * size, static_cast<int64_t>(kv_len));
    end = min(start + size, kv_len);
  }

  __device__ __forceinline__ int num_tiles() const {
    return (end - start + ATTENTION_DECODE_KEYS - 1) / ATTENTION_DECODE_KEYS;
  }
};
