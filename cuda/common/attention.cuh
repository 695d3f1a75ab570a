// What the attention kernels share: where keys and values stand, their way into shared memory, and
// the two products of a warp's rows with a tile of keys.
#pragma once

#include <cstdint>

#include "../ptx/cp_async.cuh"
#include "../ptx/ldst.cuh"
#include "../ptx/mma.cuh"
#include "kv_cache.cuh"
#include "online_softmax.cuh"
#include "swizzle.cuh"
#include "vectors.cuh"

constexpr int kChunkElements = VECTOR_ELEMENTS;  // of 16 bytes
constexpr int kChunkBytes = 16;

__device__ __forceinline__ void report(const AttentionParams& params, uint32_t error) {
  if (params.error != 0) red_global_or(reinterpret_cast<void*>(params.error), error);
}

// One element of a list of i32 at a device address.
__device__ __forceinline__ int load_i32(uint64_t list, int64_t idx) {
  return ld_global_i32(reinterpret_cast<const void*>(list + idx * 4));
}

__device__ __forceinline__ int bounded(int value, int low, int high) {
  return min(max(value, low), high);
}

// The page, or the nearest that the cache has.
__device__ __forceinline__ int bounded_page(const AttentionParams& params, int page) {
  const int nearest = bounded(page, 0, params.num_pages - 1);
  if (nearest != page) report(params, DEVICE_ERROR_PAGE);
  return nearest;
}

// Where the keys of one sequence stand. What the device says of them is bounded by what the host
// says of the cache, so that no address leaves it.
struct Keys {
  int len;         // how many
  int first_slot;  // 0 in pages
  uint64_t table;  // pages; 0 where keys are contiguous: one page, which has all slots

  // `seq` counts all sequences of the batch. Sets `wrong` where a length was bounded.
  __device__ __forceinline__ static Keys of(const AttentionParams& params, int seq, bool& wrong) {
    Keys keys = {0, 0, 0};
    const int len = load_i32(params.kv_len, seq);
    keys.len = bounded(len, 0, params.max_kv_len);
    if (params.page_table == 0) {
      const int first_slot = load_i32(params.kv_indptr, seq);
      keys.first_slot = bounded(first_slot, 0, params.num_pages);
      keys.len = min(keys.len, params.num_pages - keys.first_slot);
      wrong |= keys.first_slot != first_slot;
    } else {
      keys.table = params.page_table + seq * params.page_table_stride_seq * 4;
    }
    wrong |= keys.len != len;
    return keys;
  }

  // The page of a key as the table has it, to be bounded where it is used: the load may be far
  // ahead of that, so that nobody waits for it. Keys beyond the last have the last one's; there
  // must be a key.
  __device__ __forceinline__ int page_of(const AttentionParams& params, int key) const {
    if (params.page_table == 0) return 0;
    return load_i32(table, min(key, len - 1) >> (31 - __clz(params.page_size)));
  }

  // Where a key stands in its page.
  __device__ __forceinline__ int slot_of(const AttentionParams& params, int key) const {
    return first_slot + (key & (params.page_size - 1));
  }
};

// A stride that the host has checked to be a multiple of a chunk, and to fit: 32 bits save most of
// each 64-bit multiplication.
template <int kElementBytes = 2>
__device__ __forceinline__ uint32_t in_chunks(int64_t elements) {
  return static_cast<uint32_t>(static_cast<uint64_t>(elements) / (kChunkBytes / kElementBytes));
}

// The keys or the values of one key/value head.
template <int kElementBytes>
struct Head {
  uint64_t base;
  uint32_t stride_page;  // in chunks
  uint32_t stride_slot;

  __device__ __forceinline__ static Head of_keys(const AttentionParams& params, int kv_head) {
    return keys_at(params, params.k + kv_head * params.k_stride_head * kElementBytes);
  }
  __device__ __forceinline__ static Head of_values(const AttentionParams& params, int kv_head) {
    return values_at(params, params.v + kv_head * params.v_stride_head * kElementBytes);
  }

  // With a base that was computed before.
  __device__ __forceinline__ static Head keys_at(const AttentionParams& params, uint64_t base) {
    return {base, in_chunks<kElementBytes>(params.k_stride_page),
            in_chunks<kElementBytes>(params.k_stride_slot)};
  }
  __device__ __forceinline__ static Head values_at(const AttentionParams& params, uint64_t base) {
    return {base, in_chunks<kElementBytes>(params.v_stride_page),
            in_chunks<kElementBytes>(params.v_stride_slot)};
  }

  __device__ __forceinline__ const char* row(uint32_t page, uint32_t slot) const {
    const uint64_t offset =
        static_cast<uint64_t>(page) * stride_page + static_cast<uint64_t>(slot) * stride_slot;
    return reinterpret_cast<const char*>(base + offset * kChunkBytes);
  }
};

// Copies tiles of kKeys keys or values, kElementBytes an element, into swizzled shared memory with
// kThreads threads. A thread copies one chunk of kRowsPerThread neighbouring keys: with pages of
// that size or larger it needs one page index a tile.
template <int kHeadDim, int kElementBytes, int kKeys, int kThreads>
class TileCopy {
 public:
  static constexpr int kRowChunks = kHeadDim * kElementBytes / kChunkBytes;
  static constexpr int kRowsPerThread = kKeys * kRowChunks / kThreads;
  static_assert(kThreads % kRowChunks == 0, "a thread copies one column of chunks");
  static_assert(kRowsPerThread > 0 && 8 % kRowsPerThread == 0, "the swizzle repeats every 8 rows");

  __device__ __forceinline__ explicit TileCopy(uint32_t thread_idx)
      : row_(thread_idx / kRowChunks * kRowsPerThread + turn(thread_idx)),
        chunk_(thread_idx % kRowChunks) {}

  // The page of this thread's rows of the tile that begins at key `start`.
  __device__ __forceinline__ int page_of(const AttentionParams& params, const Keys& keys,
                                         int start) const {
    return keys.page_of(params, start + row_);
  }

  // Whether each thread's rows of a tile lie in one page.
  __device__ __forceinline__ static bool one_page(const AttentionParams& params) {
    return params.page_size >= kRowsPerThread;
  }

  // Copies the tile that begins at key `start`, zeros for keys beyond the last. `page` is bounded.
  // kWhole: there are none beyond, and each thread's rows lie in one page.
  template <bool kWhole = false>
  __device__ __forceinline__ void copy(const AttentionParams& params, uint32_t smem_tile,
                                       const Head<kElementBytes>& head, const Keys& keys, int start,
                                       int page) const {
    const int key = start + row_;
    const uint32_t smem = smem_tile + swizzled<kRowChunks>(row_, chunk_);
    if (!kWhole && !one_page(params)) {
      copy_small_pages(params, smem, head, keys, key);
      return;
    }
    // Rows beyond the last key are not read, wherever they would be.
    const char* gmem = head.row(page, keys.slot_of(params, key)) + chunk_ * kChunkBytes;
    const uint64_t stride = static_cast<uint64_t>(head.stride_slot) * kChunkBytes;
    const int left = kWhole ? kKeys : keys.len - start;  // of this tile
    if constexpr (kTurns) {
      // From an even row to the odd one beside it, up or down.
      const uint64_t beside = row_ % 2 == 0 ? stride : 0 - stride;
#pragma unroll
      for (int i = 0; i < kRowsPerThread; ++i) {
        cp_async(row(smem, i), gmem + (i / 2 * 2) * stride + (i % 2) * beside,
                 kWhole || (row_ ^ i) < left);
      }
    } else {
#pragma unroll
      for (int i = 0; i < kRowsPerThread; ++i) {
        cp_async(row(smem, i), gmem, kWhole || row_ + i < left);
        gmem += stride;
      }
    }
  }

  // Calls body(address) for each chunk of the tile that this thread copies.
  template <typename Body>
  __device__ __forceinline__ void for_each_chunk(uint32_t smem_tile, Body body) const {
    const uint32_t smem = smem_tile + swizzled<kRowChunks>(row_, chunk_);
#pragma unroll
    for (int i = 0; i < kRowsPerThread; ++i) body(row(smem, i));
  }

 private:
  // Rows of 64 bytes: the eight threads whose accesses are one have chunks of two rows, which
  // should be an even and an odd one. Every other group of threads begins with its odd row.
  static constexpr bool kTurns = kRowChunks == 4;

  int row_;         // the first of this thread
  uint32_t chunk_;  // of the row

  static __device__ __forceinline__ uint32_t turn(uint32_t thread_idx) {
    return kTurns ? thread_idx / kRowChunks % 2 : 0;
  }

  // The rows of a thread begin at a multiple of their number, a power of two: going down i rows
  // flips bits of the chunk, and of the row where their order is turned.
  __device__ __forceinline__ static uint32_t row(uint32_t smem, int i) {
    if constexpr (kTurns) return smem ^ (i * kRowChunks + i / 2) * kChunkBytes;
    return (smem ^ i * kChunkBytes) + i * kRowChunks * kChunkBytes;
  }

  // Pages of fewer tokens than a thread copies: an index for each.
  __device__ __forceinline__ void copy_small_pages(const AttentionParams& params, uint32_t smem,
                                                   const Head<kElementBytes>& head,
                                                   const Keys& keys, int first) const {
#pragma unroll 1
    for (int i = 0; i < kRowsPerThread; ++i) {
      const int key = kTurns ? first - row_ + (row_ ^ i) : first + i;
      const int page = bounded_page(params, keys.page_of(params, key));
      const char* gmem = head.row(page, keys.slot_of(params, key)) + chunk_ * kChunkBytes;
      cp_async(row(smem, i), gmem, key < keys.len);
    }
  }
};

// acc_s = Q * K^T of 16 * kTilesM rows with kKeys keys. `smem_q` is the tile of the warp's rows,
// `smem_k` that of the keys, both swizzled.
template <typename Pair, int kHeadDim, int kTilesM, int kTilesN>
__device__ __forceinline__ void multiply_qk(Accumulators<kTilesM, kTilesN>& acc_s, uint32_t smem_q,
                                            uint32_t smem_k, int lane_idx) {
  static_assert(kTilesN % 2 == 0, "ldmatrix brings the operands of two mma");
  constexpr int kRowChunks = kHeadDim / kChunkElements;
  constexpr int kTileBytes = 16 * kRowChunks * kChunkBytes;  // of 16 rows
  // The chunk of step k is the first step's with bits flipped, so is the address.
  const uint32_t lane_q = smem_q + swizzled<kRowChunks>(lane_idx % 16, lane_idx / 16);
  const uint32_t lane_k =
      smem_k + swizzled<kRowChunks>(lane_idx / 16 * 8 + lane_idx % 8, lane_idx / 8 % 2);
#pragma unroll
  for (int k = 0; k < kHeadDim / 16; ++k) {
    uint32_t q[kTilesM][4];
#pragma unroll
    for (int m = 0; m < kTilesM; ++m) {
      ldmatrix_x4(q[m], (lane_q ^ k * 2 * kChunkBytes) + m * kTileBytes);
    }
#pragma unroll
    for (int n = 0; n < kTilesN; n += 2) {
      uint32_t keys[4];
      ldmatrix_x4(keys, (lane_k ^ k * 2 * kChunkBytes) + n / 2 * kTileBytes);
#pragma unroll
      for (int m = 0; m < kTilesM; ++m) {
        if (k == 0) {
          mma_m16n8k16_first<Pair>(acc_s[m][n], q[m], keys[0], keys[1]);
          mma_m16n8k16_first<Pair>(acc_s[m][n + 1], q[m], keys[2], keys[3]);
        } else {
          mma_m16n8k16<Pair>(acc_s[m][n], q[m], keys[0], keys[1]);
          mma_m16n8k16<Pair>(acc_s[m][n + 1], q[m], keys[2], keys[3]);
        }
      }
    }
  }
}

// Probabilities rounded to the type of the values, as the operand A of an mma: its layout is that
// of the accumulators, two tiles of 8 keys side by side.
template <int kTilesM, int kTilesN>
using Probabilities = uint32_t[kTilesM][kTilesN / 2][4];

template <typename Pair, int kTilesM, int kTilesN>
__device__ __forceinline__ void round_probabilities(Probabilities<kTilesM, kTilesN>& p,
                                                    const Accumulators<kTilesM, kTilesN>& acc_p) {
#pragma unroll
  for (int m = 0; m < kTilesM; ++m) {
#pragma unroll
    for (int n = 0; n < kTilesN; ++n) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float(&acc)[4] = acc_p[m][n];
        const Pair pair = from_f32<Pair>({acc[2 * half], acc[2 * half + 1]});
        __builtin_memcpy(&p[m][n / 2][n % 2 * 2 + half], &pair, sizeof(pair));
      }
    }
  }
}

// acc_o += P * V.
template <typename Pair, int kHeadDim, int kTilesM, int kTilesN>
__device__ __forceinline__ void multiply_pv(Accumulators<kTilesM, kHeadDim / 8>& acc_o,
                                            const uint32_t (&p)[kTilesM][kTilesN][4],
                                            uint32_t smem_v, int lane_idx) {
  constexpr int kRowChunks = kHeadDim / kChunkElements;
  constexpr int kTileBytes = 16 * kRowChunks * kChunkBytes;
  const uint32_t lane_v = smem_v + swizzled<kRowChunks>(lane_idx % 16, lane_idx / 16);
#pragma unroll
  for (int k = 0; k < kTilesN; ++k) {  // 16 keys
#pragma unroll
    for (int n = 0; n < kHeadDim / 8; n += 2) {
      uint32_t values[4];
      ldmatrix_x4_trans(values, (lane_v ^ n * kChunkBytes) + k * kTileBytes);
#pragma unroll
      for (int m = 0; m < kTilesM; ++m) {
        mma_m16n8k16<Pair>(acc_o[m][n], p[m][k], values[0], values[1]);
        mma_m16n8k16<Pair>(acc_o[m][n + 1], p[m][k], values[2], values[3]);
      }
    }
  }
}
