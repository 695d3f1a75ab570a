/* The kernels of llama-kernels from C, C++ and whatever calls C: over device memory and a stream that are the caller's.
 *
 * An operation checks its arguments, launches, and returns. It allocates nothing and waits for nothing, so that it can be
 * captured in a CUDA graph; the first launch of a kernel loads it, so call each once before. What is wrong with an argument
 * is said before anything is launched: a function returns LK_OK, or another lk_status and a message from lk_error(). No
 * function crashes for NULL, misaligned or wrongly sized arguments, nor for a device that was closed; where a pointer points
 * is the caller's promise.
 *
 * Shapes stand in brackets, outermost first; "16-bit" is LK_BF16 or LK_F16, the same for all such tensors of a call. The
 * last stride is 1; rows start at multiples of 16 bytes. Memory that is written overlaps no other argument's, but where it
 * is said that two may be the same.
 */
#ifndef LLAMA_KERNELS_H
#define LLAMA_KERNELS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum lk_status {
    LK_OK = 0,
    /* An argument is wrong; nothing was launched or written. */
    LK_ARGUMENT = 1,
    /* This library or this device does not do it. */
    LK_UNSUPPORTED = 2,
    LK_OUT_OF_MEMORY = 3,
    LK_NO_DEVICE = 4,
    /* The driver, or the simulated GPU, refused a call or reports a launch that failed. */
    LK_DRIVER = 5,
    /* A bug of this library. */
    LK_PANIC = 6
};

enum lk_dtype { LK_BF16 = 0, LK_F16 = 1, LK_F32 = 2, LK_I32 = 3, LK_I64 = 4, LK_U32 = 5, LK_U8 = 6, LK_F8_E4M3 = 7 };

enum lk_epilogue { LK_NONE = 0, LK_SWIGLU = 1 };

/* A device that lk_open opened: a number, never 0, never given twice. */
typedef uint64_t lk_device;

/* A CUstream or cudaStream_t of the device's primary context, NULL for the legacy default stream. On a simulated GPU
 * always NULL: the device has one stream. */
typedef void *lk_stream;

/* A tensor: device address of its first element, one of lk_dtype, rank from 0 to 4, shape and strides in elements. What lies
 * behind `rank` is not read. A tensor of no elements may have the address NULL. */
typedef struct lk_tensor {
    void *data;
    int32_t dtype;
    int32_t rank;
    int64_t shape[4];
    int64_t strides[4];
} lk_tensor;

/* Zeros where nobody says. */
typedef struct lk_properties {
    char name[128];
    int32_t simulated;
    int32_t compute_capability_major;
    int32_t compute_capability_minor;
    uint32_t num_sms;
    uint64_t memory_bytes;
    uint64_t l2_bytes;
    double memory_bytes_per_second;
    /* The CUDA version of the compiler that made the kernels. */
    int32_t kernels_cuda_major;
    int32_t kernels_cuda_minor;
} lk_properties;

/* The message of this thread's last failed call, until its next failed one. */
const char *lk_error(void);

/* The library's version and the commit that it was built from. */
const char *lk_version(void);
const char *lk_commit(void);

/* Opens "cuda:0" (in its primary context, which the CUDA runtime uses), "sim" (the simulated GPU, if built with it),
 * "sim:9.0", or "auto". */
int32_t lk_open(const char *name, lk_device *device);

/* Closes it and frees what lk_allocate gave. */
int32_t lk_close(lk_device device);

int32_t lk_get_properties(lk_device device, lk_properties *properties);

/* Waits for the stream; an error if one of its launches failed. */
int32_t lk_synchronize(lk_device device, lk_stream stream);

/* Memory of the device at a multiple of 256 bytes, uninitialised; NULL for 0 bytes. Callers with an allocator of their own
 * need neither this nor what follows. lk_free takes NULL. */
int32_t lk_allocate(lk_device device, uint64_t bytes, void **address);
int32_t lk_free(lk_device device, void *address);

/* Copies between the host and memory of lk_allocate, or a part of it; waits for all work of the device before. */
int32_t lk_write(lk_device device, void *to, const void *from, uint64_t bytes);
int32_t lk_read(lk_device device, void *to, const void *from, uint64_t bytes);

/* Everywhere below, `error` is NULL or a u32 [1] that gets a bit where an id, position, slot, page or length in device
 * memory is out of range. They are bounded with and without it. */

/* out[t] = table[ids[t]]; a row of zeros for an id outside of the table.
 * ids i32 [tokens]; table 16-bit [vocabulary, hidden]; out [tokens, hidden]; hidden a multiple of 8. */
int32_t lk_embed(lk_device device, lk_stream stream, const lk_tensor *ids, const lk_tensor *table, const lk_tensor *out,
                 const lk_tensor *error);

/* out[r] = x[rows[r]]; a row of zeros for an index outside of x.
 * x 16-bit [tokens, hidden]; rows i32 [rows]; out [rows, hidden]; hidden a multiple of 8. */
int32_t lk_gather_rows(lk_device device, lk_stream stream, const lk_tensor *x, const lk_tensor *rows,
                       const lk_tensor *out, const lk_tensor *error);

/* out = round(x / sqrt(mean(x^2) + eps)) * weight over each row.
 * x and out 16-bit [tokens, hidden], may be the same; weight [hidden]; hidden a multiple of 8. */
int32_t lk_rms_norm(lk_device device, lk_stream stream, const lk_tensor *x, const lk_tensor *weight, float eps,
                    const lk_tensor *out);

/* residual = round(residual + x), then lk_rms_norm of the residual.
 * x, residual (read and written) and out 16-bit [tokens, hidden], x and out may be the same; weight [hidden]. */
int32_t lk_add_rms_norm(lk_device device, lk_stream stream, const lk_tensor *x, const lk_tensor *residual,
                        const lk_tensor *weight, float eps, const lk_tensor *out);

/* out = silu(gate) * up. gate_up 16-bit [tokens, 2 * width], gate first; out [tokens, width]; width a multiple of 8. */
int32_t lk_silu_and_mul(lk_device device, lk_stream stream, const lk_tensor *gate_up, const lk_tensor *out);

/* Rotates queries and keys (element i of a head pairs with i + head_dim / 2), writes the queries to q_out, and keys and
 * values into their slots of the paged cache.
 * qkv 16-bit [tokens, (q_heads + 2 * kv_heads) * head_dim]; positions i32 [tokens], rows of cos_sin; slot_mapping i64
 * [tokens], page * page_size + offset, negative for a token that is not stored, no slot twice; cos_sin f32 [positions,
 * head_dim], cosines first; q_out [tokens, q_heads, head_dim]; k_cache and v_cache [pages, page_size, kv_heads, head_dim] of
 * any strides but the last, page_size a power of two; head_dim a multiple of 16, at most 256. In a cache in LK_F8_E4M3 keys
 * are stored as k / k_scale, values as v / v_scale, saturating; other caches have the type of qkv, and scales of 1. */
int32_t lk_rope_append_kv(lk_device device, lk_stream stream, const lk_tensor *qkv, const lk_tensor *positions,
                          const lk_tensor *slot_mapping, const lk_tensor *cos_sin, const lk_tensor *q_out,
                          const lk_tensor *k_cache, const lk_tensor *v_cache, float k_scale, float v_scale,
                          const lk_tensor *error);

/* out[t][j] = x[t][columns[j]]; 0 for an index outside of the row.
 * x and out 16-bit [tokens, width], may be the same; columns i32 [width] at a multiple of 16 bytes; width a multiple of 8. */
int32_t lk_permute_columns(lk_device device, lk_stream stream, const lk_tensor *x, const lk_tensor *columns,
                           const lk_tensor *out, const lk_tensor *error);

/* out = epilogue(x * transpose(weight) + bias).
 * x 16-bit [m, k]; weight [n, k]; bias [n] or NULL; out 16-bit or f32, [m, n], with LK_SWIGLU [m, n / 2]; k a multiple of 8,
 * rows of out of 16 bytes. LK_SWIGLU: out = silu(gate) * up, where the rows of weight and bias are interleaved in blocks of
 * 8, so many of gate, as many of up, and so on; n a multiple of 16. batch_invariant other than 0: a row has the same bits
 * whatever m is. workspace: NULL, or u8 [bytes] at a multiple of 256, zeros before its first use, which one launch at a time
 * uses: with as many bytes as lk_matmul_workspace says, small products are shared by all multiprocessors. */
int32_t lk_matmul(lk_device device, lk_stream stream, const lk_tensor *x, const lk_tensor *weight, const lk_tensor *bias,
                  int32_t epilogue, int32_t batch_invariant, const lk_tensor *workspace, const lk_tensor *out);

/* Bytes of a workspace that is enough for every product on this device. */
int32_t lk_matmul_workspace(lk_device device, uint64_t *bytes);

/* A weight [n, k] in 4 bits in host memory: (code - zero) * scale, where a zero is 8 if `zeros` is NULL. */
typedef struct lk_int4_weight {
    /* Rows: a multiple of 8. */
    uint64_t n;
    uint64_t k;
    /* Columns that share a scale: 32, 64, 128 or k. They divide k, which is a multiple of 16. */
    uint64_t group_size;
    /* [n, k / 2]: two codes a byte, the even column's in the low half. */
    const uint8_t *codes;
    /* Bits of [n, k / group_size] in `dtype`, LK_BF16 or LK_F16, all finite. */
    const uint16_t *scales;
    const uint16_t *zeros;
    int32_t dtype;
} lk_int4_weight;

/* Bytes of the codes, and numbers of scales and zeros, that lk_int4_pack writes; of the weight's arrays it is looked at whether
 * `zeros` is NULL. */
int32_t lk_int4_sizes(const lk_int4_weight *weight, uint64_t *codes, uint64_t *scales);

/* Brings a weight into the order of the kernels, on the host; copy both arrays to the device as they are. */
int32_t lk_int4_pack(const lk_int4_weight *weight, uint8_t *codes, uint16_t *scales, int32_t *integer_zeros);

/* The same on the device. */
typedef struct lk_int4_packed {
    uint64_t n;
    uint64_t k;
    /* u8 [bytes]. */
    const lk_tensor *codes;
    /* LK_BF16 or LK_F16 [(n + 15) / 16, k / group_size, 2 with zeros, else 1, 16]. */
    const lk_tensor *scales;
    /* What lk_int4_pack said. */
    int32_t integer_zeros;
} lk_int4_packed;

/* lk_matmul by a weight in 4 bits, whose values are rounded to x's type. LK_SWIGLU: interleave its rows before they are packed. */
int32_t lk_matmul_int4(lk_device device, lk_stream stream, const lk_tensor *x, const lk_int4_packed *weight,
                       const lk_tensor *bias, int32_t epilogue, int32_t batch_invariant, const lk_tensor *workspace,
                       const lk_tensor *out);

/* codes = e4m3(x / scale), scale = absmax / 448 over a row, or over each 128 columns of one.
 * x 16-bit [tokens, k]; codes LK_F8_E4M3 [tokens, k], rows at multiples of 8 bytes; scale f32 [tokens, 1] or [tokens, k / 128];
 * k a multiple of 8. */
int32_t lk_quantize_fp8(lk_device device, lk_stream stream, const lk_tensor *x, const lk_tensor *codes,
                        const lk_tensor *scale);

/* lk_matmul of codes, whose products are added in f32 and then multiplied by their scales.
 * x LK_F8_E4M3 [m, k]; x_scale f32 [m, 1] or [1, 1]; weight LK_F8_E4M3 [n, k]; weight_scale f32 [n, 1] or [1, 1]. Or one for 128
 * columns of both: x_scale [m, (k + 127) / 128], weight_scale [(n + 127) / 128, (k + 127) / 128]; with LK_SWIGLU the rows of
 * gate's blocks, then those of up's. bias [n] 16-bit or NULL; out 16-bit or f32. n a multiple of 8, k of 16; rows of x and
 * weight at multiples of 16 bytes. fast_accumulation other than 0: sums stay in the tensor cores, which have fewer bits. */
int32_t lk_matmul_fp8(lk_device device, lk_stream stream, const lk_tensor *x, const lk_tensor *x_scale,
                      const lk_tensor *weight, const lk_tensor *weight_scale, const lk_tensor *bias, int32_t epilogue,
                      int32_t fast_accumulation, int32_t batch_invariant, const lk_tensor *workspace,
                      const lk_tensor *out);

/* Causal attention of a ragged batch. Sequence s brings the queries q_indptr[s] to q_indptr[s + 1]; query j of its q_len
 * sees the keys 0 to kv_len[s] - q_len + j. Query head h uses key/value head h / (q_heads / kv_heads). */
typedef struct lk_attention {
    /* 16-bit [tokens, q_heads, head_dim]; head_dim 64 or 128, q_heads / kv_heads from 1 to 16. */
    const lk_tensor *q;
    /* Paged: [pages, page_size, kv_heads, head_dim] of any strides but the last, page_size a power of two.
     * Contiguous: [rows, kv_heads, head_dim], one sequence after the other. In q's type, or LK_F8_E4M3. */
    const lk_tensor *k;
    const lk_tensor *v;
    /* Paged: i32 [batch, max_pages], the pages of each sequence; else NULL. */
    const lk_tensor *page_table;
    /* Contiguous: i32 [batch + 1], the row at which each sequence's keys begin; else NULL. */
    const lk_tensor *kv_indptr;
    /* i32 [batch + 1]. */
    const lk_tensor *q_indptr;
    /* i32 [batch]: kv_len >= q_len, or 0. */
    const lk_tensor *kv_len;
    /* [tokens, q_heads, head_dim] in q's type. */
    const lk_tensor *out;
    /* f32 [tokens, q_heads], natural logarithm of the sum of exponentials of the scaled scores; or NULL. */
    const lk_tensor *lse;
    const lk_tensor *error;
    /* Which sequences of the batch; the rows of others are left as they are. */
    uint64_t first_sequence;
    uint64_t num_sequences;
    /* The most queries that one of them brings, and the most keys that one has. */
    uint64_t max_q_len;
    uint64_t max_kv_len;
    /* Scores are multiplied by this: finite, above 0. */
    float softmax_scale;
    /* LK_F8_E4M3: what stored keys, and values, times is the keys, and values; finite, above 0. Else 1. */
    float k_scale;
    float v_scale;
    /* Decode alone: other than 0, a sequence's result has the same bits in every batch. */
    int32_t batch_invariant;
} lk_attention;

/* Any number of queries a sequence. */
int32_t lk_attention_prefill(lk_device device, lk_stream stream, const lk_attention *args);

/* At most 8 queries a sequence. workspace: u8 [bytes] at a multiple of 256, of as many bytes as
 * lk_attention_decode_workspace says, or more. */
int32_t lk_attention_decode(lk_device device, lk_stream stream, const lk_attention *args, const lk_tensor *workspace);

/* Bytes of that workspace, for these shapes and bounds; the tensors' elements are not looked at. */
int32_t lk_attention_decode_workspace(lk_device device, lk_stream stream, const lk_attention *args, uint64_t *bytes);

/* How a token is chosen from a row of logits. */
typedef struct lk_sample_row {
    /* Logits are divided by it; 0 takes the largest logit (the lowest index of equal ones). */
    float temperature;
    /* The smallest set of tokens whose probabilities reach this sum is kept; 1 keeps all. */
    float top_p;
    /* Tokens less likely than this share of the likeliest token are dropped; 0 keeps all. */
    float min_p;
    /* Logits of seen tokens are divided by it where positive and multiplied where negative; 1 changes nothing. */
    float repetition_penalty;
    /* The number of largest logits that are kept; 0 keeps all. */
    int32_t top_k;
    /* Row of `seen`, or -1 for none. */
    int32_t seen_row;
    /* Key and counter of the random numbers (Philox4x32-10). */
    uint64_t seed;
    uint64_t sequence;
    uint64_t position;
} lk_sample_row;

/* out[r] = a token chosen from logits[r], or -1 where no logit is above -inf.
 * logits f32 [rows, vocabulary]; rows u8 [rows, 48], lk_sample_row each; seen u32 [sequences, (vocabulary + 31) / 32], a bit
 * a token, the chosen one is added; out i32 [rows]. */
int32_t lk_sample(lk_device device, lk_stream stream, const lk_tensor *logits, const lk_tensor *rows,
                  const lk_tensor *seen, const lk_tensor *out, const lk_tensor *error);

#ifdef __cplusplus
}
#endif

#endif
