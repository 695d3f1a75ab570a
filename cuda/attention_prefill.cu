// attention_prefill: out = softmax(softmax_scale * Q K^T) V over the sequences of a ragged batch;
//                    query j of q_len sees the keys 0..kv_len - q_len + j
//
// Layout: q, out [num_tokens, num_q_heads, head_dim], bf16 or f16, head_dim 64 or 128; keys and
//         values in pages or contiguous, by strides (AttentionParams); lse f32 where asked for.
//         Scores, their softmax and all sums are f32; probabilities are rounded to the type of the
//         values before they meet them, row sums are of unrounded ones. An fp8 cache holds e4m3
//         codes, 16-byte aligned rows: see kv_cache.cuh.
// FLOPs:  4 * head_dim * num_q_heads * (keys seen, summed over the queries)
// Bytes:  2 * head_dim * (2 * num_tokens * num_q_heads + 2 * num_kv_heads * sum of kv_len), and
//         4 * num_tokens * num_q_heads of lse. Through L2 each tile reads the keys and values that
//         it sees: cost::attention_prefill_tile. An fp8 cache: a byte for each element of keys and
//         values instead of two.
// Bound:  tensor cores, at what mma.sync reaches of them: 62-65% of the peak of an H200, 620
//         TFLOP/s. Expected: half of that for causal prompts of 4K tokens and head_dim 128. The
//         rest is lost in the softmax (for 256 mma of a warp and tile 64 MUFU, of 8 cycles each,
//         and 560 other instructions, which only the other warps' mma hide; at head_dim 64 128 and
//         770), in half of the diagonal's products, and where a block begins and ends.
//
// FlashAttention-2 (Dao 2023). A block has 128 rows, which are pairs of a token and a query head of
// one key/value head, so that keys and values are read once for the group and a short chunk still
// fills a tile. It walks over tiles of 64 keys, at head_dim 64 of 128, from the first on. A warp
// has 32 rows: what it loads of keys and values (ldmatrix) serves two mma, 1.25 wavefronts of
// shared memory for each of them against 2.25 with 16 rows. Scores stay in registers, and become
// the operand A of the second product there. Shared memory: the queries' tile (32 KB; 16 at
// head_dim 64), in whose place the output is gathered for 16-byte stores, and a ring of three tiles
// of keys or values (48 KB), which gives a copy the time of two products. Two blocks fit a
// multiprocessor of 8.0 and 9.0, one those of 8.6 and 8.9. Registers: 255, without spills. Tiles
// beyond the diagonal are not visited; what has to look at bounds (the diagonal, the last keys,
// pages of a few tokens) has a loop of its own, behind the one that has none.
//
// An fp8 cache: tensor cores want 16 bits. Each thread decodes the codes that it has copied, before
// the barrier that is there anyway, into a tile of which the products know nothing else: a warp
// that decoded its operands itself would do all of the block's work. The ring's room is divided
// into codes of keys and of values (half a tile each) and both decoded tiles. To the 256 mma of a
// warp and tile that adds 24 accesses of shared memory of 16 bytes and 64 conversions of two codes,
// for bf16 with three instructions more each; at head_dim 64 the same.
//
// The result of a query depends on its sequence alone, not on the batch or the chunk that it comes
// in: its tiles of keys begin at key 0, and no row's arithmetic depends on another's.
#include "common/attention.cuh"
#include "common/not_finite.cuh"
#include "common/prefill_schedule.cuh"
#include "common/tile_decoder.cuh"
#include "ptx/special.cuh"

constexpr int kThreads = ATTENTION_PREFILL_THREADS;
constexpr int kBlockM = ATTENTION_PREFILL_ROWS;
constexpr int kStages = ATTENTION_PREFILL_STAGES;
constexpr int kTilesM = kBlockM / (kThreads / kWarpSize) / 16;  // of a warp
constexpr int kRowsPerWarp = 16 * kTilesM;

// The rows of a tile as tokens and heads. Divides by the group with a multiplication: its operands
// are below 2^8, so 16 bits of the reciprocal, rounded up, give the exact quotient.
struct Rows {
  int first_token;  // of the sequence
  int first_head;   // of the group
  int group;
  int num;  // rows that exist
  uint32_t reciprocal;

  Rows() = default;
  __device__ __forceinline__ Rows(const RowTileOfHead& tile, int group)
      : first_token(tile.first_row / group),
        first_head(tile.first_row % group),
        group(group),
        num(min(tile.q_len * group - tile.first_row, kBlockM)),
        reciprocal((1 << 16) / group + 1) {}

  __device__ __forceinline__ int token(int row) const {
    return first_token + ((first_head + row) * reciprocal >> 16);
  }
  __device__ __forceinline__ int head(int row) const {
    return first_head + row - (token(row) - first_token) * group;
  }
};

// What a block knows of its tile: in shared memory, because the main loop has use for every
// register.
struct Work {
  RowTileOfHead tile;
  Rows rows;
  Keys keys;
  int all_see;   // so many keys each row sees
  int num_keys;  // so many one of them sees
  uint64_t k_base;
  uint64_t v_base;

  Work() = default;
  template <typename CacheHead>
  __device__ __forceinline__ Work(const AttentionParams& params, const RowTileOfHead& tile,
                                  CacheHead)
      : tile(tile),
        rows(tile, params.group),
        k_base(CacheHead::of_keys(params, tile.kv_head).base),
        v_base(CacheHead::of_values(params, tile.kv_head).base) {
    bool wrong = false;  // said already, by the schedule
    keys = Keys::of(params, tile.seq, wrong);
    all_see = visible(0);
    num_keys = max(visible(rows.num - 1), 0);
  }

  // How many keys a row sees: 0 or fewer where it sees none.
  __device__ __forceinline__ int visible(int row) const {
    return keys.len - tile.q_len + rows.token(row) + 1;
  }
};

// A thread's place in the block.
struct Thread {
  uint32_t idx;

  // Reads it anew: what is derived from it is computed where it is used, instead of taking up
  // registers all along the main loop.
  __device__ __forceinline__ static Thread anew() { return {thread_idx_anew()}; }

  __device__ __forceinline__ int lane_idx() const { return idx % kWarpSize; }
  __device__ __forceinline__ int warp_row() const {  // the warp's first row
    return idx / kWarpSize * kRowsPerWarp;
  }
};

template <typename Cache, int kHeadDim>
struct PrefillTile {
  using Pair = typename Cache::Pair;
  static constexpr int kRowChunks = kHeadDim / kChunkElements;
  static constexpr int kBlockN =
      kHeadDim == 64 ? ATTENTION_PREFILL_KEYS_HD64 : ATTENTION_PREFILL_KEYS;
  static constexpr int kTilesN = kBlockN / 8;
  static constexpr int kStageBytes = kBlockN * kHeadDim * 2;
  using Copy = TileCopy<kHeadDim, Cache::kBytes, kBlockN, kThreads>;
  using CacheHead = Head<Cache::kBytes>;
  // What knows the chunks of 16-bit values that a thread has brought.
  using Values = std::conditional_t<Cache::kIsFp8, TileDecoder<Cache, kHeadDim, Copy>, Copy>;
  static_assert(kStages == 3, "codes of keys and values, and both decoded, take as much room");

  // What a warp has of its rows and their place among the tiles of keys.
  struct State {
    Accumulators<kTilesM, kHeadDim / 8> acc_o = {};
    OnlineSoftmax<kTilesM> softmax;
    int start = 0;  // the tile's first key
    int stage = 0;  // of the keys, in the ring: keys 0, values 0, keys 1, values 1, … (16 bits)
    int page = 0;   // of this thread's rows of the next tile
  };

  const AttentionParams& params;
  const Work& work;
  const uint32_t smem_q;

  // Queries into shared memory, zeros for rows that do not exist.
  __device__ __forceinline__ void copy_queries() const {
    const int chunk = threadIdx.x % kRowChunks;
#pragma unroll
    for (int i = 0; i < kBlockM * kRowChunks / kThreads; ++i) {
      const int row = i * (kThreads / kRowChunks) + threadIdx.x / kRowChunks;
      cp_async(smem_q + swizzled<kRowChunks>(row, chunk),
               address(params.q, params.q_stride_token, params.q_stride_head, row, chunk),
               row < work.rows.num);
    }
  }

  // Chunk `chunk` of a row of q or out, whose strides the host has checked to fit.
  __device__ __forceinline__ char* address(uint64_t base, int64_t stride_token, int64_t stride_head,
                                           int row, int chunk) const {
    const uint32_t token = work.tile.q_begin + work.rows.token(row);
    const uint32_t head = work.tile.kv_head * work.rows.group + work.rows.head(row);
    const uint64_t chunks = static_cast<uint64_t>(token) * in_chunks(stride_token) +
                            static_cast<uint64_t>(head) * in_chunks(stride_head) + chunk;
    return reinterpret_cast<char*>(base + chunks * kChunkBytes);
  }

  // The outputs of the warp's rows, by way of the shared memory of their queries: 16 bytes a
  // thread, whole rows a warp.
  __device__ __forceinline__ void store(const State& state) const {
    const Thread thread = Thread::anew();
    const int lane_idx = thread.lane_idx(), warp_row = thread.warp_row();
#pragma unroll
    for (int i = 0; i < OnlineSoftmax<kTilesM>::kRows; ++i) {
      const int row = warp_row + 8 * i + lane_idx / 4;
      float scale, lse;
      state.softmax.finish(i, work.visible(row) > 0, scale, lse);
      scale *= params.v_scale * Cache::kUnit;
      if (params.lse != 0 && lane_idx % 4 == 0 && row < work.rows.num) {
        const int64_t token = work.tile.q_begin + work.rows.token(row);
        const int64_t head = work.tile.kv_head * work.rows.group + work.rows.head(row);
        st_global_f32(
            reinterpret_cast<char*>(params.lse) + (token * params.lse_stride_token + head) * 4,
            lse);
      }
#pragma unroll
      for (int n = 0; n < kHeadDim / 8; ++n) {
        const float(&acc)[4] = state.acc_o[i / 2][n];
        const Pair pair = from_f32<Pair>({acc[i % 2 * 2] * scale, acc[i % 2 * 2 + 1] * scale});
        uint32_t bits;
        __builtin_memcpy(&bits, &pair, sizeof(bits));
        st_shared(smem_q + swizzled<kRowChunks>(row, n) + lane_idx % 4 * 4, bits);
      }
    }
    __syncwarp();
#pragma unroll
    for (int i = 0; i < kRowsPerWarp * kRowChunks / kWarpSize; ++i) {
      const int row = warp_row + i * (kWarpSize / kRowChunks) + lane_idx / kRowChunks;
      const int chunk = lane_idx % kRowChunks;
      if (row < work.rows.num) {
        st_global(address(params.out, params.out_stride_token, params.out_stride_head, row, chunk),
                  ld_shared(smem_q + swizzled<kRowChunks>(row, chunk)));
      }
    }
  }

  __device__ __forceinline__ void run() const {
    State state;
    if (work.num_keys > 0) {
      const Copy copy(threadIdx.x);
      copy_queries();
      state.page = bounded_page(params, copy.page_of(params, work.keys, 0));
      copy_keys<false>(copy, copied_keys(0), 0, state.page);
      cp_async_commit();
      copy_values<false>(copy, copied_values(1), 0, state.page);
      cp_async_commit();
      state.page = copy.page_of(params, work.keys, kBlockN);

      // Tiles that all rows see, and the next one too: nothing there has a bound.
#pragma unroll 1
      while (Copy::one_page(params) && state.start + 2 * kBlockN <= work.all_see) step<true>(state);
#pragma unroll 1
      while (state.start < work.num_keys) step<false>(state);
    }
    store(state);
  }

  // One tile of keys, and the copies of the next: each has the time of two products.
  template <bool kWhole>
  __device__ __forceinline__ void step(State& state) const {
    const Copy copy(Thread::anew().idx);
    const int start = state.start, next = start + kBlockN;
    const bool more = kWhole || next < work.num_keys;
    cp_async_wait<1>();  // the keys are there
    const uint32_t smem_k = decoded_keys(state.stage);
    __syncthreads();  // for all; and all have read the values before these
    if (more) {
      state.page = bounded_page(params, state.page);
      copy_keys<kWhole>(copy, copied_keys(state.stage + 2), next, state.page);
    }
    cp_async_commit();

    // A warp whose rows do not exist, or see nothing of the tile, only copies. No row sees
    // kRowsPerWarp more than the warp's first: they are so many tokens at most.
    const Thread thread = Thread::anew();
    const int lane_idx = thread.lane_idx(), warp_row = thread.warp_row();
    const bool exists = warp_row < work.rows.num;
    const int all_see = kWhole ? 0 : work.visible(warp_row);
    const bool some_see = exists && (kWhole || start < all_see + kRowsPerWarp - 1);
    Probabilities<kTilesM, kTilesN> p;
    if (some_see) {
      Accumulators<kTilesM, kTilesN> acc_s;
      multiply_qk<Pair, kHeadDim>(acc_s, smem_q + warp_row * kRowChunks * kChunkBytes, smem_k,
                                  lane_idx);
      if (!kWhole && next > all_see) {
        int limit[2 * kTilesM];
        limits(limit, thread, start);
        mask_keys(acc_s, limit, lane_idx);
      }
      state.softmax.step(acc_s, state.acc_o, params.softmax_scale_log2 * Cache::kUnit);
      round_probabilities<Pair, kTilesM, kTilesN>(p, acc_s);
    }

    cp_async_wait<1>();  // the values are there
    const uint32_t smem_v = decoded_values(state.stage + 1);
    if (kWhole || next <= work.all_see) {
      __syncthreads();  // for all; and all have read the keys
    } else {
      const Values values(Thread::anew().idx);
      if (__syncthreads_or(!copied_finite<Pair>(values, smem_v))) {
        hide_not_finite(state.acc_o, values, smem_v, start);
      }
    }
    if (more) {
      copy_values<kWhole>(copy, copied_values(state.stage), next, state.page);
      state.page = copy.page_of(params, work.keys, next + kBlockN);
    }
    cp_async_commit();
    if (some_see) {
      multiply_pv<Pair, kHeadDim>(state.acc_o, p, smem_v, lane_idx);
    }
    state.start = next;
    state.stage = state.stage == 0 ? kStages - 1 : state.stage - 1;
  }

  // How many keys of the tile at `start` the rows of this thread see.
  __device__ __forceinline__ void limits(int (&limit)[2 * kTilesM], Thread thread,
                                         int start) const {
#pragma unroll
    for (int i = 0; i < 2 * kTilesM; ++i) {
      limit[i] = work.visible(thread.warp_row() + 8 * i + thread.lane_idx() / 4) - start;
    }
  }

  // Takes what is not finite out of a tile of values, and adds it to the rows that see it.
  __device__ __forceinline__ void hide_not_finite(Accumulators<kTilesM, kHeadDim / 8>& acc_o,
                                                  const Values& values, uint32_t smem_v,
                                                  int start) const {
    int limit[2 * kTilesM];
    const Thread thread = Thread::anew();
    limits(limit, thread, start);
    add_not_finite<Pair, kHeadDim, kTilesM>(acc_o, smem_v, kBlockN, limit, thread.lane_idx());
    __syncthreads();
    zero_not_finite<Pair>(values, smem_v);
    __syncthreads();
  }

  // Where copies of keys and values go, and where they are multiplied: a stage of the ring, `idx`
  // being at most one round too far. With an fp8 cache codes have places of their own behind those
  // of the decoded tiles, and are decoded here: a thread its own ones, as soon as it has them. All
  // have read what that overwrites, before the last barrier.
  __device__ __forceinline__ uint32_t copied_keys(int idx) const {
    return Cache::kIsFp8 ? smem_ring() + 2 * kStageBytes : smem_stage(idx);
  }
  __device__ __forceinline__ uint32_t copied_values(int idx) const {
    return Cache::kIsFp8 ? smem_ring() + 2 * kStageBytes + kStageBytes / 2 : smem_stage(idx);
  }
  __device__ __forceinline__ uint32_t decoded_keys(int idx) const {
    return decoded(copied_keys(idx), smem_ring());
  }
  __device__ __forceinline__ uint32_t decoded_values(int idx) const {
    return decoded(copied_values(idx), smem_ring() + kStageBytes);
  }

  __device__ __forceinline__ uint32_t decoded(uint32_t smem_copied, uint32_t smem_tile) const {
    if constexpr (Cache::kIsFp8) {
      Values(Thread::anew().idx).decode(smem_copied, smem_tile);
      return smem_tile;
    } else {
      return smem_copied;
    }
  }

  __device__ __forceinline__ uint32_t smem_ring() const { return smem_q + kBlockM * kHeadDim * 2; }

  __device__ __forceinline__ uint32_t smem_stage(int idx) const {
    return smem_ring() + (idx < kStages ? idx : idx - kStages) * kStageBytes;
  }

  template <bool kWhole>
  __device__ __forceinline__ void copy_keys(const Copy& copy, uint32_t smem, int start,
                                            int page) const {
    const CacheHead head = CacheHead::keys_at(params, work.k_base);
    copy.template copy<kWhole>(params, smem, head, work.keys, start, page);
  }

  template <bool kWhole>
  __device__ __forceinline__ void copy_values(const Copy& copy, uint32_t smem, int start,
                                              int page) const {
    const CacheHead head = CacheHead::values_at(params, work.v_base);
    copy.template copy<kWhole>(params, smem, head, work.keys, start, page);
  }
};

template <typename Cache, int kHeadDim>
__device__ __forceinline__ void attention_prefill(const AttentionParams& params) {
  extern __shared__ __align__(256) uint4 smem[];
  __shared__ Work work;
  using Tile = PrefillTile<Cache, kHeadDim>;
  static_assert(ATTENTION_PREFILL_MAX_SEQS * sizeof(TiledSequence) <=
                    kBlockM * kHeadDim * 2 + kStages * Tile::kStageBytes,
                "the table of sequences stands where the tiles come to stand");
  if (threadIdx.x < kWarpSize) {
    const PrefillSchedule schedule(params, reinterpret_cast<TiledSequence*>(smem),
                                   kHeadDim * Cache::kBytes);
    const RowTileOfHead found = schedule.find(params, blockIdx.x);
    if (threadIdx.x == 0) {
      work.tile.seq = found.seq;
      if (found.seq >= 0) work = Work(params, found, typename Tile::CacheHead{});
    }
  }
  __syncthreads();
  if (work.tile.seq < 0) return;
  const Tile prefill = {params, work, smem_address(smem)};
  prefill.run();
}

// Two blocks a multiprocessor: all of its registers.
#define ATTENTION_PREFILL(name, Cache, head_dim)                                 \
  extern "C" __global__ void __launch_bounds__(kThreads, 2)                      \
      attention_prefill_##name(const __grid_constant__ AttentionParams params) { \
    attention_prefill<Cache, head_dim>(params);                                  \
  }
ATTENTION_PREFILL(bf16_hd64, NativeCache<__nv_bfloat162>, 64)
ATTENTION_PREFILL(bf16_hd128, NativeCache<__nv_bfloat162>, 128)
ATTENTION_PREFILL(f16_hd64, NativeCache<__half2>, 64)
ATTENTION_PREFILL(f16_hd128, NativeCache<__half2>, 128)
ATTENTION_PREFILL(fp8kv_bf16_hd64, Fp8Cache<__nv_bfloat162>, 64)
ATTENTION_PREFILL(fp8kv_bf16_hd128, Fp8Cache<__nv_bfloat162>, 128)
ATTENTION_PREFILL(fp8kv_f16_hd64, Fp8Cache<__half2>, 64)
ATTENTION_PREFILL(fp8kv_f16_hd128, Fp8Cache<__half2>, 128)
#undef ATTENTION_PREFILL
