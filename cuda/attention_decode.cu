// attention_decode: out = softmax(softmax_scale * Q K^T) V, causal, of sequences that bring 1 to 8
//                   queries each; split over the keys, for attention_combine to merge
//
// Layout: q, out [num_tokens, num_q_heads, head_dim]; keys and values in pages of a power of two of
//         tokens, or contiguous; bf16 or f16, head_dim 64 or 128; keys and values the same, or e4m3
//         codes (kv_cache.cuh). With splits, f32 partial results and their lse (natural) go to the
//         workspace: see AttentionParams.
// FLOPs:  4 * head_dim * group * num_kv_heads * sum over sequences of q_len * kv_len
// Bytes:  4 * head_dim * num_kv_heads * sum of kv_len: keys and values, once. Queries and outputs
//         are a thousandth of that at 1k keys; a split adds 8 * head_dim * rows for its partial
//         result, written and read. Over an fp8 cache half of the first: 2 instead of 4.
// Bound:  HBM bandwidth: group * q_len FLOPs a byte, 128 at most, where mma.sync balances the
// memory
//         at 150 to 200. Expected on an H200: 94% of the copy rate at 8 x 16k. The rest is lost in
//         the first trips to memory (lengths, page indices, keys: three latencies) and in the
//         merging of splits.
//
// Tile: the query heads of a key/value head and the queries of a sequence are the rows of one tile
// (row = query * group + head), so that keys and values are read once. A block of 4 warps takes 64
// keys at a time; each warp copies 16 of them (cp.async, 16 bytes a thread, past L1) into its slice
// of a ring of 96 KB. Of that ring all but the values of one tile are under way while a warp waits
// for keys: 80 KB a block for head_dim 128 (3 stages), 88 KB for 64 (6 stages); two blocks on a
// multiprocessor of an H200 have 160 KB in flight, five times what its share of the bandwidth needs
// at 1 us of latency.
//   16 rows: a warp multiplies its own slice and nobody else's: it waits for its own copies alone,
//            there is no barrier in the loop. In the end the warps' results are merged through
//            shared memory, in order.
//   64 rows: each warp has 16 rows and multiplies all keys of a tile; two barriers a tile.
// Queries, outputs and the softmax's state are in registers: 106 to 108 (head_dim 64) or 168 to 173
// (128) a thread for 16 rows, 145 or 199 at most for 64, of 255. Queries pass through the slice of
// the ring that is filled last. A warp issues some 400 instructions for 16 keys of 128 elements; at
// the memory's speed the four schedulers have 1760 slots in that time.
//
// An fp8 cache: the ring has twice the stages of half the bytes, so as many are under way. ldmatrix
// takes codes for 16-bit elements, with half the loads. Of keys a lane gets four neighbouring codes
// of each 16, which are one operand if the queries' columns are in the same order: queries are
// loaded so, straight into registers. Of values, transposed, it gets two neighbouring columns of
// two keys: the operands of two mma, one of even and one of odd columns. The codes become 16-bit
// numbers in registers: since 8.9 one instruction for two of f16, four for bf16. 16 rows take 112
// to 164 registers for f16, 124 to 185 for bf16, 64 rows 149 to 250. A warp issues some 470 (f16)
// or 660 (bf16) instructions for 16 keys of 128 elements, where the schedulers have 880 slots at
// the memory's speed. For 64 rows each of the four warps decodes all keys: there instructions bind,
// at what a 16-bit cache takes.
//
// Grid: (num_kv_heads * num_seqs, max_splits, blocks of rows), from bounds that the host knows; the
// number of a sequence's splits comes from its length on the device, so that a captured graph may
// be replayed with other lengths. A block without keys says so (lse = -inf) and ends.
#include "common/decode_schedule.cuh"
#include "common/not_finite.cuh"

constexpr int kThreads = ATTENTION_DECODE_THREADS;
constexpr int kWarps = kThreads / kWarpSize;
constexpr int kBlockN = ATTENTION_DECODE_KEYS;
constexpr int kSliceKeys = kBlockN / kWarps;
static_assert(kSliceKeys == 16, "a slice is one step of the product with the values");

template <typename Cache, int kHeadDim, int kBlockM>
class DecodeTile {
 public:
  __device__ __forceinline__ DecodeTile(const AttentionParams& params, char* smem, int seq_idx,
                                        int kv_head, const Queries& queries, const PackedRows& rows,
                                        const Keys& keys, const Split& split)
      : params_(params),
        smem_(smem),
        seq_idx_(seq_idx),
        kv_head_(kv_head),
        queries_(queries),
        rows_(rows),
        keys_(keys),
        split_(split) {}

  // Without a key: zeros, or nothing, and lse = -inf.
  __device__ __forceinline__ void run_without_keys() const {
    const float zeros[4] = {};
    for (int row = threadIdx.x / kRowThreads; row < min(rows_.num, kBlockM);
         row += kThreads / kRowThreads) {
      store(row, threadIdx.x % kRowThreads, zeros, -kInfinity);
    }
  }

  __device__ __forceinline__ void run() const {
    Accumulators<1, kHeadDim / 8> acc_o = {};
    OnlineSoftmax<1> softmax;
    attend(acc_o, softmax);
    merge_and_store(acc_o, softmax);
  }

 private:
  using Pair = typename Cache::Pair;
  using Element = typename Cache::Element;

  static constexpr bool kOwnKeys = kBlockM == ATTENTION_DECODE_FEW_ROWS;  // of each warp
  static_assert(kOwnKeys || kBlockM == kWarps * 16, "each warp has 16 rows");
  static constexpr int kKeys = kOwnKeys ? kSliceKeys : kBlockN;  // that a warp multiplies at a time
  static constexpr int kRowChunks = kHeadDim / kChunkElements;   // of queries
  static constexpr int kSliceBytes = kSliceKeys * kHeadDim * Cache::kBytes;
  static constexpr int kTileBytes = kBlockN * kHeadDim * Cache::kBytes;  // of keys, or of values
  static constexpr int kStages = ATTENTION_DECODE_RING_BYTES / (2 * kTileBytes);
  static constexpr int kRowThreads = kHeadDim / 4;  // that store a row
  // Floats from one row of results to the next in shared memory: the threads that write together,
  // four neighbouring columns of a row each, and the rows beside it, meet different banks.
  static constexpr int kResultStride = kHeadDim + (Cache::kIsFp8 ? 16 : 8);
  static constexpr int kParts = kOwnKeys ? kWarps : 1;  // results of a row
  static_assert(kWarps * 16 * (kResultStride + 2) * 4 <= ATTENTION_DECODE_RING_BYTES,
                "results take the place of the ring");

  using Copy = TileCopy<kHeadDim, Cache::kBytes, kSliceKeys, kWarpSize>;
  using CacheHead = Head<Cache::kBytes>;
  using QueryOperand = uint32_t[kHeadDim / 16][4];

  static __device__ __forceinline__ int warp_idx() { return threadIdx.x / kWarpSize; }
  static __device__ __forceinline__ int lane_idx() { return threadIdx.x % kWarpSize; }

  // The first row of the tile that is this warp's.
  static __device__ __forceinline__ int warp_row() { return kOwnKeys ? 0 : warp_idx() * 16; }

  // How many of the sequence's keys a row sees: 0 or fewer where it sees none.
  __device__ __forceinline__ int visible(int row) const {
    return keys_.len - queries_.len + rows_.query(row) + 1;
  }

  // What a warp's copies wait for and its products need: the warp's own copies, or the block's.
  static __device__ __forceinline__ void sync() {
    if (kOwnKeys) {
      __syncwarp();
    } else {
      __syncthreads();
    }
  }

  // Copies the warp's queries, zeros for rows that do not exist: most of them, where there is one
  // query of few heads.
  __device__ __forceinline__ void copy_queries(uint32_t smem) const {
    constexpr int kRowsAtOnce = kWarpSize / kRowChunks;
    const int chunk = lane_idx() % kRowChunks;
#pragma unroll
    for (int first = 0; first < 16; first += kRowsAtOnce) {
      const int row = first + lane_idx() / kRowChunks;
      const uint32_t smem_row = smem + swizzled<kRowChunks>(row, chunk);
      if (warp_row() + first >= rows_.num) {
        st_shared(smem_row, uint4{0, 0, 0, 0});
        continue;
      }
      const int tile_row = warp_row() + row;
      cp_async(smem_row, query(tile_row) + chunk * kChunkBytes, tile_row < rows_.num);
    }
  }

  // Where the query of a row of the tile stands.
  __device__ __forceinline__ const char* query(int row) const {
    const int64_t token = queries_.begin + rows_.query(row);
    const int64_t head = kv_head_ * rows_.group + rows_.head(row);
    return reinterpret_cast<const char*>(params_.q) +
           (token * params_.q_stride_token + head * params_.q_stride_head) * 2;
  }

  static __device__ __forceinline__ void load_queries(QueryOperand& q, uint32_t smem) {
    const uint32_t lane_q = smem + swizzled<kRowChunks>(lane_idx() % 16, lane_idx() / 16);
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k) ldmatrix_x4(q[k], lane_q ^ k * 2 * kChunkBytes);
  }

  // Queries in the order in which multiply_qk_codes wants them, straight from memory: of every 16
  // elements a thread has four neighbours, of two rows. Zeros for rows that do not exist.
  __device__ __forceinline__ void load_queries_for_codes(QueryOperand& q) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = warp_row() + lane_idx() / 4 + 8 * i;
      const bool exists = row < rows_.num;
      const char* gmem = query(exists ? row : 0) + lane_idx() % 4 * 8;
#pragma unroll
      for (int k = 0; k < kHeadDim / 16; ++k) {
        const int2 pairs = exists ? ld_global_i32x2(gmem + k * 32) : int2{0, 0};
        q[k][i] = pairs.x;
        q[k][i + 2] = pairs.y;
      }
    }
  }

  // acc_s = Q K^T of the warp's rows and keys.
  static __device__ __forceinline__ void multiply_qk(Accumulators<1, kKeys / 8>& acc_s,
                                                     const QueryOperand& q, uint32_t smem_k) {
    const uint32_t lane_k =
        smem_k + swizzled<kRowChunks>(lane_idx() / 16 * 8 + lane_idx() % 8, lane_idx() / 8 % 2);
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k) {
#pragma unroll
      for (int n = 0; n < kKeys / 8; n += 2) {
        uint32_t keys[4];
        ldmatrix_x4(keys, (lane_k ^ k * 2 * kChunkBytes) + n / 2 * kSliceBytes);
        if (k == 0) {
          mma_m16n8k16_first<Pair>(acc_s[0][n], q[k], keys[0], keys[1]);
          mma_m16n8k16_first<Pair>(acc_s[0][n + 1], q[k], keys[2], keys[3]);
        } else {
          mma_m16n8k16<Pair>(acc_s[0][n], q[k], keys[0], keys[1]);
          mma_m16n8k16<Pair>(acc_s[0][n + 1], q[k], keys[2], keys[3]);
        }
      }
    }
  }

  // The same of codes. An 8x8 matrix of 16-bit elements is 16 codes of 8 keys: a thread gets four
  // neighbours, which are the operand of one mma if the queries' columns are taken likewise.
  static __device__ __forceinline__ void multiply_qk_codes(Accumulators<1, kKeys / 8>& acc_s,
                                                           const QueryOperand& q, uint32_t smem_k) {
    constexpr int kKeyChunks = kHeadDim / kChunkBytes;
    const uint32_t lane_k = smem_k + swizzled<kKeyChunks>(lane_idx() % 16, lane_idx() / 16);
#pragma unroll
    for (int chunk = 0; chunk < kKeyChunks; chunk += 2) {
#pragma unroll
      for (int n = 0; n < kKeys / 8; n += 2) {
        uint32_t codes[4];
        ldmatrix_x4(codes, (lane_k ^ chunk * kChunkBytes) + n / 2 * kSliceBytes);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const uint2 keys = Cache::decode(codes[i]);
          const int k = chunk + i / 2;
          if (k == 0) {
            mma_m16n8k16_first<Pair>(acc_s[0][n + i % 2], q[k], keys.x, keys.y);
          } else {
            mma_m16n8k16<Pair>(acc_s[0][n + i % 2], q[k], keys.x, keys.y);
          }
        }
      }
    }
  }

  // acc_o += P V of codes. Transposed, an 8x8 matrix gives a thread two neighbouring elements of
  // two keys: the operands of two mma, of the even and of the odd columns of every 16. So column
  // 4t + 2j + i of 16c.. is accumulator j of tile 2c + i, t being the lane in its group of four.
  static __device__ __forceinline__ void multiply_pv_codes(Accumulators<1, kHeadDim / 8>& acc_o,
                                                           const Probabilities<1, kKeys / 8>& p,
                                                           uint32_t smem_v) {
    constexpr int kValueChunks = kHeadDim / kChunkBytes;
    const uint32_t lane_v = smem_v + swizzled<kValueChunks>(lane_idx() % 16, lane_idx() / 16);
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k) {
#pragma unroll
      for (int chunk = 0; chunk < kValueChunks; chunk += 2) {
        uint32_t codes[4];
        ldmatrix_x4_trans(codes, (lane_v ^ chunk * kChunkBytes) + k * kSliceBytes);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const uint2 lower = Cache::decode_alternate(codes[2 * i]);
          const uint2 upper = Cache::decode_alternate(codes[2 * i + 1]);
          mma_m16n8k16<Pair>(acc_o[0][2 * (chunk + i)], p[0][k], lower.x, upper.x);
          mma_m16n8k16<Pair>(acc_o[0][2 * (chunk + i) + 1], p[0][k], lower.y, upper.y);
        }
      }
    }
  }

  // How many of the keys from `key` on the rows of this thread see.
  __device__ __forceinline__ void limits(int (&limit)[2], int key) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) limit[i] = visible(warp_row() + lane_idx() / 4 + 8 * i) - key;
  }

  // Waits for those who read the values as well, and takes what is not finite out of a tile of
  // which some rows see only a part: see not_finite.cuh. `smem_copied` is what this warp has
  // copied, `smem_v` what it multiplies, from `key` on.
  __device__ __forceinline__ void sync_and_hide(Accumulators<1, kHeadDim / 8>& acc_o,
                                                const Copy& copy, uint32_t smem_copied,
                                                uint32_t smem_v, int key) const {
    const bool found = !copied_finite<Element>(copy, smem_copied);
    sync();
    if (!(kOwnKeys ? __any_sync(0xffffffff, found) : __syncthreads_or(found))) return;
    int limit[2];
    limits(limit, key);
    if constexpr (Cache::kIsFp8) {
      add_nan_codes<kHeadDim>(acc_o, smem_v, kKeys, limit, lane_idx());
    } else {
      add_not_finite<Pair, kHeadDim, 1>(acc_o, smem_v, kKeys, limit, lane_idx());
    }
    sync();
    zero_not_finite<Element>(copy, smem_copied);
    sync();
  }

  // The loop over the keys. The order of copies is keys 0, values 0, keys 1, values 1, …; each is
  // issued as soon as all have read what it overwrites: keys one ring ahead, values a step less.
  __device__ __forceinline__ void attend(Accumulators<1, kHeadDim / 8>& acc_o,
                                         OnlineSoftmax<1>& softmax) const {
    constexpr int kPending = 2 * kStages - 2;  // copies behind the one that is waited for
    const CacheHead k_head = CacheHead::of_keys(params_, kv_head_);
    const CacheHead v_head = CacheHead::of_values(params_, kv_head_);
    const Copy copy(lane_idx());
    const uint32_t smem_ring = smem_address(smem_);
    const uint32_t own_slice = warp_idx() * kSliceBytes;
    const int first_key = split_.start + warp_idx() * kSliceKeys;
    const int num_tiles = split_.num_tiles();

    int pages[kStages];
#pragma unroll
    for (int i = 0; i < kStages; ++i) {
      pages[i] = copy.page_of(params_, keys_, first_key + i * kBlockN);
    }
    int next_page = copy.page_of(params_, keys_, first_key + kStages * kBlockN);

    QueryOperand q;
    const uint32_t smem_q = smem_ring + (2 * kStages - 1) * kTileBytes + own_slice;
    if constexpr (Cache::kIsFp8) {
      load_queries_for_codes(q);
    } else {
      copy_queries(smem_q);
    }
#pragma unroll
    for (int i = 0; i < kStages; ++i) {
      const int start = first_key + i * kBlockN;
      const uint32_t smem_stage = smem_ring + 2 * i * kTileBytes + own_slice;
      pages[i] = bounded_page(params_, pages[i]);
      if (i < num_tiles) copy.copy(params_, smem_stage, k_head, keys_, start, pages[i]);
      cp_async_commit();
      if (i == kStages - 1) break;  // the queries' place; see the loop
      if (i < num_tiles)
        copy.copy(params_, smem_stage + kTileBytes, v_head, keys_, start, pages[i]);
      cp_async_commit();
    }

    if constexpr (!Cache::kIsFp8) {
      cp_async_wait<kPending>();
      __syncwarp();
      load_queries(q, smem_q);
    }

    const int all_see = visible(0);  // so many keys
    const uint32_t read_slice = kOwnKeys ? own_slice : 0;
    int key = split_.start + (kOwnKeys ? warp_idx() * kSliceKeys : 0);
    int copied_key = first_key + (kStages - 1) * kBlockN;  // of the newest tile of keys
    int page = pages[kStages - 1];                         // that tile's
    uint32_t stage = 0;                                    // the tile's offset in the ring
    uint32_t last_stage = 2 * (kStages - 1) * kTileBytes;  // that of the tile before

#pragma unroll 1
    for (int tile = 0; tile < num_tiles; ++tile) {
      cp_async_wait<kPending>();  // the keys are there
      sync();                     // for all who read them; and all have read the values before
      if (tile + kStages - 1 < num_tiles) {
        const uint32_t smem_free = smem_ring + last_stage + kTileBytes + own_slice;
        copy.copy(params_, smem_free, v_head, keys_, copied_key, page);
      }
      cp_async_commit();
      Accumulators<1, kKeys / 8> acc_s;
      if constexpr (Cache::kIsFp8) {
        multiply_qk_codes(acc_s, q, smem_ring + stage + read_slice);
      } else {
        multiply_qk(acc_s, q, smem_ring + stage + read_slice);
      }
      if (key + kKeys > all_see) {
        int limit[2];
        limits(limit, key);
        mask_keys(acc_s, limit, lane_idx());
      }
      softmax.step(acc_s, acc_o, params_.softmax_scale_log2 * Cache::kUnit);
      Probabilities<1, kKeys / 8> p;
      round_probabilities<Pair, 1, kKeys / 8>(p, acc_s);

      cp_async_wait<kPending>();  // the values are there
      const uint32_t smem_v = smem_ring + stage + kTileBytes;
      if (min(key + kKeys, keys_.len) <= all_see) {
        sync();  // for all; and all have read the keys
      } else {
        sync_and_hide(acc_o, copy, smem_v + own_slice, smem_v + read_slice, key);
      }
      copied_key += kBlockN;
      if (tile + kStages < num_tiles) {
        page = bounded_page(params_, next_page);
        next_page = copy.page_of(params_, keys_, copied_key + kBlockN);
        copy.copy(params_, smem_ring + stage + own_slice, k_head, keys_, copied_key, page);
      }
      cp_async_commit();
      if constexpr (Cache::kIsFp8) {
        multiply_pv_codes(acc_o, p, smem_v + read_slice);
      } else {
        multiply_pv<Pair, kHeadDim>(acc_o, p, smem_v + read_slice, lane_idx());
      }
      key += kBlockN;
      last_stage = stage;
      stage = stage == 2 * (kStages - 1) * kTileBytes ? 0 : stage + 2 * kTileBytes;
    }
  }

  // Adds up the parts of each row, in the order of the warps, and stores it.
  __device__ __forceinline__ void merge_and_store(const Accumulators<1, kHeadDim / 8>& acc_o,
                                                  const OnlineSoftmax<1>& softmax) const {
    const float* smem_out = reinterpret_cast<const float*>(smem_);  // [kWarps * 16, kResultStride]
    const float* smem_state = smem_out + kWarps * 16 * kResultStride;  // maximum, sum of each row
    cp_async_wait<0>();
    __syncthreads();  // nobody reads the ring any more
    write_results(acc_o, softmax, smem_address(smem_out), smem_address(smem_state));
    __syncthreads();

    for (int row = threadIdx.x / kRowThreads; row < min(rows_.num, kBlockM);
         row += kThreads / kRowThreads) {
      float max = -kInfinity;
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        max = fmaxf(max, smem_state[(part * 16 + row) * 2]);
      }
      // A row that has seen no key has no maximum: its weights are exp2(-inf), not of NaN.
      const float origin = max == -kInfinity ? 0.0f : max;
      float sum = 0.0f;
      float out[4] = {};
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        const int part_row = part * 16 + row;
        const float weight = ex2(smem_state[part_row * 2] - origin);
        const float4 values = *reinterpret_cast<const float4*>(smem_out + part_row * kResultStride +
                                                               threadIdx.x % kRowThreads * 4);
        sum = fmaf(smem_state[part_row * 2 + 1], weight, sum);
        out[0] = fmaf(values.x, weight, out[0]);
        out[1] = fmaf(values.y, weight, out[1]);
        out[2] = fmaf(values.z, weight, out[2]);
        out[3] = fmaf(values.w, weight, out[3]);
      }
      // Where all scores are -inf though keys are seen there is no softmax: 0 * rcp(0) is NaN. As a
      // part of the keys it is one without weight.
      const bool sees_keys = visible(row) > split_.start;
      const float scale = sees_keys ? rcp(sum) * (params_.v_scale * Cache::kUnit) : 0.0f;
#pragma unroll
      for (float& x : out) x *= scale;
      float lse = fmaf(max, kLn2, lg2(sum) * kLn2);
      if (sum == 0.0f && sees_keys && params_.max_splits == 1) lse = __int_as_float(0x7fffffff);
      store(row, threadIdx.x % kRowThreads, out, lse);
    }
  }

  // What this warp has of its 16 rows.
  static __device__ __forceinline__ void write_results(const Accumulators<1, kHeadDim / 8>& acc_o,
                                                       const OnlineSoftmax<1>& softmax,
                                                       uint32_t smem_out, uint32_t smem_state) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = warp_idx() * 16 + lane_idx() / 4 + 8 * i;
      const int column = lane_idx() % 4;  // of four
      float sum = softmax.row_sum[i];
      sum += __shfl_xor_sync(0xffffffff, sum, 1);
      sum += __shfl_xor_sync(0xffffffff, sum, 2);
      const float state = column == 0 ? softmax.row_max[i] : sum;
      if (column < 2) st_shared(smem_state + (row * 2 + column) * 4, __float_as_uint(state));
      if constexpr (Cache::kIsFp8) {
#pragma unroll
        for (int n = 0; n < kHeadDim / 8; n += 2) {
          const float(&even)[4] = acc_o[0][n];
          const float(&odd)[4] = acc_o[0][n + 1];
          st_shared_f32x4(smem_out + (row * kResultStride + n * 8 + column * 4) * 4,
                          {even[2 * i], odd[2 * i], even[2 * i + 1], odd[2 * i + 1]});
        }
      } else {
#pragma unroll
        for (int n = 0; n < kHeadDim / 8; ++n) {
          const float(&acc)[4] = acc_o[0][n];
          st_shared(smem_out + (row * kResultStride + n * 8 + column * 2) * 4,
                    uint2{__float_as_uint(acc[2 * i]), __float_as_uint(acc[2 * i + 1])});
        }
      }
    }
  }

  // Four columns of a row: the result itself, or the part of this split, which is nothing where its
  // lse is -inf.
  __device__ __forceinline__ void store(int row, int column, const float (&out)[4],
                                        float lse) const {
    if (params_.max_splits > 1) {
      const int64_t part = part_row(params_, seq_idx_, kv_head_, rows_, row);
      const uint4 bits = {__float_as_uint(out[0]), __float_as_uint(out[1]), __float_as_uint(out[2]),
                          __float_as_uint(out[3])};
      char* gmem_out = reinterpret_cast<char*>(params_.out) + part * kHeadDim * 4 + column * 16;
      if (lse != -kInfinity) st_global(gmem_out, bits);
      if (column == 0) st_global_f32(part_lse(params_, part), lse);
      return;
    }
    const int64_t head = kv_head_ * rows_.group + rows_.head(row);
    const int64_t token = queries_.begin + rows_.query(row);
    const Pair pairs[2] = {from_f32<Pair>({out[0], out[1]}), from_f32<Pair>({out[2], out[3]})};
    uint2 bits;
    __builtin_memcpy(&bits, pairs, sizeof(bits));
    st_global(reinterpret_cast<char*>(params_.out) +
                  (token * params_.out_stride_token + head * params_.out_stride_head) * 2 +
                  column * 8,
              bits);
    if (params_.lse != 0 && column == 0) {
      st_global_f32(
          reinterpret_cast<char*>(params_.lse) + (token * params_.lse_stride_token + head) * 4,
          lse);
    }
  }

  const AttentionParams& params_;
  char* smem_;
  int seq_idx_;  // of the launch
  int kv_head_;
  const Queries& queries_;
  const PackedRows& rows_;
  const Keys& keys_;
  const Split& split_;
};

template <typename Cache, int kHeadDim, int kBlockM>
__device__ __forceinline__ void attention_decode(const AttentionParams& params) {
  extern __shared__ __align__(1024) char smem[];
  const int seq_idx = blockIdx.x / params.num_kv_heads;
  const int kv_head = blockIdx.x % params.num_kv_heads;
  // Nothing of the first list is waited for before the other is asked for.
  bool wrong = false;
  const Keys keys = Keys::of(params, params.first_seq + seq_idx, wrong);
  const Queries queries(params, seq_idx);
  wrong |= queries.wrong || keys.len > 0 && keys.len < queries.len;
  // One thread speaks for the sequence.
  if (kv_head == 0 && blockIdx.y == 0 && blockIdx.z == 0 && threadIdx.x == 0) {
    if (wrong) report(params, DEVICE_ERROR_LENGTH);
    if (params.max_splits > 1) tell_combine(params, seq_idx, queries);
  }
  const PackedRows rows(blockIdx.z * kBlockM, queries.len, params.group);
  if (params.max_splits > 1) mark_missing<kBlockM>(params, seq_idx, kv_head, rows);
  if (rows.num <= 0) return;
  const Split split(params, blockIdx.y, keys.len);
  const DecodeTile<Cache, kHeadDim, kBlockM> tile(params, smem, seq_idx, kv_head, queries, rows,
                                                  keys, split);
  if (split.start < split.end) {
    tile.run();
  } else {
    tile.run_without_keys();
  }
}

// Two blocks on a multiprocessor: shared memory has room for no more.
#define ATTENTION_DECODE(name, Cache, head_dim, rows)                           \
  extern "C" __global__ void __launch_bounds__(kThreads, 2)                     \
      attention_decode_##name(const __grid_constant__ AttentionParams params) { \
    attention_decode<Cache, head_dim, rows>(params);                            \
  }
ATTENTION_DECODE(bf16_hd64_m16, NativeCache<__nv_bfloat162>, 64, 16)
ATTENTION_DECODE(bf16_hd64_m64, NativeCache<__nv_bfloat162>, 64, 64)
ATTENTION_DECODE(bf16_hd128_m16, NativeCache<__nv_bfloat162>, 128, 16)
ATTENTION_DECODE(bf16_hd128_m64, NativeCache<__nv_bfloat162>, 128, 64)
ATTENTION_DECODE(f16_hd64_m16, NativeCache<__half2>, 64, 16)
ATTENTION_DECODE(f16_hd64_m64, NativeCache<__half2>, 64, 64)
ATTENTION_DECODE(f16_hd128_m16, NativeCache<__half2>, 128, 16)
ATTENTION_DECODE(f16_hd128_m64, NativeCache<__half2>, 128, 64)
ATTENTION_DECODE(fp8kv_bf16_hd64_m16, Fp8Cache<__nv_bfloat162>, 64, 16)
ATTENTION_DECODE(fp8kv_bf16_hd64_m64, Fp8Cache<__nv_bfloat162>, 64, 64)
ATTENTION_DECODE(fp8kv_bf16_hd128_m16, Fp8Cache<__nv_bfloat162>, 128, 16)
ATTENTION_DECODE(fp8kv_bf16_hd128_m64, Fp8Cache<__nv_bfloat162>, 128, 64)
ATTENTION_DECODE(fp8kv_f16_hd64_m16, Fp8Cache<__half2>, 64, 16)
ATTENTION_DECODE(fp8kv_f16_hd64_m64, Fp8Cache<__half2>, 64, 64)
ATTENTION_DECODE(fp8kv_f16_hd128_m16, Fp8Cache<__half2>, 128, 16)
ATTENTION_DECODE(fp8kv_f16_hd128_m64, Fp8Cache<__half2>, 128, 64)
#undef ATTENTION_DECODE
