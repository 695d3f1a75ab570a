/* The parameter struct of every kernel: its only definition, read by nvcc and by bindgen
 * (src/params.rs is what `cargo xtask bindgen` makes of this file). Plain C; pointers are 64-bit
 * device addresses, strides are in elements, padding is a field, so that a struct has no byte
 * without a name and Rust may treat it as bytes.
 *
 * Common to all: activations are bf16 or f16 (the kernel's name says which), rows start at 16-byte
 * boundaries, the last stride is 1. `num_tokens` may be 0.
 */
#ifndef LLAMA_KERNELS_PARAMS_H_
#define LLAMA_KERNELS_PARAMS_H_

#include <stdint.h>

/** Constants that a kernel and the plan of its launch share. */
enum Tile {
  /** Elements of a 16-bit type in one 16-byte access. */
  VECTOR_ELEMENTS = 8,
  /** 16-byte vectors that a thread of a row kernel (embed and the norms) holds in registers. */
  ROW_VECTORS_PER_THREAD = 4,
  /** 16-byte vectors that a thread of quantize_fp8 has room for, where a row is wider than 1024
     threads hold in ROW_VECTORS_PER_THREAD. */
  QUANTIZE_FP8_VECTORS_PER_THREAD = 8,
  /** Columns that share a scale, where a token has more than one. */
  FP8_GROUP_COLUMNS = 128,
  /** Rows of a block of a row kernel where one warp is enough for a row. */
  ROWS_PER_BLOCK = 4,
  /** Threads of a block of silu_and_mul. */
  SILU_AND_MUL_THREADS = 128,
  /** 16-byte vectors of the output that a thread of silu_and_mul makes. */
  SILU_AND_MUL_VECTORS_PER_THREAD = 2,
  /** Threads that a block of rope_append_kv has at least, where there are tokens enough. */
  ROPE_APPEND_KV_THREADS = 128,
  /** Threads that a block of rope_append_kv has at most. */
  ROPE_APPEND_KV_MAX_THREADS = 256,
  /** Heads that a thread of rope_append_kv rotates by the angles that it holds. */
  ROPE_APPEND_KV_HEADS_PER_THREAD = 4,
  /** Threads of a block of sample, which takes one row of logits. */
  SAMPLE_THREADS = 1024,
  /** Rows of gate, and of up, that stand together in a weight with MATMUL_EPILOGUE_SWIGLU. */
  MATMUL_SWIGLU_BLOCK = 8,
  /** Stages and threads of the matmul whose block makes 128 x 256 outputs, 64 of K at a time. */
  MATMUL_128X256X64_STAGES = 3,
  MATMUL_128X256X64_THREADS = 256,
  /** The same with 32 of K at a time: fits 99 KB of shared memory. */
  MATMUL_128X256X32_STAGES = 4,
  MATMUL_128X256X32_THREADS = 256,
  /** The matmul whose block makes 128 x 128 outputs. */
  MATMUL_128X128X64_STAGES = 3,
  MATMUL_128X128X64_THREADS = 128,
  /** The matmul whose block makes 64 x 128 outputs. */
  MATMUL_64X128X64_STAGES = 4,
  MATMUL_64X128X64_THREADS = 128,
  /** The matmul whose block makes 64 x 64 outputs: two warps share the columns of a stage. */
  MATMUL_64X64X128_STAGES = 3,
  MATMUL_64X64X128_THREADS = 128,
  /** Stages and threads of the tiles of matmul_int4, 64 columns at a time: 128 x 256 outputs. */
  MATMUL_INT4_128X256X64_STAGES = 3,
  MATMUL_INT4_128X256X64_THREADS = 256,
  /** 64 x 128 outputs. */
  MATMUL_INT4_64X128X64_STAGES = 4,
  MATMUL_INT4_64X128X64_THREADS = 128,
  /** 32 x 256 outputs, for few tokens. */
  MATMUL_INT4_32X256X64_STAGES = 4,
  MATMUL_INT4_32X256X64_THREADS = 128,
  /** The matmul_fp8 whose block makes 128 x 128 outputs, 128 of K at a time. */
  MATMUL_FP8_128X128X128_STAGES = 3,
  MATMUL_FP8_128X128X128_THREADS = 256,
  /** The same with 64 x 256 outputs, 64 of K at a time: with SwiGLU, 128 columns of the output,
     which share a scale. */
  MATMUL_FP8_64X256X64_STAGES = 4,
  MATMUL_FP8_64X256X64_THREADS = 256,
  /** The matmul_fp8 whose block makes 64 x 128 outputs. */
  MATMUL_FP8_64X128X128_STAGES = 4,
  MATMUL_FP8_64X128X128_THREADS = 128,
  /** Rows of x whose tiles are in work together, so that they share weights in L2. */
  MATMUL_RASTER_ROWS = 2048,
  /** Warps that a block of a streaming product has at most. */
  MATMUL_STREAM_WARPS = 8,
  /** Units that the ring of each of them holds: one less is on its way. */
  MATMUL_STREAM_DEPTH = 4,
  /** Most tokens of the narrow kernel and of the wide one. */
  MATMUL_STREAM_M8_TOKENS = 8,
  MATMUL_STREAM_M16_TOKENS = 16,
  /** Rows of the weight of a tile of matmul_stream, and columns of a unit: lines of memory. */
  MATMUL_STREAM_ROWS = 32,
  MATMUL_STREAM_COLUMNS = 64,
  /** The same of matmul_fp8_stream. */
  MATMUL_FP8_STREAM_ROWS = 32,
  MATMUL_FP8_STREAM_COLUMNS = 128,
  /** The same of matmul_int4_stream, whose weights are fewer bytes: more rows for each token. */
  MATMUL_INT4_STREAM_M8_ROWS = 64,
  MATMUL_INT4_STREAM_M8_COLUMNS = 128,
  MATMUL_INT4_STREAM_M16_ROWS = 128,
  MATMUL_INT4_STREAM_M16_COLUMNS = 64,
  /** Threads of a block of attention_decode: 4 warps. */
  ATTENTION_DECODE_THREADS = 128,
  /** Rows of a tile of attention_decode, queries times the query heads of a key/value head, where
     the warps of the block share the keys. */
  ATTENTION_DECODE_FEW_ROWS = 16,
  /** Rows of a tile of attention_decode where each warp has rows of its own. */
  ATTENTION_DECODE_MANY_ROWS = 64,
  /** Keys of a tile of attention_decode; a split begins at a multiple of it. */
  ATTENTION_DECODE_KEYS = 64,
  /** Bytes of shared memory through which keys and values pass: two blocks of a multiprocessor have
     room on compute capability 9.0, one block everywhere. */
  ATTENTION_DECODE_RING_BYTES = 98304,
  /** Least keys of a split, but for the last of a sequence. */
  ATTENTION_DECODE_MIN_SPLIT_KEYS = 128,
  /** Keys of a split in batch-invariant mode. */
  ATTENTION_DECODE_INVARIANT_SPLIT_KEYS = 512,
  /** Most queries of a sequence in attention_decode. */
  ATTENTION_DECODE_MAX_QUERIES = 8,
  /** Splits of attention_combine that have threads of their own; the splits of one are those with
     the same remainder, so that the order of additions is the same for any number of splits. */
  ATTENTION_COMBINE_SPLIT_GROUPS = 8,
  /** Splits that a thread of attention_combine reads at a time. */
  ATTENTION_COMBINE_SPLITS_IN_FLIGHT = 4,
  /** Threads that a block of attention_combine has, where a row does not need more. */
  ATTENTION_COMBINE_THREADS = 128,
  /** Threads of a block of attention_prefill: 4 warps of 32 rows. */
  ATTENTION_PREFILL_THREADS = 128,
  /** Rows of a tile of attention_prefill: queries times the query heads of a key/value head. */
  ATTENTION_PREFILL_ROWS = 128,
  /** Keys of a tile of attention_prefill with head_dim 128. */
  ATTENTION_PREFILL_KEYS = 64,
  /** Keys of a tile of attention_prefill with head_dim 64: as many bytes. */
  ATTENTION_PREFILL_KEYS_HD64 = 128,
  /** Tiles of keys or values that shared memory holds. */
  ATTENTION_PREFILL_STAGES = 3,
  /** Most sequences of a launch of attention_prefill: a block looks for its tile in a table of them
     in shared memory. */
  ATTENTION_PREFILL_MAX_SEQS = 2048,
  /** Threads of a block of ceiling_read and ceiling_copy. */
  CEILING_THREADS = 256,
  /** 16-byte vectors that a thread of them has in flight: a tile is 16 KB. */
  CEILING_VECTORS_PER_THREAD = 4,
  /** Threads of a block of ceiling_mma: 8 warps, each with a product of its own. */
  CEILING_MMA_THREADS = 256,
  /** Rows of A, rows of B and columns of both of a product of ceiling_mma, held in registers. */
  CEILING_MMA_M = 64,
  CEILING_MMA_N = 32,
  CEILING_MMA_K = 16,
  /** Times that ceiling_mma adds its product in one round of its loop. */
  CEILING_MMA_UNROLL = 4,
  /** Threads of a block of ceiling_wgmma: 2 warpgroups, each with half of the rows of A. */
  CEILING_WGMMA_THREADS = 256,
  /** Rows of A, rows of B and columns of both of the product of a block of ceiling_wgmma, held in
     shared memory. */
  CEILING_WGMMA_M = 128,
  CEILING_WGMMA_N = 256,
  CEILING_WGMMA_K = 64,
};

/** Bits that kernels set in a model's device error word; 0 means that nothing happened. */
enum DeviceError {
  /** A token id lay outside the embedding table; its row was filled with zeros. */
  DEVICE_ERROR_TOKEN_ID = 1,
  /** A row index lay outside the tensor; its row was filled with zeros. */
  DEVICE_ERROR_ROW_INDEX = 2,
  /** A position lay outside the table of cosines and sines; the table's last row was taken. */
  DEVICE_ERROR_POSITION = 4,
  /** A slot lay outside the cache; the token's keys and values were not stored. */
  DEVICE_ERROR_SLOT = 8,
  /** A page index lay outside the cache; the nearest page was read in its place. */
  DEVICE_ERROR_PAGE = 16,
  /** A length or an offset of a ragged batch contradicts the others or the host's bounds; it was
     bounded. */
  DEVICE_ERROR_LENGTH = 32,
  /** A row of the bitmap of seen tokens lay outside it; the row of logits was treated as having
     none. */
  DEVICE_ERROR_SEEN_ROW = 64,
  /** A column index lay outside the row; zero was written in its place. */
  DEVICE_ERROR_COLUMN = 128,
};

/** Parameters of `embed`: `out[t,:] = table[ids[t],:]`. */
typedef struct EmbedParams {
  /** i32 `[num_tokens]`: rows of the table. */
  uint64_t ids;
  /** 16-bit `[vocab_size, hidden]`. */
  uint64_t table;
  /** 16-bit `[num_tokens, hidden]`. */
  uint64_t out;
  /** u32 `[1]`: receives `error_bit` by an atomic or where an id lies outside the table; 0 for
   * none. */
  uint64_t error;
  /** Elements from one row of the table to the next. */
  int64_t table_stride_row;
  /** Elements from one row of `out` to the next. */
  int64_t out_stride_token;
  /** Rows of `out`. */
  int32_t num_tokens;
  /** Elements of a row: a multiple of VECTOR_ELEMENTS. */
  int32_t hidden;
  /** Rows of the table: an id outside 0..vocab_size gives a row of zeros. */
  int32_t vocab_size;
  /** DEVICE_ERROR_TOKEN_ID, or DEVICE_ERROR_ROW_INDEX where the kernel gathers rows. */
  uint32_t error_bit;
} EmbedParams;

/** Parameters of `rms_norm`: `out = round(x * rsqrt(mean(x^2) + eps)) * weight` over each row. */
typedef struct RmsNormParams {
  /** `[num_tokens, hidden]` in the activation type. */
  uint64_t x;
  /** `[hidden]` in the activation type. */
  uint64_t weight;
  /** `[num_tokens, hidden]` in the activation type; may be `x` itself. */
  uint64_t out;
  /** i32 `[hidden]`: column j of `out` is column `columns[j]` of the norm; 0 for j. */
  uint64_t columns;
  /** u32 `[1]`: receives DEVICE_ERROR_COLUMN by an atomic or where an index lies outside the row; 0
   * for none. */
  uint64_t error;
  /** Elements from one row of `x` to the next. */
  int64_t x_stride_token;
  /** Elements from one row of `out` to the next. */
  int64_t out_stride_token;
  /** Rows. */
  int32_t num_tokens;
  /** Elements of a row: a multiple of VECTOR_ELEMENTS. */
  int32_t hidden;
  /** Added to the mean of squares. */
  float eps;
  /** Zero. */
  uint32_t padding;
} RmsNormParams;

/** Parameters of `add_rms_norm`: `residual = round(residual + x); out = rms_norm(residual)`. */
typedef struct AddRmsNormParams {
  /** `[num_tokens, hidden]` in the activation type. */
  uint64_t x;
  /** `[num_tokens, hidden]` in the activation type, read and written. */
  uint64_t residual;
  /** `[hidden]` in the activation type. */
  uint64_t weight;
  /** `[num_tokens, hidden]` in the activation type; may be `x` itself. */
  uint64_t out;
  /** i32 `[hidden]`: column j of `out` is column `columns[j]` of the norm; 0 for j. */
  uint64_t columns;
  /** u32 `[1]`: receives DEVICE_ERROR_COLUMN by an atomic or where an index lies outside the row; 0
   * for none. */
  uint64_t error;
  /** Elements from one row of `x` to the next. */
  int64_t x_stride_token;
  /** Elements from one row of `residual` to the next. */
  int64_t residual_stride_token;
  /** Elements from one row of `out` to the next. */
  int64_t out_stride_token;
  /** Rows. */
  int32_t num_tokens;
  /** Elements of a row: a multiple of VECTOR_ELEMENTS. */
  int32_t hidden;
  /** Added to the mean of squares. */
  float eps;
  /** Zero. */
  uint32_t padding;
} AddRmsNormParams;

/** Parameters of `rms_norm_fp8`: `rms_norm`, whose result `quantize_fp8` makes codes and scales of.
 */
typedef struct RmsNormFp8Params {
  /** `[num_tokens, hidden]` in the activation type. */
  uint64_t x;
  /** `[hidden]` in the activation type. */
  uint64_t weight;
  /** e4m3 `[num_tokens, hidden]`, rows at 8-byte boundaries. */
  uint64_t codes;
  /** f32 `[num_tokens, groups]`. */
  uint64_t scale;
  /** Elements from one row of `x` to the next. */
  int64_t x_stride_token;
  /** Elements from one row of `codes` to the next. */
  int64_t codes_stride_token;
  /** Elements from one row of `scale` to the next. */
  int64_t scale_stride_token;
  /** Rows. */
  int32_t num_tokens;
  /** Elements of a row: a multiple of VECTOR_ELEMENTS. */
  int32_t hidden;
  /** Scales of a row: 1, or hidden / FP8_GROUP_COLUMNS, which is then exact. */
  int32_t groups;
  /** Added to the mean of squares. */
  float eps;
} RmsNormFp8Params;

/** Parameters of `add_rms_norm_fp8`: `add_rms_norm`, whose result `quantize_fp8` makes codes and
 * scales of. */
typedef struct AddRmsNormFp8Params {
  /** `[num_tokens, hidden]` in the activation type. */
  uint64_t x;
  /** `[num_tokens, hidden]` in the activation type, read and written. */
  uint64_t residual;
  /** `[hidden]` in the activation type. */
  uint64_t weight;
  /** e4m3 `[num_tokens, hidden]`, rows at 8-byte boundaries. */
  uint64_t codes;
  /** f32 `[num_tokens, groups]`. */
  uint64_t scale;
  /** Elements from one row of `x` to the next. */
  int64_t x_stride_token;
  /** Elements from one row of `residual` to the next. */
  int64_t residual_stride_token;
  /** Elements from one row of `codes` to the next. */
  int64_t codes_stride_token;
  /** Elements from one row of `scale` to the next. */
  int64_t scale_stride_token;
  /** Rows. */
  int32_t num_tokens;
  /** Elements of a row: a multiple of VECTOR_ELEMENTS. */
  int32_t hidden;
  /** Scales of a row: 1, or hidden / FP8_GROUP_COLUMNS, which is then exact. */
  int32_t groups;
  /** Added to the mean of squares. */
  float eps;
} AddRmsNormFp8Params;

/** Parameters of `permute_columns`: `out[t,j] = x[t,columns[j]]`. */
typedef struct PermuteColumnsParams {
  /** 16-bit `[num_tokens, width]`. */
  uint64_t x;
  /** i32 `[width]`. */
  uint64_t columns;
  /** 16-bit `[num_tokens, width]`; may be `x` itself. */
  uint64_t out;
  /** u32 `[1]`: receives DEVICE_ERROR_COLUMN by an atomic or where an index lies outside the row; 0
   * for none. */
  uint64_t error;
  /** Elements from one row of `x` to the next. */
  int64_t x_stride_token;
  /** Elements from one row of `out` to the next. */
  int64_t out_stride_token;
  /** Rows. */
  int32_t num_tokens;
  /** Elements of a row: a multiple of VECTOR_ELEMENTS. */
  int32_t width;
} PermuteColumnsParams;

/** Parameters of `quantize_fp8`: `scale = absmax(x) / 448` over the columns that share it, 1 where
 * they are all zero; `codes = e4m3(x / scale)`. */
typedef struct QuantizeFp8Params {
  /** `[num_tokens, width]` in the activation type. */
  uint64_t x;
  /** e4m3 `[num_tokens, width]`, rows at 8-byte boundaries. */
  uint64_t codes;
  /** f32 `[num_tokens, groups]`. */
  uint64_t scale;
  /** Elements from one row of `x` to the next. */
  int64_t x_stride_token;
  /** Elements from one row of `codes` to the next. */
  int64_t codes_stride_token;
  /** Elements from one row of `scale` to the next. */
  int64_t scale_stride_token;
  /** Rows. */
  int32_t num_tokens;
  /** Elements of a row: a multiple of VECTOR_ELEMENTS. */
  int32_t width;
  /** Scales of a row: 1, or width / FP8_GROUP_COLUMNS, which is then exact. */
  int32_t groups;
  /** Zero. */
  uint32_t padding;
} QuantizeFp8Params;

/** Parameters of `silu_and_mul`: `out = silu(gate) * up`. */
typedef struct SiluAndMulParams {
  /** `[num_tokens, 2, intermediate]` in the activation type: the gate half of a row, then its up
   * half. */
  uint64_t gate_up;
  /** `[num_tokens, intermediate]` in the activation type. */
  uint64_t out;
  /** Elements from one row of `gate_up` to the next. */
  int64_t gate_up_stride_token;
  /** Elements from one row of `out` to the next. */
  int64_t out_stride_token;
  /** Rows. */
  int32_t num_tokens;
  /** Elements of a half row: a multiple of VECTOR_ELEMENTS. */
  int32_t intermediate;
} SiluAndMulParams;

/** What `sample` does with one row of logits: repetition penalty, temperature, top-k, top-p, min-p,
 * in that order. */
typedef struct SampleRow {
  /** Logits are divided by it; 0 takes the largest logit (the lowest index of equal ones). */
  float temperature;
  /** The smallest set of tokens whose probabilities reach this sum is kept; 1 keeps all. */
  float top_p;
  /** Tokens less likely than this share of the likeliest token are dropped; 0 keeps all. */
  float min_p;
  /** Logits of seen tokens are divided by it where positive and multiplied where negative; 1
   * changes nothing. */
  float repetition_penalty;
  /** The number of largest logits that are kept; 0 keeps all. */
  int32_t top_k;
  /** Row of the bitmap of seen tokens; -1 for none. */
  int32_t seen_row;
  /** Key of the random numbers (Philox4x32-10). */
  uint64_t seed;
  /** Upper half of their counter: tells sequences with one seed apart. */
  uint64_t sequence;
  /** Lower half of their counter: position of the sampled token in its sequence. */
  uint64_t position;
} SampleRow;

/** Parameters of `rope_append_kv`: rotates queries and keys, and stores keys and values in the
 * paged cache. */
typedef struct RopeAppendKvParams {
  /** `[num_tokens, (num_q_heads + 2 * num_kv_heads) * head_dim]`: q, k, v. */
  uint64_t qkv;
  /** i32 `[num_tokens]`: rows of `cos_sin`. */
  uint64_t positions;
  /** i64 `[num_tokens]`: `page * page_size + offset`; negative for a token that is not stored. */
  uint64_t slot_mapping;
  /** f32 `[num_positions, head_dim]`: head_dim / 2 cosines, then as many sines. */
  uint64_t cos_sin;
  /** `[num_tokens, num_q_heads, head_dim]`. */
  uint64_t q_out;
  /** Keys `[num_pages, page_size, num_kv_heads, head_dim]`, by the strides below. */
  uint64_t k_cache;
  /** Values, likewise. */
  uint64_t v_cache;
  /** u32 `[1]`: receives DEVICE_ERROR bits by an atomic or; 0 for none. */
  uint64_t error;
  /** Elements from one token of `qkv` to the next. */
  int64_t qkv_stride_token;
  /** Elements from one row of `cos_sin` to the next. */
  int64_t cos_sin_stride_row;
  /** Elements from one token of `q_out` to the next. */
  int64_t q_out_stride_token;
  /** Elements from one head of `q_out` to the next. */
  int64_t q_out_stride_head;
  /** Elements from one page of keys to the next. */
  int64_t k_stride_page;
  /** Elements from one token of a page to the next. */
  int64_t k_stride_slot;
  /** Elements from one head of a token to the next. */
  int64_t k_stride_head;
  /** Elements from one page of values to the next. */
  int64_t v_stride_page;
  /** Elements from one token of a page to the next. */
  int64_t v_stride_slot;
  /** Elements from one head of a token to the next. */
  int64_t v_stride_head;
  /** Rows. */
  int32_t num_tokens;
  /** Query heads. */
  int32_t num_q_heads;
  /** Key and value heads. */
  int32_t num_kv_heads;
  /** Elements of a head: a multiple of 2 * VECTOR_ELEMENTS. */
  int32_t head_dim;
  /** Rows of `cos_sin`. */
  int32_t num_positions;
  /** Tokens a page: a power of two. */
  int32_t page_size;
  /** Pages of the cache. */
  int32_t num_pages;
  /** 1 where the cache is e4m3; else it has the type of `qkv`. */
  uint32_t cache_fp8;
  /** e4m3: what a stored key times is the key. */
  float k_scale;
  /** Likewise for values. */
  float v_scale;
} RopeAppendKvParams;

/** Parameters of `attention_prefill` and `attention_decode`: causal attention of a ragged batch. */
typedef struct AttentionParams {
  /** `[num_tokens, num_q_heads, head_dim]`. */
  uint64_t q;
  /** Keys `[num_pages, page_size, num_kv_heads, head_dim]` by the strides below; without a page
   * table
   * `[rows, num_kv_heads, head_dim]`, a row being a slot. */
  uint64_t k;
  /** Values, likewise. Both in the type of `q`, or e4m3. */
  uint64_t v;
  /** `[num_tokens, num_q_heads, head_dim]`: the result. With splits, f32
   * `[max_splits, num_seqs * max_q_len, num_q_heads, head_dim]`, contiguous: the result over each
   * split's keys; query `j` of sequence `first_seq + i` has row `i * max_q_len + j`. */
  uint64_t out;
  /** f32 `[num_tokens, num_q_heads]`: natural logarithm of the sum of exponentials; 0 for none.
   * With splits, f32 `[max_splits, num_seqs * max_q_len, num_q_heads]`, contiguous; -inf where
   * there is no query or it sees no key of a split, and its part of `out` is then left as it was.
   * In front of it, i32 `[num_seqs, 2]`: where each sequence's queries begin, and how many they
   * are, bounded. */
  uint64_t lse;
  /** i32 `[batch + 1]`: where each sequence's queries begin. */
  uint64_t q_indptr;
  /** i32 `[batch]`: keys of each sequence. */
  uint64_t kv_len;
  /** i32 `[batch, max_pages]`: pages of each sequence; 0 where keys are contiguous. */
  uint64_t page_table;
  /** i32 `[batch + 1]`: where each sequence's keys begin, where they are contiguous; else 0. */
  uint64_t kv_indptr;
  /** u32 `[1]`: receives DEVICE_ERROR bits by an atomic or; 0 for none. */
  uint64_t error;
  /** Elements from one token of `q` to the next. */
  int64_t q_stride_token;
  /** Elements from one head of `q` to the next. */
  int64_t q_stride_head;
  /** Elements from one token of `out` to the next. */
  int64_t out_stride_token;
  /** Elements from one head of `out` to the next. */
  int64_t out_stride_head;
  /** Elements from one token of `lse` to the next. */
  int64_t lse_stride_token;
  /** Elements from one page of keys to the next. */
  int64_t k_stride_page;
  /** Elements from one token of a page to the next. */
  int64_t k_stride_slot;
  /** Elements from one head of a token to the next. */
  int64_t k_stride_head;
  /** Elements from one page of values to the next. */
  int64_t v_stride_page;
  /** Elements from one token of a page to the next. */
  int64_t v_stride_slot;
  /** Elements from one head of a token to the next. */
  int64_t v_stride_head;
  /** Elements from one sequence's pages to the next's. */
  int64_t page_table_stride_seq;
  /** Rows of `q`. */
  int32_t num_tokens;
  /** Key and value heads. */
  int32_t num_kv_heads;
  /** Query heads of a key/value head. */
  int32_t group;
  /** The first sequence. */
  int32_t first_seq;
  /** How many sequences. */
  int32_t num_seqs;
  /** Most queries of a sequence. */
  int32_t max_q_len;
  /** Most keys of a sequence. */
  int32_t max_kv_len;
  /** Tokens a page: a power of two. */
  int32_t page_size;
  /** Pages of the cache; rows of `k` where keys are contiguous. */
  int32_t num_pages;
  /** Pages that the table has for a sequence. */
  int32_t max_pages;
  /** Most splits of a sequence's keys; 1 writes the result itself. */
  int32_t max_splits;
  /** Keys of a split where their number is fixed (batch-invariant mode); 0 has the kernel choose.
   */
  int32_t split_keys;
  /** softmax_scale * log2(e), times the scale of the keys. */
  float softmax_scale_log2;
  /** What a stored value times is the value: 1 where the cache has the type of q. */
  float v_scale;
} AttentionParams;

/** Parameters of `attention_combine`: `out = sum_s exp(lse_s - lse) * partial_s` with
 * `lse = log(sum_s exp(lse_s))`. The rows of the partial results are those of `out`, or, with
 * `queries`, query `j` of sequence `i` is row `i * max_q_len + j` of theirs and row
 * `queries[i][0] + j` of `out`: rows of other sequences are left as they are. */
typedef struct AttentionCombineParams {
  /** f32 `[num_splits, rows, num_heads, head_dim]`; not read where `partial_lse` is -inf. */
  uint64_t partial_out;
  /** f32 `[num_splits, rows, num_heads]`: natural logarithms. */
  uint64_t partial_lse;
  /** `[num_tokens, num_heads, head_dim]` in the activation type. */
  uint64_t out;
  /** f32 `[num_tokens, num_heads]`; 0 for none. */
  uint64_t lse;
  /** i32 `[num_seqs, 2]`: where each sequence's queries begin in `out`, and how many they are, as
   * attention_decode has bounded them; 0 where the rows are those of `out`. */
  uint64_t queries;
  /** Elements from one split of `partial_out` to the next. */
  int64_t partial_stride_split;
  /** Elements from one token of `partial_out` to the next. */
  int64_t partial_stride_token;
  /** Elements from one head of `partial_out` to the next. */
  int64_t partial_stride_head;
  /** Elements from one split of `partial_lse` to the next. */
  int64_t partial_lse_stride_split;
  /** Elements from one token of `partial_lse` to the next. */
  int64_t partial_lse_stride_token;
  /** Elements from one token of `out` to the next. */
  int64_t out_stride_token;
  /** Elements from one head of `out` to the next. */
  int64_t out_stride_head;
  /** Elements from one token of `lse` to the next. */
  int64_t lse_stride_token;
  /** Parts of each output. */
  int32_t num_splits;
  /** Rows of `out`. */
  int32_t num_tokens;
  /** Query heads. */
  int32_t num_heads;
  /** Elements of a head: a multiple of VECTOR_ELEMENTS. */
  int32_t head_dim;
  /** With `queries`: how many sequences. */
  int32_t num_seqs;
  /** With `queries`: most queries of a sequence. */
  int32_t max_q_len;
} AttentionCombineParams;

/** What follows the sum of a matmul. */
enum MatmulEpilogue {
  /** The bias, if there is one. */
  MATMUL_EPILOGUE_NONE = 0,
  /** The bias, then `silu(gate) * up`; rows of the weight are interleaved in blocks of
   * MATMUL_SWIGLU_BLOCK: so many of gate, as many of up, and so on. */
  MATMUL_EPILOGUE_SWIGLU = 1,
};

/** Parameters of `matmul`: `out[m,n] = epilogue(sum_k x[m,k] * weight[n,k] + bias[n])`. */
typedef struct MatmulParams {
  /** `[m, k]` in the activation type. */
  uint64_t x;
  /** `[n, k]` in the activation type. */
  uint64_t weight;
  /** `[n]` in the activation type; 0 for none. */
  uint64_t bias;
  /** `[m, n]`, with MATMUL_EPILOGUE_SWIGLU `[m, n / 2]`: in the activation type, or f32 as
   * `out_f32` says. */
  uint64_t out;
  /** Where blocks that share a tile leave their partial sums: counters, zero before the launch and
   * after it, then f32 (common/split_work.cuh). 0 where no tile is shared. */
  uint64_t workspace;
  /** Elements from one row of `x` to the next. */
  int64_t x_stride_row;
  /** Elements from one row of `weight` to the next. */
  int64_t weight_stride_row;
  /** Elements from one row of `out` to the next. */
  int64_t out_stride_row;
  /** Rows of `x`: tokens. */
  int32_t m;
  /** Rows of `weight`. */
  int32_t n;
  /** Elements of the inner dimension: a multiple of VECTOR_ELEMENTS. */
  int32_t k;
  /** One of MatmulEpilogue. */
  uint32_t epilogue;
  /** 1 where `out` is f32. */
  uint32_t out_f32;
  /** Zero. */
  uint32_t padding;
} MatmulParams;

/** How the values of 4-bit codes are computed: the same bits in each way that a weight allows. */
enum Int4Arithmetic {
  /** In the 16-bit type of x: the scales are in that type, zeros are integers from 0 to 16. */
  MATMUL_INT4_EXACT_16 = 0,
  /** In f32, with one fma: x is bf16, the scales are f16, zeros are integers from 0 to 16. */
  MATMUL_INT4_EXACT_32 = 1,
  /** In f32, step by step: any scales and zeros. */
  MATMUL_INT4_ROUNDED = 2,
};

/** Parameters of `matmul_int4`: `matmul` with weights `(code - zero) * scale`, rounded to the
 * activation type. */
typedef struct MatmulInt4Params {
  /** As for `matmul`, but for `weight`: codes u8 `[ceil(n / 16)][ceil(k / 64)][32 lanes][16]`, in
   * the order of fragments that quant::int4::Packed describes; `weight_stride_row` is 0. `n` is a
   * multiple of 8, `k` of 16. */
  MatmulParams matmul;
  /** `[ceil(n / 16)][groups][1 or 2][8][2]`: the scales of the rows g and g + 8 side by side,
   * behind the 16 of a group its zeros where there are zeros. */
  uint64_t scales;
  /** Groups of a row. */
  int32_t groups;
  /** Column `c` is of group `c >> group_shift`: 5, 6 or 7, or 31 where a row is one group. */
  int32_t group_shift;
  /** 1 where there are zeros; else they are 8. */
  uint32_t zeros;
  /** 1 where scales and zeros are f16, 0 where they are bf16. */
  uint32_t scales_f16;
  /** One of Int4Arithmetic. */
  uint32_t arithmetic;
  /** Zero. */
  uint32_t padding;
} MatmulInt4Params;

/** Parameters of `matmul_fp8`: `matmul` of e4m3 codes and their scales. */
typedef struct MatmulFp8Params {
  /** As for `matmul`, but for `x` and `weight`, which are e4m3, and their strides, which are in
   * bytes. `n` is a multiple of 8, `k` of 16. With `out_scale`, `out` is e4m3 too. */
  MatmulParams matmul;
  /** f32: of the token `m` and the columns `c` at
   * `m * x_scale_stride_row + c / FP8_GROUP_COLUMNS * x_scale_stride_group`. */
  uint64_t x_scale;
  /** f32: of the row `n`, or its block, and the columns `c`, likewise. */
  uint64_t weight_scale;
  /** Elements from one token's scales to the next; 0 where all have one. */
  int64_t x_scale_stride_row;
  /** Elements from the scale of FP8_GROUP_COLUMNS columns to the next; 0 where they have one. */
  int64_t x_scale_stride_group;
  /** Elements from one row's scales to the next, or from one block of FP8_GROUP_COLUMNS rows to the
   * next where `block_scales` is 1 (with MATMUL_EPILOGUE_SWIGLU the blocks of gate, then those of
   * up); 0 where all have one. */
  int64_t weight_scale_stride_row;
  /** Elements from the scale of FP8_GROUP_COLUMNS columns to the next; 0 where they have one. */
  int64_t weight_scale_stride_group;
  /** 1 where scales are of FP8_GROUP_COLUMNS columns: those of x for each token, those of the
   * weight for as many rows. */
  uint32_t block_scales;
  /** 1 where sums may stay in the accumulators of the tensor cores for all of k. */
  uint32_t fast_accumulation;
  /** f32 `[m, n / 2 / FP8_GROUP_COLUMNS]`, with MATMUL_EPILOGUE_SWIGLU: the scales of the results,
   * which are rounded and quantised; 0 where they are not. */
  uint64_t out_scale;
  /** Elements from one row's `out_scale` to the next. */
  int64_t out_scale_stride_row;
} MatmulFp8Params;

/** Parameters of `sample`: chooses a token from each row of logits. */
typedef struct SampleParams {
  /** f32 `[num_rows, vocab_size]`. */
  uint64_t logits;
  /** SampleRow `[num_rows]`. */
  uint64_t rows;
  /** u32 `[num_seen, ceil(vocab_size / 32)]`: bitmaps of seen tokens, to which the sampled ones are
   * added. */
  uint64_t seen;
  /** i32 `[num_rows]`: the token; -1 where no logit is above -inf. */
  uint64_t out;
  /** u32 `[1]`: receives DEVICE_ERROR bits by an atomic or; 0 for none. */
  uint64_t error;
  /** Elements from one row of `logits` to the next. */
  int64_t logits_stride_row;
  /** Elements from one row of `seen` to the next. */
  int64_t seen_stride_row;
  /** Rows of `logits`. */
  int32_t num_rows;
  /** Elements of a row. */
  int32_t vocab_size;
  /** Rows of `seen`. */
  int32_t num_seen;
  /** Zero. */
  uint32_t padding;
} SampleParams;

/** Parameters of `ceiling_read` and `ceiling_copy`, and of `ceiling_empty`, which looks at none of
 * them. */
typedef struct CeilingMemoryParams {
  /** 16-byte vectors `[num_vectors]`. */
  uint64_t source;
  /** ceiling_read: u32 `[blocks]`, the exclusive or of all words that a block has read.
   * ceiling_copy: `[num_vectors]`. */
  uint64_t out;
  /** Vectors of `source`. */
  int64_t num_vectors;
} CeilingMemoryParams;

/** Parameters of `ceiling_mma` and `ceiling_wgmma`: `out[i,m,n] = rounds * sum_k a[m,k] * b[n,k]`
 * for each i. */
typedef struct CeilingTensorParams {
  /** `[M, K]` in the 16-bit type. */
  uint64_t a;
  /** `[N, K]` in the 16-bit type. */
  uint64_t b;
  /** f32 `[products, M, N]`: one of each warp of ceiling_mma, of each block of ceiling_wgmma. */
  uint64_t out;
  /** How often the product is added: for ceiling_mma a multiple of CEILING_MMA_UNROLL. */
  int32_t rounds;
  /** Zero. */
  uint32_t padding;
} CeilingTensorParams;

#endif /* LLAMA_KERNELS_PARAMS_H_ */
