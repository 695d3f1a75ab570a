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
  /** Rows of a block of a row kernel where one warp is enough for a row. */
  ROWS_PER_BLOCK = 4,
  /** Threads of a block of silu_and_mul. */
  SILU_AND_MUL_THREADS = 128,
  /** 16-byte vectors of the output that a thread of silu_and_mul makes. */
  SILU_AND_MUL_VECTORS_PER_THREAD = 2,
};

/** Bits that kernels set in a model's device error word; 0 means that nothing happened. */
enum DeviceError {
  /** A token id lay outside the embedding table; its row was filled with zeros. */
  DEVICE_ERROR_TOKEN_ID = 1,
};

/** Parameters of `embed`: `out[t,:] = table[ids[t],:]`. */
typedef struct EmbedParams {
  /** i32 `[num_tokens]`: rows of the table. */
  uint64_t ids;
  /** 16-bit `[vocab_size, hidden]`. */
  uint64_t table;
  /** 16-bit `[num_tokens, hidden]`. */
  uint64_t out;
  /** u32 `[1]`: receives DEVICE_ERROR_TOKEN_ID by an atomic or; 0 for none. */
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
  /** Zero. */
  uint32_t padding;
} EmbedParams;

/** Parameters of `rms_norm`: `out = round(x * rsqrt(mean(x^2) + eps)) * weight` over each row. */
typedef struct RmsNormParams {
  /** `[num_tokens, hidden]` in the activation type. */
  uint64_t x;
  /** `[hidden]` in the activation type. */
  uint64_t weight;
  /** `[num_tokens, hidden]` in the activation type; may be `x` itself. */
  uint64_t out;
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

#endif /* LLAMA_KERNELS_PARAMS_H_ */
