// Which tile a block of attention_prefill computes. The host knows how many tokens there are, not
// where sequences begin and end: it launches as many blocks as there can be tiles, and each block
// finds its own.
//
// The order is the longest tile first, so that no block is left alone with a long one in the end:
// the level of a tile is the number of rows * keys that stand before its sequence's diagonal plus
// its own place in the sequence, in units of tiles; levels go down, within a level sequences up. So
// it is exact, to the size of a tile, for sequences of any lengths. Key/value heads come in
// sections, one after the other, whose keys and values fit in the L2 cache together.
#pragma once

#include <cstdint>

#include "attention.cuh"
#include "reduction.cuh"

// Bytes of keys and values of a section: of the smallest L2 among the large GPUs (A100: two halves
// of 20 MB), which also holds queries and outputs that pass through.
constexpr uint32_t kSectionBytes = 16 << 20;

constexpr uint32_t kAllLanes = 0xffffffff;

// A sequence in tiles.
struct TiledSequence {
  int first_level;  // of its first tile
  int num_tiles;
  int q_begin;  // its first row of q
  int q_len;
};

// A tile of rows: row r of the tile is the query row / group of the sequence and the query head
// row % group of kv_head, with row = first_row + r.
struct RowTileOfHead {
  int seq;  // of the batch; -1 where the block has no tile
  int kv_head;
  int first_row;
  int q_begin;
  int q_len;
};

class PrefillSchedule {
 public:
  // By all lanes of one warp, which fills `seqs` for itself.
  // row_bytes: of a key, and of a value.
  __device__ __forceinline__ PrefillSchedule(const AttentionParams& params, TiledSequence* seqs,
                                             int row_bytes)
      : seqs_(seqs), num_seqs_(params.num_seqs), lane_idx_(threadIdx.x % kWarpSize) {
    uint32_t num_keys = 0;
    bool wrong = false;
    int q_end = 0;  // of the sequences so far
    num_tiles_ = 0;
    max_level_ = 0;
    for (int first = 0; first < num_seqs_; first += kWarpSize) {
      TiledSequence seq = {};
      int kv_len = 0;
      read(params, first + lane_idx_, q_end, seq, kv_len, wrong);
      if (first + lane_idx_ < num_seqs_) seqs_[first + lane_idx_] = seq;
      num_tiles_ += __reduce_add_sync(kAllLanes, seq.num_tiles);
      max_level_ = max(max_level_, __reduce_max_sync(kAllLanes, seq.first_level + seq.num_tiles));
      num_keys += __reduce_add_sync(kAllLanes, min(static_cast<uint32_t>(kv_len), kMaxKeys));
    }
    if (wrong && blockIdx.x == 0) report(params, DEVICE_ERROR_LENGTH);
    const uint32_t head_bytes = max(num_keys, 1u) * row_bytes * 2;
    section_heads_ = bounded(kSectionBytes / head_bytes, 1, params.num_kv_heads);
    __syncwarp();
  }

  __device__ __forceinline__ RowTileOfHead find(const AttentionParams& params,
                                                int block_idx) const {
    RowTileOfHead tile = {-1, 0, 0, 0, 0};
    if (block_idx >= num_tiles_ * params.num_kv_heads) return tile;
    const int section = block_idx / (num_tiles_ * section_heads_);
    const int in_section = block_idx - section * num_tiles_ * section_heads_;
    const int first_head = section * section_heads_;
    const int num_heads = min(section_heads_, params.num_kv_heads - first_head);
    tile.kv_head = first_head + in_section % num_heads;
    int rank = in_section / num_heads;  // among the tiles, the highest level first

    int level = 0,
        above = max_level_;  // tiles from `level` on: more than rank; from `above` on: not
    int tiles_above = 0;
    while (above - level > 1) {
      const int middle = (level + above) / 2;
      const int tiles = tiles_from(middle);
      if (tiles > rank) {
        level = middle;
      } else {
        above = middle;
        tiles_above = tiles;
      }
    }
    rank -= tiles_above;

    for (int first = 0; first < num_seqs_; first += kWarpSize) {
      const bool valid = first + lane_idx_ < num_seqs_;
      const TiledSequence seq = valid ? seqs_[first + lane_idx_] : TiledSequence{};
      const int tile_idx = level - seq.first_level;
      const bool has = tile_idx >= 0 && tile_idx < seq.num_tiles;
      const uint32_t having = __ballot_sync(kAllLanes, has);
      const int count = __popc(having);
      if (rank < count) {
        const bool mine = has && __popc(having & ((1u << lane_idx_) - 1)) == rank;
        const int lane = __ffs(__ballot_sync(kAllLanes, mine)) - 1;
        tile.seq = params.first_seq + first + lane;
        tile.first_row = __shfl_sync(kAllLanes, tile_idx, lane) * ATTENTION_PREFILL_ROWS;
        tile.q_begin = __shfl_sync(kAllLanes, seq.q_begin, lane);
        tile.q_len = __shfl_sync(kAllLanes, seq.q_len, lane);
        break;
      }
      rank -= count;
    }
    return tile;
  }

 private:
  // More keys than a section may have, so few that 2048 sequences of them can be added up.
  static constexpr uint32_t kMaxKeys = 1 << 19;

  // Reads sequence `idx` of the launch, and bounds it so that sequences do not overlap: `q_end` is
  // where the sequences before the warp's end, and then where the warp's do.
  __device__ __forceinline__ void read(const AttentionParams& params, int idx, int& q_end,
                                       TiledSequence& seq, int& kv_len, bool& wrong) const {
    int begin_given = 0, end_given = 0;
    if (idx < num_seqs_) {
      const int64_t seq_idx = params.first_seq + idx;
      begin_given = load_i32(params.q_indptr, seq_idx);
      end_given = load_i32(params.q_indptr, seq_idx + 1);
    }
    int begin = max(q_end, bounded(begin_given, 0, params.num_tokens));
#pragma unroll
    for (int distance = 1; distance < kWarpSize; distance *= 2) {
      begin = max(begin, __shfl_up_sync(kAllLanes, begin, distance));
    }
    const int end = max(begin, bounded(end_given, 0, params.num_tokens));
    q_end = __shfl_sync(kAllLanes, end, kWarpSize - 1);
    if (idx >= num_seqs_) return;
    seq.q_begin = begin;
    seq.q_len = min(end - begin, params.max_q_len);
    wrong |= begin != begin_given || end != end_given || seq.q_len != end - begin;

    kv_len = Keys::of(params, params.first_seq + idx, wrong).len;
    wrong |= kv_len > 0 && kv_len < seq.q_len;
    const int64_t rows_before = static_cast<int64_t>(max(kv_len - seq.q_len, 0)) * params.group;
    seq.first_level = (rows_before + ATTENTION_PREFILL_ROWS - 1) / ATTENTION_PREFILL_ROWS;
    const uint32_t rows = seq.q_len * params.group;
    seq.num_tiles = (rows + ATTENTION_PREFILL_ROWS - 1) / ATTENTION_PREFILL_ROWS;
  }

  // How many tiles have this level or a higher one.
  __device__ __forceinline__ int tiles_from(int level) const {
    int tiles = 0;
    for (int idx = lane_idx_; idx < num_seqs_; idx += kWarpSize) {
      const TiledSequence& seq = seqs_[idx];
      tiles += bounded(seq.first_level + seq.num_tiles - level, 0, seq.num_tiles);
    }
    return __reduce_add_sync(kAllLanes, tiles);
  }

  TiledSequence* seqs_;
  int num_seqs_;
  int lane_idx_;
  int num_tiles_;  // of a head
  int max_level_;  // higher than any
  int section_heads_;
};
