//! Parameters of the kernels as they lie in device memory, and the constants that a kernel and its plan share.
//!
//! Written by `cargo xtask bindgen` from `cuda/params.h`: change that file, not this one. Addresses are device
//! addresses, strides are in elements; every byte has a name, so that a struct may be handled as bytes.

#[doc = " Elements of a 16-bit type in one 16-byte access."]
pub const VECTOR_ELEMENTS: Tile = 8;
#[doc = " 16-byte vectors that a thread of a row kernel (embed and the norms) holds in registers."]
pub const ROW_VECTORS_PER_THREAD: Tile = 4;
#[doc = " 16-byte vectors that a thread of quantize_fp8 has room for, where a row is wider than 1024\nthreads hold in ROW_VECTORS_PER_THREAD."]
pub const QUANTIZE_FP8_VECTORS_PER_THREAD: Tile = 8;
#[doc = " Columns that share a scale, where a token has more than one."]
pub const FP8_GROUP_COLUMNS: Tile = 128;
#[doc = " Rows of a block of a row kernel where one warp is enough for a row."]
pub const ROWS_PER_BLOCK: Tile = 4;
#[doc = " Threads of a block of silu_and_mul."]
pub const SILU_AND_MUL_THREADS: Tile = 128;
#[doc = " 16-byte vectors of the output that a thread of silu_and_mul makes."]
pub const SILU_AND_MUL_VECTORS_PER_THREAD: Tile = 2;
#[doc = " Threads that a block of rope_append_kv has at least, where there are tokens enough."]
pub const ROPE_APPEND_KV_THREADS: Tile = 128;
#[doc = " Threads that a block of rope_append_kv has at most."]
pub const ROPE_APPEND_KV_MAX_THREADS: Tile = 256;
#[doc = " Heads that a thread of rope_append_kv rotates by the angles that it holds."]
pub const ROPE_APPEND_KV_HEADS_PER_THREAD: Tile = 4;
#[doc = " Threads of a block of sample, which takes one row of logits."]
pub const SAMPLE_THREADS: Tile = 1024;
#[doc = " Rows of gate, and of up, that stand together in a weight with MATMUL_EPILOGUE_SWIGLU."]
pub const MATMUL_SWIGLU_BLOCK: Tile = 8;
#[doc = " Stages and threads of the matmul whose block makes 128 x 256 outputs, 64 of K at a time."]
pub const MATMUL_128X256X64_STAGES: Tile = 3;
#[doc = " Stages and threads of the matmul whose block makes 128 x 256 outputs, 64 of K at a time."]
pub const MATMUL_128X256X64_THREADS: Tile = 256;
#[doc = " The same with 32 of K at a time: fits 99 KB of shared memory."]
pub const MATMUL_128X256X32_STAGES: Tile = 4;
#[doc = " The same with 32 of K at a time: fits 99 KB of shared memory."]
pub const MATMUL_128X256X32_THREADS: Tile = 256;
#[doc = " The matmul whose block makes 128 x 128 outputs."]
pub const MATMUL_128X128X64_STAGES: Tile = 3;
#[doc = " The matmul whose block makes 128 x 128 outputs."]
pub const MATMUL_128X128X64_THREADS: Tile = 128;
#[doc = " The matmul whose block makes 64 x 128 outputs."]
pub const MATMUL_64X128X64_STAGES: Tile = 4;
#[doc = " The matmul whose block makes 64 x 128 outputs."]
pub const MATMUL_64X128X64_THREADS: Tile = 128;
#[doc = " The matmul whose block makes 64 x 64 outputs: two warps share the columns of a stage."]
pub const MATMUL_64X64X128_STAGES: Tile = 3;
#[doc = " The matmul whose block makes 64 x 64 outputs: two warps share the columns of a stage."]
pub const MATMUL_64X64X128_THREADS: Tile = 128;
#[doc = " Stages and threads of the tiles of matmul_int4, 64 columns at a time: 128 x 256 outputs."]
pub const MATMUL_INT4_128X256X64_STAGES: Tile = 3;
#[doc = " Stages and threads of the tiles of matmul_int4, 64 columns at a time: 128 x 256 outputs."]
pub const MATMUL_INT4_128X256X64_THREADS: Tile = 256;
#[doc = " 64 x 128 outputs."]
pub const MATMUL_INT4_64X128X64_STAGES: Tile = 4;
#[doc = " 64 x 128 outputs."]
pub const MATMUL_INT4_64X128X64_THREADS: Tile = 128;
#[doc = " 32 x 256 outputs, for few tokens."]
pub const MATMUL_INT4_32X256X64_STAGES: Tile = 4;
#[doc = " 32 x 256 outputs, for few tokens."]
pub const MATMUL_INT4_32X256X64_THREADS: Tile = 128;
#[doc = " The matmul_fp8 whose block makes 128 x 128 outputs, 128 of K at a time."]
pub const MATMUL_FP8_128X128X128_STAGES: Tile = 3;
#[doc = " The matmul_fp8 whose block makes 128 x 128 outputs, 128 of K at a time."]
pub const MATMUL_FP8_128X128X128_THREADS: Tile = 256;
#[doc = " The same with 64 x 256 outputs, 64 of K at a time: with SwiGLU, 128 columns of the output,\nwhich share a scale."]
pub const MATMUL_FP8_64X256X64_STAGES: Tile = 4;
#[doc = " The same with 64 x 256 outputs, 64 of K at a time: with SwiGLU, 128 columns of the output,\nwhich share a scale."]
pub const MATMUL_FP8_64X256X64_THREADS: Tile = 256;
#[doc = " The matmul_fp8 whose block makes 64 x 128 outputs."]
pub const MATMUL_FP8_64X128X128_STAGES: Tile = 4;
#[doc = " The matmul_fp8 whose block makes 64 x 128 outputs."]
pub const MATMUL_FP8_64X128X128_THREADS: Tile = 128;
#[doc = " Rows of x whose tiles are in work together, so that they share weights in L2."]
pub const MATMUL_RASTER_ROWS: Tile = 2048;
#[doc = " Warps that a block of a streaming product has at most."]
pub const MATMUL_STREAM_WARPS: Tile = 8;
#[doc = " Units that the ring of each of them holds: one less is on its way."]
pub const MATMUL_STREAM_DEPTH: Tile = 4;
#[doc = " Most tokens of the narrow kernel and of the wide one."]
pub const MATMUL_STREAM_M8_TOKENS: Tile = 8;
#[doc = " Most tokens of the narrow kernel and of the wide one."]
pub const MATMUL_STREAM_M16_TOKENS: Tile = 16;
#[doc = " Rows of the weight of a tile of matmul_stream, and columns of a unit: lines of memory."]
pub const MATMUL_STREAM_ROWS: Tile = 32;
#[doc = " Rows of the weight of a tile of matmul_stream, and columns of a unit: lines of memory."]
pub const MATMUL_STREAM_COLUMNS: Tile = 64;
#[doc = " The same of matmul_fp8_stream."]
pub const MATMUL_FP8_STREAM_ROWS: Tile = 32;
#[doc = " The same of matmul_fp8_stream."]
pub const MATMUL_FP8_STREAM_COLUMNS: Tile = 128;
#[doc = " The same of matmul_int4_stream, whose weights are fewer bytes: more rows for each token."]
pub const MATMUL_INT4_STREAM_M8_ROWS: Tile = 64;
#[doc = " The same of matmul_int4_stream, whose weights are fewer bytes: more rows for each token."]
pub const MATMUL_INT4_STREAM_M8_COLUMNS: Tile = 128;
#[doc = " The same of matmul_int4_stream, whose weights are fewer bytes: more rows for each token."]
pub const MATMUL_INT4_STREAM_M16_ROWS: Tile = 128;
#[doc = " The same of matmul_int4_stream, whose weights are fewer bytes: more rows for each token."]
pub const MATMUL_INT4_STREAM_M16_COLUMNS: Tile = 64;
#[doc = " Threads of a block of attention_decode: 4 warps."]
pub const ATTENTION_DECODE_THREADS: Tile = 128;
#[doc = " Rows of a tile of attention_decode, queries times the query heads of a key/value head, where\nthe warps of the block share the keys."]
pub const ATTENTION_DECODE_FEW_ROWS: Tile = 16;
#[doc = " Rows of a tile of attention_decode where each warp has rows of its own."]
pub const ATTENTION_DECODE_MANY_ROWS: Tile = 64;
#[doc = " Keys of a tile of attention_decode; a split begins at a multiple of it."]
pub const ATTENTION_DECODE_KEYS: Tile = 64;
#[doc = " Bytes of shared memory through which keys and values pass: two blocks of a multiprocessor have\nroom on compute capability 9.0, one block everywhere."]
pub const ATTENTION_DECODE_RING_BYTES: Tile = 98304;
#[doc = " Least keys of a split, but for the last of a sequence."]
pub const ATTENTION_DECODE_MIN_SPLIT_KEYS: Tile = 128;
#[doc = " Keys of a split in batch-invariant mode."]
pub const ATTENTION_DECODE_INVARIANT_SPLIT_KEYS: Tile = 512;
#[doc = " Most queries of a sequence in attention_decode."]
pub const ATTENTION_DECODE_MAX_QUERIES: Tile = 8;
#[doc = " Splits of attention_combine that have threads of their own; the splits of one are those with\nthe same remainder, so that the order of additions is the same for any number of splits."]
pub const ATTENTION_COMBINE_SPLIT_GROUPS: Tile = 8;
#[doc = " Splits that a thread of attention_combine reads at a time."]
pub const ATTENTION_COMBINE_SPLITS_IN_FLIGHT: Tile = 4;
#[doc = " Threads that a block of attention_combine has, where a row does not need more."]
pub const ATTENTION_COMBINE_THREADS: Tile = 128;
#[doc = " Threads of a block of attention_prefill: 4 warps of 32 rows."]
pub const ATTENTION_PREFILL_THREADS: Tile = 128;
#[doc = " Rows of a tile of attention_prefill: queries times the query heads of a key/value head."]
pub const ATTENTION_PREFILL_ROWS: Tile = 128;
#[doc = " Keys of a tile of attention_prefill with head_dim 128."]
pub const ATTENTION_PREFILL_KEYS: Tile = 64;
#[doc = " Keys of a tile of attention_prefill with head_dim 64: as many bytes."]
pub const ATTENTION_PREFILL_KEYS_HD64: Tile = 128;
#[doc = " Tiles of keys or values that shared memory holds."]
pub const ATTENTION_PREFILL_STAGES: Tile = 3;
#[doc = " Most sequences of a launch of attention_prefill: a block looks for its tile in a table of them\nin shared memory."]
pub const ATTENTION_PREFILL_MAX_SEQS: Tile = 2048;
#[doc = " Threads of a block of ceiling_read and ceiling_copy."]
pub const CEILING_THREADS: Tile = 256;
#[doc = " 16-byte vectors that a thread of them has in flight: a tile is 16 KB."]
pub const CEILING_VECTORS_PER_THREAD: Tile = 4;
#[doc = " Threads of a block of ceiling_mma: 8 warps, each with a product of its own."]
pub const CEILING_MMA_THREADS: Tile = 256;
#[doc = " Rows of A, rows of B and columns of both of a product of ceiling_mma, held in registers."]
pub const CEILING_MMA_M: Tile = 64;
#[doc = " Rows of A, rows of B and columns of both of a product of ceiling_mma, held in registers."]
pub const CEILING_MMA_N: Tile = 32;
#[doc = " Rows of A, rows of B and columns of both of a product of ceiling_mma, held in registers."]
pub const CEILING_MMA_K: Tile = 16;
#[doc = " Times that ceiling_mma adds its product in one round of its loop."]
pub const CEILING_MMA_UNROLL: Tile = 4;
#[doc = " Threads of a block of ceiling_wgmma: 2 warpgroups, each with half of the rows of A."]
pub const CEILING_WGMMA_THREADS: Tile = 256;
#[doc = " Rows of A, rows of B and columns of both of the product of a block of ceiling_wgmma, held in\nshared memory."]
pub const CEILING_WGMMA_M: Tile = 128;
#[doc = " Rows of A, rows of B and columns of both of the product of a block of ceiling_wgmma, held in\nshared memory."]
pub const CEILING_WGMMA_N: Tile = 256;
#[doc = " Rows of A, rows of B and columns of both of the product of a block of ceiling_wgmma, held in\nshared memory."]
pub const CEILING_WGMMA_K: Tile = 64;
#[doc = " Constants that a kernel and the plan of its launch share."]
pub type Tile = ::std::os::raw::c_uint;
#[doc = " A token id lay outside the embedding table; its row was filled with zeros."]
pub const DEVICE_ERROR_TOKEN_ID: DeviceError = 1;
#[doc = " A row index lay outside the tensor; its row was filled with zeros."]
pub const DEVICE_ERROR_ROW_INDEX: DeviceError = 2;
#[doc = " A position lay outside the table of cosines and sines; the table's last row was taken."]
pub const DEVICE_ERROR_POSITION: DeviceError = 4;
#[doc = " A slot lay outside the cache; the token's keys and values were not stored."]
pub const DEVICE_ERROR_SLOT: DeviceError = 8;
#[doc = " A page index lay outside the cache; the nearest page was read in its place."]
pub const DEVICE_ERROR_PAGE: DeviceError = 16;
#[doc = " A length or an offset of a ragged batch contradicts the others or the host's bounds; it was\nbounded."]
pub const DEVICE_ERROR_LENGTH: DeviceError = 32;
#[doc = " A row of the bitmap of seen tokens lay outside it; the row of logits was treated as having\nnone."]
pub const DEVICE_ERROR_SEEN_ROW: DeviceError = 64;
#[doc = " A column index lay outside the row; zero was written in its place."]
pub const DEVICE_ERROR_COLUMN: DeviceError = 128;
#[doc = " Bits that kernels set in a model's device error word; 0 means that nothing happened."]
pub type DeviceError = ::std::os::raw::c_uint;
#[doc = " Parameters of `embed`: `out[t,:] = table[ids[t],:]`."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct EmbedParams {
    #[doc = " i32 `[num_tokens]`: rows of the table."]
    pub ids: u64,
    #[doc = " 16-bit `[vocab_size, hidden]`."]
    pub table: u64,
    #[doc = " 16-bit `[num_tokens, hidden]`."]
    pub out: u64,
    #[doc = " u32 `[1]`: receives `error_bit` by an atomic or where an id lies outside the table; 0 for\n none."]
    pub error: u64,
    #[doc = " Elements from one row of the table to the next."]
    pub table_stride_row: i64,
    #[doc = " Elements from one row of `out` to the next."]
    pub out_stride_token: i64,
    #[doc = " Rows of `out`."]
    pub num_tokens: i32,
    #[doc = " Elements of a row: a multiple of VECTOR_ELEMENTS."]
    pub hidden: i32,
    #[doc = " Rows of the table: an id outside 0..vocab_size gives a row of zeros."]
    pub vocab_size: i32,
    #[doc = " DEVICE_ERROR_TOKEN_ID, or DEVICE_ERROR_ROW_INDEX where the kernel gathers rows."]
    pub error_bit: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of EmbedParams"][::std::mem::size_of::<EmbedParams>() - 64usize];
    ["Alignment of EmbedParams"][::std::mem::align_of::<EmbedParams>() - 8usize];
    ["Offset of field: EmbedParams::ids"][::std::mem::offset_of!(EmbedParams, ids) - 0usize];
    ["Offset of field: EmbedParams::table"][::std::mem::offset_of!(EmbedParams, table) - 8usize];
    ["Offset of field: EmbedParams::out"][::std::mem::offset_of!(EmbedParams, out) - 16usize];
    ["Offset of field: EmbedParams::error"][::std::mem::offset_of!(EmbedParams, error) - 24usize];
    ["Offset of field: EmbedParams::table_stride_row"]
        [::std::mem::offset_of!(EmbedParams, table_stride_row) - 32usize];
    ["Offset of field: EmbedParams::out_stride_token"]
        [::std::mem::offset_of!(EmbedParams, out_stride_token) - 40usize];
    ["Offset of field: EmbedParams::num_tokens"][::std::mem::offset_of!(EmbedParams, num_tokens) - 48usize];
    ["Offset of field: EmbedParams::hidden"][::std::mem::offset_of!(EmbedParams, hidden) - 52usize];
    ["Offset of field: EmbedParams::vocab_size"][::std::mem::offset_of!(EmbedParams, vocab_size) - 56usize];
    ["Offset of field: EmbedParams::error_bit"][::std::mem::offset_of!(EmbedParams, error_bit) - 60usize];
};
#[doc = " Parameters of `rms_norm`: `out = round(x * rsqrt(mean(x^2) + eps)) * weight` over each row."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct RmsNormParams {
    #[doc = " `[num_tokens, hidden]` in the activation type."]
    pub x: u64,
    #[doc = " `[hidden]` in the activation type."]
    pub weight: u64,
    #[doc = " `[num_tokens, hidden]` in the activation type; may be `x` itself."]
    pub out: u64,
    #[doc = " i32 `[hidden]`: column j of `out` is column `columns[j]` of the norm; 0 for j."]
    pub columns: u64,
    #[doc = " u32 `[1]`: receives DEVICE_ERROR_COLUMN by an atomic or where an index lies outside the row; 0\n for none."]
    pub error: u64,
    #[doc = " Elements from one row of `x` to the next."]
    pub x_stride_token: i64,
    #[doc = " Elements from one row of `out` to the next."]
    pub out_stride_token: i64,
    #[doc = " Rows."]
    pub num_tokens: i32,
    #[doc = " Elements of a row: a multiple of VECTOR_ELEMENTS."]
    pub hidden: i32,
    #[doc = " Added to the mean of squares."]
    pub eps: f32,
    #[doc = " Zero."]
    pub padding: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of RmsNormParams"][::std::mem::size_of::<RmsNormParams>() - 72usize];
    ["Alignment of RmsNormParams"][::std::mem::align_of::<RmsNormParams>() - 8usize];
    ["Offset of field: RmsNormParams::x"][::std::mem::offset_of!(RmsNormParams, x) - 0usize];
    ["Offset of field: RmsNormParams::weight"][::std::mem::offset_of!(RmsNormParams, weight) - 8usize];
    ["Offset of field: RmsNormParams::out"][::std::mem::offset_of!(RmsNormParams, out) - 16usize];
    ["Offset of field: RmsNormParams::columns"][::std::mem::offset_of!(RmsNormParams, columns) - 24usize];
    ["Offset of field: RmsNormParams::error"][::std::mem::offset_of!(RmsNormParams, error) - 32usize];
    ["Offset of field: RmsNormParams::x_stride_token"]
        [::std::mem::offset_of!(RmsNormParams, x_stride_token) - 40usize];
    ["Offset of field: RmsNormParams::out_stride_token"]
        [::std::mem::offset_of!(RmsNormParams, out_stride_token) - 48usize];
    ["Offset of field: RmsNormParams::num_tokens"]
        [::std::mem::offset_of!(RmsNormParams, num_tokens) - 56usize];
    ["Offset of field: RmsNormParams::hidden"][::std::mem::offset_of!(RmsNormParams, hidden) - 60usize];
    ["Offset of field: RmsNormParams::eps"][::std::mem::offset_of!(RmsNormParams, eps) - 64usize];
    ["Offset of field: RmsNormParams::padding"][::std::mem::offset_of!(RmsNormParams, padding) - 68usize];
};
#[doc = " Parameters of `add_rms_norm`: `residual = round(residual + x); out = rms_norm(residual)`."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct AddRmsNormParams {
    #[doc = " `[num_tokens, hidden]` in the activation type."]
    pub x: u64,
    #[doc = " `[num_tokens, hidden]` in the activation type, read and written."]
    pub residual: u64,
    #[doc = " `[hidden]` in the activation type."]
    pub weight: u64,
    #[doc = " `[num_tokens, hidden]` in the activation type; may be `x` itself."]
    pub out: u64,
    #[doc = " i32 `[hidden]`: column j of `out` is column `columns[j]` of the norm; 0 for j."]
    pub columns: u64,
    #[doc = " u32 `[1]`: receives DEVICE_ERROR_COLUMN by an atomic or where an index lies outside the row; 0\n for none."]
    pub error: u64,
    #[doc = " Elements from one row of `x` to the next."]
    pub x_stride_token: i64,
    #[doc = " Elements from one row of `residual` to the next."]
    pub residual_stride_token: i64,
    #[doc = " Elements from one row of `out` to the next."]
    pub out_stride_token: i64,
    #[doc = " Rows."]
    pub num_tokens: i32,
    #[doc = " Elements of a row: a multiple of VECTOR_ELEMENTS."]
    pub hidden: i32,
    #[doc = " Added to the mean of squares."]
    pub eps: f32,
    #[doc = " Zero."]
    pub padding: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of AddRmsNormParams"][::std::mem::size_of::<AddRmsNormParams>() - 88usize];
    ["Alignment of AddRmsNormParams"][::std::mem::align_of::<AddRmsNormParams>() - 8usize];
    ["Offset of field: AddRmsNormParams::x"][::std::mem::offset_of!(AddRmsNormParams, x) - 0usize];
    ["Offset of field: AddRmsNormParams::residual"]
        [::std::mem::offset_of!(AddRmsNormParams, residual) - 8usize];
    ["Offset of field: AddRmsNormParams::weight"][::std::mem::offset_of!(AddRmsNormParams, weight) - 16usize];
    ["Offset of field: AddRmsNormParams::out"][::std::mem::offset_of!(AddRmsNormParams, out) - 24usize];
    ["Offset of field: AddRmsNormParams::columns"]
        [::std::mem::offset_of!(AddRmsNormParams, columns) - 32usize];
    ["Offset of field: AddRmsNormParams::error"][::std::mem::offset_of!(AddRmsNormParams, error) - 40usize];
    ["Offset of field: AddRmsNormParams::x_stride_token"]
        [::std::mem::offset_of!(AddRmsNormParams, x_stride_token) - 48usize];
    ["Offset of field: AddRmsNormParams::residual_stride_token"]
        [::std::mem::offset_of!(AddRmsNormParams, residual_stride_token) - 56usize];
    ["Offset of field: AddRmsNormParams::out_stride_token"]
        [::std::mem::offset_of!(AddRmsNormParams, out_stride_token) - 64usize];
    ["Offset of field: AddRmsNormParams::num_tokens"]
        [::std::mem::offset_of!(AddRmsNormParams, num_tokens) - 72usize];
    ["Offset of field: AddRmsNormParams::hidden"][::std::mem::offset_of!(AddRmsNormParams, hidden) - 76usize];
    ["Offset of field: AddRmsNormParams::eps"][::std::mem::offset_of!(AddRmsNormParams, eps) - 80usize];
    ["Offset of field: AddRmsNormParams::padding"]
        [::std::mem::offset_of!(AddRmsNormParams, padding) - 84usize];
};
#[doc = " Parameters of `rms_norm_fp8`: `rms_norm`, whose result `quantize_fp8` makes codes and scales of."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct RmsNormFp8Params {
    #[doc = " `[num_tokens, hidden]` in the activation type."]
    pub x: u64,
    #[doc = " `[hidden]` in the activation type."]
    pub weight: u64,
    #[doc = " e4m3 `[num_tokens, hidden]`, rows at 8-byte boundaries."]
    pub codes: u64,
    #[doc = " f32 `[num_tokens, groups]`."]
    pub scale: u64,
    #[doc = " Elements from one row of `x` to the next."]
    pub x_stride_token: i64,
    #[doc = " Elements from one row of `codes` to the next."]
    pub codes_stride_token: i64,
    #[doc = " Elements from one row of `scale` to the next."]
    pub scale_stride_token: i64,
    #[doc = " Rows."]
    pub num_tokens: i32,
    #[doc = " Elements of a row: a multiple of VECTOR_ELEMENTS."]
    pub hidden: i32,
    #[doc = " Scales of a row: 1, or hidden / FP8_GROUP_COLUMNS, which is then exact."]
    pub groups: i32,
    #[doc = " Added to the mean of squares."]
    pub eps: f32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of RmsNormFp8Params"][::std::mem::size_of::<RmsNormFp8Params>() - 72usize];
    ["Alignment of RmsNormFp8Params"][::std::mem::align_of::<RmsNormFp8Params>() - 8usize];
    ["Offset of field: RmsNormFp8Params::x"][::std::mem::offset_of!(RmsNormFp8Params, x) - 0usize];
    ["Offset of field: RmsNormFp8Params::weight"][::std::mem::offset_of!(RmsNormFp8Params, weight) - 8usize];
    ["Offset of field: RmsNormFp8Params::codes"][::std::mem::offset_of!(RmsNormFp8Params, codes) - 16usize];
    ["Offset of field: RmsNormFp8Params::scale"][::std::mem::offset_of!(RmsNormFp8Params, scale) - 24usize];
    ["Offset of field: RmsNormFp8Params::x_stride_token"]
        [::std::mem::offset_of!(RmsNormFp8Params, x_stride_token) - 32usize];
    ["Offset of field: RmsNormFp8Params::codes_stride_token"]
        [::std::mem::offset_of!(RmsNormFp8Params, codes_stride_token) - 40usize];
    ["Offset of field: RmsNormFp8Params::scale_stride_token"]
        [::std::mem::offset_of!(RmsNormFp8Params, scale_stride_token) - 48usize];
    ["Offset of field: RmsNormFp8Params::num_tokens"]
        [::std::mem::offset_of!(RmsNormFp8Params, num_tokens) - 56usize];
    ["Offset of field: RmsNormFp8Params::hidden"][::std::mem::offset_of!(RmsNormFp8Params, hidden) - 60usize];
    ["Offset of field: RmsNormFp8Params::groups"][::std::mem::offset_of!(RmsNormFp8Params, groups) - 64usize];
    ["Offset of field: RmsNormFp8Params::eps"][::std::mem::offset_of!(RmsNormFp8Params, eps) - 68usize];
};
#[doc = " Parameters of `add_rms_norm_fp8`: `add_rms_norm`, whose result `quantize_fp8` makes codes and\n scales of."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct AddRmsNormFp8Params {
    #[doc = " `[num_tokens, hidden]` in the activation type."]
    pub x: u64,
    #[doc = " `[num_tokens, hidden]` in the activation type, read and written."]
    pub residual: u64,
    #[doc = " `[hidden]` in the activation type."]
    pub weight: u64,
    #[doc = " e4m3 `[num_tokens, hidden]`, rows at 8-byte boundaries."]
    pub codes: u64,
    #[doc = " f32 `[num_tokens, groups]`."]
    pub scale: u64,
    #[doc = " Elements from one row of `x` to the next."]
    pub x_stride_token: i64,
    #[doc = " Elements from one row of `residual` to the next."]
    pub residual_stride_token: i64,
    #[doc = " Elements from one row of `codes` to the next."]
    pub codes_stride_token: i64,
    #[doc = " Elements from one row of `scale` to the next."]
    pub scale_stride_token: i64,
    #[doc = " Rows."]
    pub num_tokens: i32,
    #[doc = " Elements of a row: a multiple of VECTOR_ELEMENTS."]
    pub hidden: i32,
    #[doc = " Scales of a row: 1, or hidden / FP8_GROUP_COLUMNS, which is then exact."]
    pub groups: i32,
    #[doc = " Added to the mean of squares."]
    pub eps: f32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of AddRmsNormFp8Params"][::std::mem::size_of::<AddRmsNormFp8Params>() - 88usize];
    ["Alignment of AddRmsNormFp8Params"][::std::mem::align_of::<AddRmsNormFp8Params>() - 8usize];
    ["Offset of field: AddRmsNormFp8Params::x"][::std::mem::offset_of!(AddRmsNormFp8Params, x) - 0usize];
    ["Offset of field: AddRmsNormFp8Params::residual"]
        [::std::mem::offset_of!(AddRmsNormFp8Params, residual) - 8usize];
    ["Offset of field: AddRmsNormFp8Params::weight"]
        [::std::mem::offset_of!(AddRmsNormFp8Params, weight) - 16usize];
    ["Offset of field: AddRmsNormFp8Params::codes"]
        [::std::mem::offset_of!(AddRmsNormFp8Params, codes) - 24usize];
    ["Offset of field: AddRmsNormFp8Params::scale"]
        [::std::mem::offset_of!(AddRmsNormFp8Params, scale) - 32usize];
    ["Offset of field: AddRmsNormFp8Params::x_stride_token"]
        [::std::mem::offset_of!(AddRmsNormFp8Params, x_stride_token) - 40usize];
    ["Offset of field: AddRmsNormFp8Params::residual_stride_token"]
        [::std::mem::offset_of!(AddRmsNormFp8Params, residual_stride_token) - 48usize];
    ["Offset of field: AddRmsNormFp8Params::codes_stride_token"]
        [::std::mem::offset_of!(AddRmsNormFp8Params, codes_stride_token) - 56usize];
    ["Offset of field: AddRmsNormFp8Params::scale_stride_token"]
        [::std::mem::offset_of!(AddRmsNormFp8Params, scale_stride_token) - 64usize];
    ["Offset of field: AddRmsNormFp8Params::num_tokens"]
        [::std::mem::offset_of!(AddRmsNormFp8Params, num_tokens) - 72usize];
    ["Offset of field: AddRmsNormFp8Params::hidden"]
        [::std::mem::offset_of!(AddRmsNormFp8Params, hidden) - 76usize];
    ["Offset of field: AddRmsNormFp8Params::groups"]
        [::std::mem::offset_of!(AddRmsNormFp8Params, groups) - 80usize];
    ["Offset of field: AddRmsNormFp8Params::eps"][::std::mem::offset_of!(AddRmsNormFp8Params, eps) - 84usize];
};
#[doc = " Parameters of `permute_columns`: `out[t,j] = x[t,columns[j]]`."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct PermuteColumnsParams {
    #[doc = " 16-bit `[num_tokens, width]`."]
    pub x: u64,
    #[doc = " i32 `[width]`."]
    pub columns: u64,
    #[doc = " 16-bit `[num_tokens, width]`; may be `x` itself."]
    pub out: u64,
    #[doc = " u32 `[1]`: receives DEVICE_ERROR_COLUMN by an atomic or where an index lies outside the row; 0\n for none."]
    pub error: u64,
    #[doc = " Elements from one row of `x` to the next."]
    pub x_stride_token: i64,
    #[doc = " Elements from one row of `out` to the next."]
    pub out_stride_token: i64,
    #[doc = " Rows."]
    pub num_tokens: i32,
    #[doc = " Elements of a row: a multiple of VECTOR_ELEMENTS."]
    pub width: i32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of PermuteColumnsParams"][::std::mem::size_of::<PermuteColumnsParams>() - 56usize];
    ["Alignment of PermuteColumnsParams"][::std::mem::align_of::<PermuteColumnsParams>() - 8usize];
    ["Offset of field: PermuteColumnsParams::x"][::std::mem::offset_of!(PermuteColumnsParams, x) - 0usize];
    ["Offset of field: PermuteColumnsParams::columns"]
        [::std::mem::offset_of!(PermuteColumnsParams, columns) - 8usize];
    ["Offset of field: PermuteColumnsParams::out"]
        [::std::mem::offset_of!(PermuteColumnsParams, out) - 16usize];
    ["Offset of field: PermuteColumnsParams::error"]
        [::std::mem::offset_of!(PermuteColumnsParams, error) - 24usize];
    ["Offset of field: PermuteColumnsParams::x_stride_token"]
        [::std::mem::offset_of!(PermuteColumnsParams, x_stride_token) - 32usize];
    ["Offset of field: PermuteColumnsParams::out_stride_token"]
        [::std::mem::offset_of!(PermuteColumnsParams, out_stride_token) - 40usize];
    ["Offset of field: PermuteColumnsParams::num_tokens"]
        [::std::mem::offset_of!(PermuteColumnsParams, num_tokens) - 48usize];
    ["Offset of field: PermuteColumnsParams::width"]
        [::std::mem::offset_of!(PermuteColumnsParams, width) - 52usize];
};
#[doc = " Parameters of `quantize_fp8`: `scale = absmax(x) / 448` over the columns that share it, 1 where\n they are all zero; `codes = e4m3(x / scale)`."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct QuantizeFp8Params {
    #[doc = " `[num_tokens, width]` in the activation type."]
    pub x: u64,
    #[doc = " e4m3 `[num_tokens, width]`, rows at 8-byte boundaries."]
    pub codes: u64,
    #[doc = " f32 `[num_tokens, groups]`."]
    pub scale: u64,
    #[doc = " Elements from one row of `x` to the next."]
    pub x_stride_token: i64,
    #[doc = " Elements from one row of `codes` to the next."]
    pub codes_stride_token: i64,
    #[doc = " Elements from one row of `scale` to the next."]
    pub scale_stride_token: i64,
    #[doc = " Rows."]
    pub num_tokens: i32,
    #[doc = " Elements of a row: a multiple of VECTOR_ELEMENTS."]
    pub width: i32,
    #[doc = " Scales of a row: 1, or width / FP8_GROUP_COLUMNS, which is then exact."]
    pub groups: i32,
    #[doc = " Zero."]
    pub padding: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of QuantizeFp8Params"][::std::mem::size_of::<QuantizeFp8Params>() - 64usize];
    ["Alignment of QuantizeFp8Params"][::std::mem::align_of::<QuantizeFp8Params>() - 8usize];
    ["Offset of field: QuantizeFp8Params::x"][::std::mem::offset_of!(QuantizeFp8Params, x) - 0usize];
    ["Offset of field: QuantizeFp8Params::codes"][::std::mem::offset_of!(QuantizeFp8Params, codes) - 8usize];
    ["Offset of field: QuantizeFp8Params::scale"][::std::mem::offset_of!(QuantizeFp8Params, scale) - 16usize];
    ["Offset of field: QuantizeFp8Params::x_stride_token"]
        [::std::mem::offset_of!(QuantizeFp8Params, x_stride_token) - 24usize];
    ["Offset of field: QuantizeFp8Params::codes_stride_token"]
        [::std::mem::offset_of!(QuantizeFp8Params, codes_stride_token) - 32usize];
    ["Offset of field: QuantizeFp8Params::scale_stride_token"]
        [::std::mem::offset_of!(QuantizeFp8Params, scale_stride_token) - 40usize];
    ["Offset of field: QuantizeFp8Params::num_tokens"]
        [::std::mem::offset_of!(QuantizeFp8Params, num_tokens) - 48usize];
    ["Offset of field: QuantizeFp8Params::width"][::std::mem::offset_of!(QuantizeFp8Params, width) - 52usize];
    ["Offset of field: QuantizeFp8Params::groups"]
        [::std::mem::offset_of!(QuantizeFp8Params, groups) - 56usize];
    ["Offset of field: QuantizeFp8Params::padding"]
        [::std::mem::offset_of!(QuantizeFp8Params, padding) - 60usize];
};
#[doc = " Parameters of `silu_and_mul`: `out = silu(gate) * up`."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct SiluAndMulParams {
    #[doc = " `[num_tokens, 2, intermediate]` in the activation type: the gate half of a row, then its up\n half."]
    pub gate_up: u64,
    #[doc = " `[num_tokens, intermediate]` in the activation type."]
    pub out: u64,
    #[doc = " Elements from one row of `gate_up` to the next."]
    pub gate_up_stride_token: i64,
    #[doc = " Elements from one row of `out` to the next."]
    pub out_stride_token: i64,
    #[doc = " Rows."]
    pub num_tokens: i32,
    #[doc = " Elements of a half row: a multiple of VECTOR_ELEMENTS."]
    pub intermediate: i32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of SiluAndMulParams"][::std::mem::size_of::<SiluAndMulParams>() - 40usize];
    ["Alignment of SiluAndMulParams"][::std::mem::align_of::<SiluAndMulParams>() - 8usize];
    ["Offset of field: SiluAndMulParams::gate_up"]
        [::std::mem::offset_of!(SiluAndMulParams, gate_up) - 0usize];
    ["Offset of field: SiluAndMulParams::out"][::std::mem::offset_of!(SiluAndMulParams, out) - 8usize];
    ["Offset of field: SiluAndMulParams::gate_up_stride_token"]
        [::std::mem::offset_of!(SiluAndMulParams, gate_up_stride_token) - 16usize];
    ["Offset of field: SiluAndMulParams::out_stride_token"]
        [::std::mem::offset_of!(SiluAndMulParams, out_stride_token) - 24usize];
    ["Offset of field: SiluAndMulParams::num_tokens"]
        [::std::mem::offset_of!(SiluAndMulParams, num_tokens) - 32usize];
    ["Offset of field: SiluAndMulParams::intermediate"]
        [::std::mem::offset_of!(SiluAndMulParams, intermediate) - 36usize];
};
#[doc = " What `sample` does with one row of logits: repetition penalty, temperature, top-k, top-p, min-p,\n in that order."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct SampleRow {
    #[doc = " Logits are divided by it; 0 takes the largest logit (the lowest index of equal ones)."]
    pub temperature: f32,
    #[doc = " The smallest set of tokens whose probabilities reach this sum is kept; 1 keeps all."]
    pub top_p: f32,
    #[doc = " Tokens less likely than this share of the likeliest token are dropped; 0 keeps all."]
    pub min_p: f32,
    #[doc = " Logits of seen tokens are divided by it where positive and multiplied where negative; 1\n changes nothing."]
    pub repetition_penalty: f32,
    #[doc = " The number of largest logits that are kept; 0 keeps all."]
    pub top_k: i32,
    #[doc = " Row of the bitmap of seen tokens; -1 for none."]
    pub seen_row: i32,
    #[doc = " Key of the random numbers (Philox4x32-10)."]
    pub seed: u64,
    #[doc = " Upper half of their counter: tells sequences with one seed apart."]
    pub sequence: u64,
    #[doc = " Lower half of their counter: position of the sampled token in its sequence."]
    pub position: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of SampleRow"][::std::mem::size_of::<SampleRow>() - 48usize];
    ["Alignment of SampleRow"][::std::mem::align_of::<SampleRow>() - 8usize];
    ["Offset of field: SampleRow::temperature"][::std::mem::offset_of!(SampleRow, temperature) - 0usize];
    ["Offset of field: SampleRow::top_p"][::std::mem::offset_of!(SampleRow, top_p) - 4usize];
    ["Offset of field: SampleRow::min_p"][::std::mem::offset_of!(SampleRow, min_p) - 8usize];
    ["Offset of field: SampleRow::repetition_penalty"]
        [::std::mem::offset_of!(SampleRow, repetition_penalty) - 12usize];
    ["Offset of field: SampleRow::top_k"][::std::mem::offset_of!(SampleRow, top_k) - 16usize];
    ["Offset of field: SampleRow::seen_row"][::std::mem::offset_of!(SampleRow, seen_row) - 20usize];
    ["Offset of field: SampleRow::seed"][::std::mem::offset_of!(SampleRow, seed) - 24usize];
    ["Offset of field: SampleRow::sequence"][::std::mem::offset_of!(SampleRow, sequence) - 32usize];
    ["Offset of field: SampleRow::position"][::std::mem::offset_of!(SampleRow, position) - 40usize];
};
#[doc = " Parameters of `rope_append_kv`: rotates queries and keys, and stores keys and values in the\n paged cache."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct RopeAppendKvParams {
    #[doc = " `[num_tokens, (num_q_heads + 2 * num_kv_heads) * head_dim]`: q, k, v."]
    pub qkv: u64,
    #[doc = " i32 `[num_tokens]`: rows of `cos_sin`."]
    pub positions: u64,
    #[doc = " i64 `[num_tokens]`: `page * page_size + offset`; negative for a token that is not stored."]
    pub slot_mapping: u64,
    #[doc = " f32 `[num_positions, head_dim]`: head_dim / 2 cosines, then as many sines."]
    pub cos_sin: u64,
    #[doc = " `[num_tokens, num_q_heads, head_dim]`."]
    pub q_out: u64,
    #[doc = " Keys `[num_pages, page_size, num_kv_heads, head_dim]`, by the strides below."]
    pub k_cache: u64,
    #[doc = " Values, likewise."]
    pub v_cache: u64,
    #[doc = " u32 `[1]`: receives DEVICE_ERROR bits by an atomic or; 0 for none."]
    pub error: u64,
    #[doc = " Elements from one token of `qkv` to the next."]
    pub qkv_stride_token: i64,
    #[doc = " Elements from one row of `cos_sin` to the next."]
    pub cos_sin_stride_row: i64,
    #[doc = " Elements from one token of `q_out` to the next."]
    pub q_out_stride_token: i64,
    #[doc = " Elements from one head of `q_out` to the next."]
    pub q_out_stride_head: i64,
    #[doc = " Elements from one page of keys to the next."]
    pub k_stride_page: i64,
    #[doc = " Elements from one token of a page to the next."]
    pub k_stride_slot: i64,
    #[doc = " Elements from one head of a token to the next."]
    pub k_stride_head: i64,
    #[doc = " Elements from one page of values to the next."]
    pub v_stride_page: i64,
    #[doc = " Elements from one token of a page to the next."]
    pub v_stride_slot: i64,
    #[doc = " Elements from one head of a token to the next."]
    pub v_stride_head: i64,
    #[doc = " Rows."]
    pub num_tokens: i32,
    #[doc = " Query heads."]
    pub num_q_heads: i32,
    #[doc = " Key and value heads."]
    pub num_kv_heads: i32,
    #[doc = " Elements of a head: a multiple of 2 * VECTOR_ELEMENTS."]
    pub head_dim: i32,
    #[doc = " Rows of `cos_sin`."]
    pub num_positions: i32,
    #[doc = " Tokens a page: a power of two."]
    pub page_size: i32,
    #[doc = " Pages of the cache."]
    pub num_pages: i32,
    #[doc = " 1 where the cache is e4m3; else it has the type of `qkv`."]
    pub cache_fp8: u32,
    #[doc = " e4m3: what a stored key times is the key."]
    pub k_scale: f32,
    #[doc = " Likewise for values."]
    pub v_scale: f32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of RopeAppendKvParams"][::std::mem::size_of::<RopeAppendKvParams>() - 184usize];
    ["Alignment of RopeAppendKvParams"][::std::mem::align_of::<RopeAppendKvParams>() - 8usize];
    ["Offset of field: RopeAppendKvParams::qkv"][::std::mem::offset_of!(RopeAppendKvParams, qkv) - 0usize];
    ["Offset of field: RopeAppendKvParams::positions"]
        [::std::mem::offset_of!(RopeAppendKvParams, positions) - 8usize];
    ["Offset of field: RopeAppendKvParams::slot_mapping"]
        [::std::mem::offset_of!(RopeAppendKvParams, slot_mapping) - 16usize];
    ["Offset of field: RopeAppendKvParams::cos_sin"]
        [::std::mem::offset_of!(RopeAppendKvParams, cos_sin) - 24usize];
    ["Offset of field: RopeAppendKvParams::q_out"]
        [::std::mem::offset_of!(RopeAppendKvParams, q_out) - 32usize];
    ["Offset of field: RopeAppendKvParams::k_cache"]
        [::std::mem::offset_of!(RopeAppendKvParams, k_cache) - 40usize];
    ["Offset of field: RopeAppendKvParams::v_cache"]
        [::std::mem::offset_of!(RopeAppendKvParams, v_cache) - 48usize];
    ["Offset of field: RopeAppendKvParams::error"]
        [::std::mem::offset_of!(RopeAppendKvParams, error) - 56usize];
    ["Offset of field: RopeAppendKvParams::qkv_stride_token"]
        [::std::mem::offset_of!(RopeAppendKvParams, qkv_stride_token) - 64usize];
    ["Offset of field: RopeAppendKvParams::cos_sin_stride_row"]
        [::std::mem::offset_of!(RopeAppendKvParams, cos_sin_stride_row) - 72usize];
    ["Offset of field: RopeAppendKvParams::q_out_stride_token"]
        [::std::mem::offset_of!(RopeAppendKvParams, q_out_stride_token) - 80usize];
    ["Offset of field: RopeAppendKvParams::q_out_stride_head"]
        [::std::mem::offset_of!(RopeAppendKvParams, q_out_stride_head) - 88usize];
    ["Offset of field: RopeAppendKvParams::k_stride_page"]
        [::std::mem::offset_of!(RopeAppendKvParams, k_stride_page) - 96usize];
    ["Offset of field: RopeAppendKvParams::k_stride_slot"]
        [::std::mem::offset_of!(RopeAppendKvParams, k_stride_slot) - 104usize];
    ["Offset of field: RopeAppendKvParams::k_stride_head"]
        [::std::mem::offset_of!(RopeAppendKvParams, k_stride_head) - 112usize];
    ["Offset of field: RopeAppendKvParams::v_stride_page"]
        [::std::mem::offset_of!(RopeAppendKvParams, v_stride_page) - 120usize];
    ["Offset of field: RopeAppendKvParams::v_stride_slot"]
        [::std::mem::offset_of!(RopeAppendKvParams, v_stride_slot) - 128usize];
    ["Offset of field: RopeAppendKvParams::v_stride_head"]
        [::std::mem::offset_of!(RopeAppendKvParams, v_stride_head) - 136usize];
    ["Offset of field: RopeAppendKvParams::num_tokens"]
        [::std::mem::offset_of!(RopeAppendKvParams, num_tokens) - 144usize];
    ["Offset of field: RopeAppendKvParams::num_q_heads"]
        [::std::mem::offset_of!(RopeAppendKvParams, num_q_heads) - 148usize];
    ["Offset of field: RopeAppendKvParams::num_kv_heads"]
        [::std::mem::offset_of!(RopeAppendKvParams, num_kv_heads) - 152usize];
    ["Offset of field: RopeAppendKvParams::head_dim"]
        [::std::mem::offset_of!(RopeAppendKvParams, head_dim) - 156usize];
    ["Offset of field: RopeAppendKvParams::num_positions"]
        [::std::mem::offset_of!(RopeAppendKvParams, num_positions) - 160usize];
    ["Offset of field: RopeAppendKvParams::page_size"]
        [::std::mem::offset_of!(RopeAppendKvParams, page_size) - 164usize];
    ["Offset of field: RopeAppendKvParams::num_pages"]
        [::std::mem::offset_of!(RopeAppendKvParams, num_pages) - 168usize];
    ["Offset of field: RopeAppendKvParams::cache_fp8"]
        [::std::mem::offset_of!(RopeAppendKvParams, cache_fp8) - 172usize];
    ["Offset of field: RopeAppendKvParams::k_scale"]
        [::std::mem::offset_of!(RopeAppendKvParams, k_scale) - 176usize];
    ["Offset of field: RopeAppendKvParams::v_scale"]
        [::std::mem::offset_of!(RopeAppendKvParams, v_scale) - 180usize];
};
#[doc = " Parameters of `attention_prefill` and `attention_decode`: causal attention of a ragged batch."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct AttentionParams {
    #[doc = " `[num_tokens, num_q_heads, head_dim]`."]
    pub q: u64,
    #[doc = " Keys `[num_pages, page_size, num_kv_heads, head_dim]` by the strides below; without a page\n table\n `[rows, num_kv_heads, head_dim]`, a row being a slot."]
    pub k: u64,
    #[doc = " Values, likewise. Both in the type of `q`, or e4m3."]
    pub v: u64,
    #[doc = " `[num_tokens, num_q_heads, head_dim]`: the result. With splits, f32\n `[max_splits, num_seqs * max_q_len, num_q_heads, head_dim]`, contiguous: the result over each\n split's keys; query `j` of sequence `first_seq + i` has row `i * max_q_len + j`."]
    pub out: u64,
    #[doc = " f32 `[num_tokens, num_q_heads]`: natural logarithm of the sum of exponentials; 0 for none.\n With splits, f32 `[max_splits, num_seqs * max_q_len, num_q_heads]`, contiguous; -inf where\n there is no query or it sees no key of a split, and its part of `out` is then left as it was.\n In front of it, i32 `[num_seqs, 2]`: where each sequence's queries begin, and how many they\n are, bounded."]
    pub lse: u64,
    #[doc = " i32 `[batch + 1]`: where each sequence's queries begin."]
    pub q_indptr: u64,
    #[doc = " i32 `[batch]`: keys of each sequence."]
    pub kv_len: u64,
    #[doc = " i32 `[batch, max_pages]`: pages of each sequence; 0 where keys are contiguous."]
    pub page_table: u64,
    #[doc = " i32 `[batch + 1]`: where each sequence's keys begin, where they are contiguous; else 0."]
    pub kv_indptr: u64,
    #[doc = " u32 `[1]`: receives DEVICE_ERROR bits by an atomic or; 0 for none."]
    pub error: u64,
    #[doc = " Elements from one token of `q` to the next."]
    pub q_stride_token: i64,
    #[doc = " Elements from one head of `q` to the next."]
    pub q_stride_head: i64,
    #[doc = " Elements from one token of `out` to the next."]
    pub out_stride_token: i64,
    #[doc = " Elements from one head of `out` to the next."]
    pub out_stride_head: i64,
    #[doc = " Elements from one token of `lse` to the next."]
    pub lse_stride_token: i64,
    #[doc = " Elements from one page of keys to the next."]
    pub k_stride_page: i64,
    #[doc = " Elements from one token of a page to the next."]
    pub k_stride_slot: i64,
    #[doc = " Elements from one head of a token to the next."]
    pub k_stride_head: i64,
    #[doc = " Elements from one page of values to the next."]
    pub v_stride_page: i64,
    #[doc = " Elements from one token of a page to the next."]
    pub v_stride_slot: i64,
    #[doc = " Elements from one head of a token to the next."]
    pub v_stride_head: i64,
    #[doc = " Elements from one sequence's pages to the next's."]
    pub page_table_stride_seq: i64,
    #[doc = " Rows of `q`."]
    pub num_tokens: i32,
    #[doc = " Key and value heads."]
    pub num_kv_heads: i32,
    #[doc = " Query heads of a key/value head."]
    pub group: i32,
    #[doc = " The first sequence."]
    pub first_seq: i32,
    #[doc = " How many sequences."]
    pub num_seqs: i32,
    #[doc = " Most queries of a sequence."]
    pub max_q_len: i32,
    #[doc = " Most keys of a sequence."]
    pub max_kv_len: i32,
    #[doc = " Tokens a page: a power of two."]
    pub page_size: i32,
    #[doc = " Pages of the cache; rows of `k` where keys are contiguous."]
    pub num_pages: i32,
    #[doc = " Pages that the table has for a sequence."]
    pub max_pages: i32,
    #[doc = " Most splits of a sequence's keys; 1 writes the result itself."]
    pub max_splits: i32,
    #[doc = " Keys of a split where their number is fixed (batch-invariant mode); 0 has the kernel choose."]
    pub split_keys: i32,
    #[doc = " softmax_scale * log2(e), times the scale of the keys."]
    pub softmax_scale_log2: f32,
    #[doc = " What a stored value times is the value: 1 where the cache has the type of q."]
    pub v_scale: f32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of AttentionParams"][::std::mem::size_of::<AttentionParams>() - 232usize];
    ["Alignment of AttentionParams"][::std::mem::align_of::<AttentionParams>() - 8usize];
    ["Offset of field: AttentionParams::q"][::std::mem::offset_of!(AttentionParams, q) - 0usize];
    ["Offset of field: AttentionParams::k"][::std::mem::offset_of!(AttentionParams, k) - 8usize];
    ["Offset of field: AttentionParams::v"][::std::mem::offset_of!(AttentionParams, v) - 16usize];
    ["Offset of field: AttentionParams::out"][::std::mem::offset_of!(AttentionParams, out) - 24usize];
    ["Offset of field: AttentionParams::lse"][::std::mem::offset_of!(AttentionParams, lse) - 32usize];
    ["Offset of field: AttentionParams::q_indptr"]
        [::std::mem::offset_of!(AttentionParams, q_indptr) - 40usize];
    ["Offset of field: AttentionParams::kv_len"][::std::mem::offset_of!(AttentionParams, kv_len) - 48usize];
    ["Offset of field: AttentionParams::page_table"]
        [::std::mem::offset_of!(AttentionParams, page_table) - 56usize];
    ["Offset of field: AttentionParams::kv_indptr"]
        [::std::mem::offset_of!(AttentionParams, kv_indptr) - 64usize];
    ["Offset of field: AttentionParams::error"][::std::mem::offset_of!(AttentionParams, error) - 72usize];
    ["Offset of field: AttentionParams::q_stride_token"]
        [::std::mem::offset_of!(AttentionParams, q_stride_token) - 80usize];
    ["Offset of field: AttentionParams::q_stride_head"]
        [::std::mem::offset_of!(AttentionParams, q_stride_head) - 88usize];
    ["Offset of field: AttentionParams::out_stride_token"]
        [::std::mem::offset_of!(AttentionParams, out_stride_token) - 96usize];
    ["Offset of field: AttentionParams::out_stride_head"]
        [::std::mem::offset_of!(AttentionParams, out_stride_head) - 104usize];
    ["Offset of field: AttentionParams::lse_stride_token"]
        [::std::mem::offset_of!(AttentionParams, lse_stride_token) - 112usize];
    ["Offset of field: AttentionParams::k_stride_page"]
        [::std::mem::offset_of!(AttentionParams, k_stride_page) - 120usize];
    ["Offset of field: AttentionParams::k_stride_slot"]
        [::std::mem::offset_of!(AttentionParams, k_stride_slot) - 128usize];
    ["Offset of field: AttentionParams::k_stride_head"]
        [::std::mem::offset_of!(AttentionParams, k_stride_head) - 136usize];
    ["Offset of field: AttentionParams::v_stride_page"]
        [::std::mem::offset_of!(AttentionParams, v_stride_page) - 144usize];
    ["Offset of field: AttentionParams::v_stride_slot"]
        [::std::mem::offset_of!(AttentionParams, v_stride_slot) - 152usize];
    ["Offset of field: AttentionParams::v_stride_head"]
        [::std::mem::offset_of!(AttentionParams, v_stride_head) - 160usize];
    ["Offset of field: AttentionParams::page_table_stride_seq"]
        [::std::mem::offset_of!(AttentionParams, page_table_stride_seq) - 168usize];
    ["Offset of field: AttentionParams::num_tokens"]
        [::std::mem::offset_of!(AttentionParams, num_tokens) - 176usize];
    ["Offset of field: AttentionParams::num_kv_heads"]
        [::std::mem::offset_of!(AttentionParams, num_kv_heads) - 180usize];
    ["Offset of field: AttentionParams::group"][::std::mem::offset_of!(AttentionParams, group) - 184usize];
    ["Offset of field: AttentionParams::first_seq"]
        [::std::mem::offset_of!(AttentionParams, first_seq) - 188usize];
    ["Offset of field: AttentionParams::num_seqs"]
        [::std::mem::offset_of!(AttentionParams, num_seqs) - 192usize];
    ["Offset of field: AttentionParams::max_q_len"]
        [::std::mem::offset_of!(AttentionParams, max_q_len) - 196usize];
    ["Offset of field: AttentionParams::max_kv_len"]
        [::std::mem::offset_of!(AttentionParams, max_kv_len) - 200usize];
    ["Offset of field: AttentionParams::page_size"]
        [::std::mem::offset_of!(AttentionParams, page_size) - 204usize];
    ["Offset of field: AttentionParams::num_pages"]
        [::std::mem::offset_of!(AttentionParams, num_pages) - 208usize];
    ["Offset of field: AttentionParams::max_pages"]
        [::std::mem::offset_of!(AttentionParams, max_pages) - 212usize];
    ["Offset of field: AttentionParams::max_splits"]
        [::std::mem::offset_of!(AttentionParams, max_splits) - 216usize];
    ["Offset of field: AttentionParams::split_keys"]
        [::std::mem::offset_of!(AttentionParams, split_keys) - 220usize];
    ["Offset of field: AttentionParams::softmax_scale_log2"]
        [::std::mem::offset_of!(AttentionParams, softmax_scale_log2) - 224usize];
    ["Offset of field: AttentionParams::v_scale"]
        [::std::mem::offset_of!(AttentionParams, v_scale) - 228usize];
};
#[doc = " Parameters of `attention_combine`: `out = sum_s exp(lse_s - lse) * partial_s` with\n `lse = log(sum_s exp(lse_s))`. The rows of the partial results are those of `out`, or, with\n `queries`, query `j` of sequence `i` is row `i * max_q_len + j` of theirs and row\n `queries[i][0] + j` of `out`: rows of other sequences are left as they are."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct AttentionCombineParams {
    #[doc = " f32 `[num_splits, rows, num_heads, head_dim]`; not read where `partial_lse` is -inf."]
    pub partial_out: u64,
    #[doc = " f32 `[num_splits, rows, num_heads]`: natural logarithms."]
    pub partial_lse: u64,
    #[doc = " `[num_tokens, num_heads, head_dim]` in the activation type."]
    pub out: u64,
    #[doc = " f32 `[num_tokens, num_heads]`; 0 for none."]
    pub lse: u64,
    #[doc = " i32 `[num_seqs, 2]`: where each sequence's queries begin in `out`, and how many they are, as\n attention_decode has bounded them; 0 where the rows are those of `out`."]
    pub queries: u64,
    #[doc = " Elements from one split of `partial_out` to the next."]
    pub partial_stride_split: i64,
    #[doc = " Elements from one token of `partial_out` to the next."]
    pub partial_stride_token: i64,
    #[doc = " Elements from one head of `partial_out` to the next."]
    pub partial_stride_head: i64,
    #[doc = " Elements from one split of `partial_lse` to the next."]
    pub partial_lse_stride_split: i64,
    #[doc = " Elements from one token of `partial_lse` to the next."]
    pub partial_lse_stride_token: i64,
    #[doc = " Elements from one token of `out` to the next."]
    pub out_stride_token: i64,
    #[doc = " Elements from one head of `out` to the next."]
    pub out_stride_head: i64,
    #[doc = " Elements from one token of `lse` to the next."]
    pub lse_stride_token: i64,
    #[doc = " Parts of each output."]
    pub num_splits: i32,
    #[doc = " Rows of `out`."]
    pub num_tokens: i32,
    #[doc = " Query heads."]
    pub num_heads: i32,
    #[doc = " Elements of a head: a multiple of VECTOR_ELEMENTS."]
    pub head_dim: i32,
    #[doc = " With `queries`: how many sequences."]
    pub num_seqs: i32,
    #[doc = " With `queries`: most queries of a sequence."]
    pub max_q_len: i32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of AttentionCombineParams"][::std::mem::size_of::<AttentionCombineParams>() - 128usize];
    ["Alignment of AttentionCombineParams"][::std::mem::align_of::<AttentionCombineParams>() - 8usize];
    ["Offset of field: AttentionCombineParams::partial_out"]
        [::std::mem::offset_of!(AttentionCombineParams, partial_out) - 0usize];
    ["Offset of field: AttentionCombineParams::partial_lse"]
        [::std::mem::offset_of!(AttentionCombineParams, partial_lse) - 8usize];
    ["Offset of field: AttentionCombineParams::out"]
        [::std::mem::offset_of!(AttentionCombineParams, out) - 16usize];
    ["Offset of field: AttentionCombineParams::lse"]
        [::std::mem::offset_of!(AttentionCombineParams, lse) - 24usize];
    ["Offset of field: AttentionCombineParams::queries"]
        [::std::mem::offset_of!(AttentionCombineParams, queries) - 32usize];
    ["Offset of field: AttentionCombineParams::partial_stride_split"]
        [::std::mem::offset_of!(AttentionCombineParams, partial_stride_split) - 40usize];
    ["Offset of field: AttentionCombineParams::partial_stride_token"]
        [::std::mem::offset_of!(AttentionCombineParams, partial_stride_token) - 48usize];
    ["Offset of field: AttentionCombineParams::partial_stride_head"]
        [::std::mem::offset_of!(AttentionCombineParams, partial_stride_head) - 56usize];
    ["Offset of field: AttentionCombineParams::partial_lse_stride_split"]
        [::std::mem::offset_of!(AttentionCombineParams, partial_lse_stride_split) - 64usize];
    ["Offset of field: AttentionCombineParams::partial_lse_stride_token"]
        [::std::mem::offset_of!(AttentionCombineParams, partial_lse_stride_token) - 72usize];
    ["Offset of field: AttentionCombineParams::out_stride_token"]
        [::std::mem::offset_of!(AttentionCombineParams, out_stride_token) - 80usize];
    ["Offset of field: AttentionCombineParams::out_stride_head"]
        [::std::mem::offset_of!(AttentionCombineParams, out_stride_head) - 88usize];
    ["Offset of field: AttentionCombineParams::lse_stride_token"]
        [::std::mem::offset_of!(AttentionCombineParams, lse_stride_token) - 96usize];
    ["Offset of field: AttentionCombineParams::num_splits"]
        [::std::mem::offset_of!(AttentionCombineParams, num_splits) - 104usize];
    ["Offset of field: AttentionCombineParams::num_tokens"]
        [::std::mem::offset_of!(AttentionCombineParams, num_tokens) - 108usize];
    ["Offset of field: AttentionCombineParams::num_heads"]
        [::std::mem::offset_of!(AttentionCombineParams, num_heads) - 112usize];
    ["Offset of field: AttentionCombineParams::head_dim"]
        [::std::mem::offset_of!(AttentionCombineParams, head_dim) - 116usize];
    ["Offset of field: AttentionCombineParams::num_seqs"]
        [::std::mem::offset_of!(AttentionCombineParams, num_seqs) - 120usize];
    ["Offset of field: AttentionCombineParams::max_q_len"]
        [::std::mem::offset_of!(AttentionCombineParams, max_q_len) - 124usize];
};
#[doc = " The bias, if there is one."]
pub const MATMUL_EPILOGUE_NONE: MatmulEpilogue = 0;
#[doc = " The bias, then `silu(gate) * up`; rows of the weight are interleaved in blocks of\n MATMUL_SWIGLU_BLOCK: so many of gate, as many of up, and so on."]
pub const MATMUL_EPILOGUE_SWIGLU: MatmulEpilogue = 1;
#[doc = " What follows the sum of a matmul."]
pub type MatmulEpilogue = ::std::os::raw::c_uint;
#[doc = " Parameters of `matmul`: `out[m,n] = epilogue(sum_k x[m,k] * weight[n,k] + bias[n])`."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct MatmulParams {
    #[doc = " `[m, k]` in the activation type."]
    pub x: u64,
    #[doc = " `[n, k]` in the activation type."]
    pub weight: u64,
    #[doc = " `[n]` in the activation type; 0 for none."]
    pub bias: u64,
    #[doc = " `[m, n]`, with MATMUL_EPILOGUE_SWIGLU `[m, n / 2]`: in the activation type, or f32 as\n `out_f32` says."]
    pub out: u64,
    #[doc = " Where blocks that share a tile leave their partial sums: counters, zero before the launch and\n after it, then f32 (common/split_work.cuh). 0 where no tile is shared."]
    pub workspace: u64,
    #[doc = " Elements from one row of `x` to the next."]
    pub x_stride_row: i64,
    #[doc = " Elements from one row of `weight` to the next."]
    pub weight_stride_row: i64,
    #[doc = " Elements from one row of `out` to the next."]
    pub out_stride_row: i64,
    #[doc = " Rows of `x`: tokens."]
    pub m: i32,
    #[doc = " Rows of `weight`."]
    pub n: i32,
    #[doc = " Elements of the inner dimension: a multiple of VECTOR_ELEMENTS."]
    pub k: i32,
    #[doc = " One of MatmulEpilogue."]
    pub epilogue: u32,
    #[doc = " 1 where `out` is f32."]
    pub out_f32: u32,
    #[doc = " Zero."]
    pub padding: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of MatmulParams"][::std::mem::size_of::<MatmulParams>() - 88usize];
    ["Alignment of MatmulParams"][::std::mem::align_of::<MatmulParams>() - 8usize];
    ["Offset of field: MatmulParams::x"][::std::mem::offset_of!(MatmulParams, x) - 0usize];
    ["Offset of field: MatmulParams::weight"][::std::mem::offset_of!(MatmulParams, weight) - 8usize];
    ["Offset of field: MatmulParams::bias"][::std::mem::offset_of!(MatmulParams, bias) - 16usize];
    ["Offset of field: MatmulParams::out"][::std::mem::offset_of!(MatmulParams, out) - 24usize];
    ["Offset of field: MatmulParams::workspace"][::std::mem::offset_of!(MatmulParams, workspace) - 32usize];
    ["Offset of field: MatmulParams::x_stride_row"]
        [::std::mem::offset_of!(MatmulParams, x_stride_row) - 40usize];
    ["Offset of field: MatmulParams::weight_stride_row"]
        [::std::mem::offset_of!(MatmulParams, weight_stride_row) - 48usize];
    ["Offset of field: MatmulParams::out_stride_row"]
        [::std::mem::offset_of!(MatmulParams, out_stride_row) - 56usize];
    ["Offset of field: MatmulParams::m"][::std::mem::offset_of!(MatmulParams, m) - 64usize];
    ["Offset of field: MatmulParams::n"][::std::mem::offset_of!(MatmulParams, n) - 68usize];
    ["Offset of field: MatmulParams::k"][::std::mem::offset_of!(MatmulParams, k) - 72usize];
    ["Offset of field: MatmulParams::epilogue"][::std::mem::offset_of!(MatmulParams, epilogue) - 76usize];
    ["Offset of field: MatmulParams::out_f32"][::std::mem::offset_of!(MatmulParams, out_f32) - 80usize];
    ["Offset of field: MatmulParams::padding"][::std::mem::offset_of!(MatmulParams, padding) - 84usize];
};
#[doc = " In the 16-bit type of x: the scales are in that type, zeros are integers from 0 to 16."]
pub const MATMUL_INT4_EXACT_16: Int4Arithmetic = 0;
#[doc = " In f32, with one fma: x is bf16, the scales are f16, zeros are integers from 0 to 16."]
pub const MATMUL_INT4_EXACT_32: Int4Arithmetic = 1;
#[doc = " In f32, step by step: any scales and zeros."]
pub const MATMUL_INT4_ROUNDED: Int4Arithmetic = 2;
#[doc = " How the values of 4-bit codes are computed: the same bits in each way that a weight allows."]
pub type Int4Arithmetic = ::std::os::raw::c_uint;
#[doc = " Parameters of `matmul_int4`: `matmul` with weights `(code - zero) * scale`, rounded to the\n activation type."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct MatmulInt4Params {
    #[doc = " As for `matmul`, but for `weight`: codes u8 `[ceil(n / 16)][ceil(k / 64)][32 lanes][16]`, in\n the order of fragments that quant::int4::Packed describes; `weight_stride_row` is 0. `n` is a\n multiple of 8, `k` of 16."]
    pub matmul: MatmulParams,
    #[doc = " `[ceil(n / 16)][groups][1 or 2][8][2]`: the scales of the rows g and g + 8 side by side,\n behind the 16 of a group its zeros where there are zeros."]
    pub scales: u64,
    #[doc = " Groups of a row."]
    pub groups: i32,
    #[doc = " Column `c` is of group `c >> group_shift`: 5, 6 or 7, or 31 where a row is one group."]
    pub group_shift: i32,
    #[doc = " 1 where there are zeros; else they are 8."]
    pub zeros: u32,
    #[doc = " 1 where scales and zeros are f16, 0 where they are bf16."]
    pub scales_f16: u32,
    #[doc = " One of Int4Arithmetic."]
    pub arithmetic: u32,
    #[doc = " Zero."]
    pub padding: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of MatmulInt4Params"][::std::mem::size_of::<MatmulInt4Params>() - 120usize];
    ["Alignment of MatmulInt4Params"][::std::mem::align_of::<MatmulInt4Params>() - 8usize];
    ["Offset of field: MatmulInt4Params::matmul"][::std::mem::offset_of!(MatmulInt4Params, matmul) - 0usize];
    ["Offset of field: MatmulInt4Params::scales"][::std::mem::offset_of!(MatmulInt4Params, scales) - 88usize];
    ["Offset of field: MatmulInt4Params::groups"][::std::mem::offset_of!(MatmulInt4Params, groups) - 96usize];
    ["Offset of field: MatmulInt4Params::group_shift"]
        [::std::mem::offset_of!(MatmulInt4Params, group_shift) - 100usize];
    ["Offset of field: MatmulInt4Params::zeros"][::std::mem::offset_of!(MatmulInt4Params, zeros) - 104usize];
    ["Offset of field: MatmulInt4Params::scales_f16"]
        [::std::mem::offset_of!(MatmulInt4Params, scales_f16) - 108usize];
    ["Offset of field: MatmulInt4Params::arithmetic"]
        [::std::mem::offset_of!(MatmulInt4Params, arithmetic) - 112usize];
    ["Offset of field: MatmulInt4Params::padding"]
        [::std::mem::offset_of!(MatmulInt4Params, padding) - 116usize];
};
#[doc = " Parameters of `matmul_fp8`: `matmul` of e4m3 codes and their scales."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct MatmulFp8Params {
    #[doc = " As for `matmul`, but for `x` and `weight`, which are e4m3, and their strides, which are in\n bytes. `n` is a multiple of 8, `k` of 16. With `out_scale`, `out` is e4m3 too."]
    pub matmul: MatmulParams,
    #[doc = " f32: of the token `m` and the columns `c` at\n `m * x_scale_stride_row + c / FP8_GROUP_COLUMNS * x_scale_stride_group`."]
    pub x_scale: u64,
    #[doc = " f32: of the row `n`, or its block, and the columns `c`, likewise."]
    pub weight_scale: u64,
    #[doc = " Elements from one token's scales to the next; 0 where all have one."]
    pub x_scale_stride_row: i64,
    #[doc = " Elements from the scale of FP8_GROUP_COLUMNS columns to the next; 0 where they have one."]
    pub x_scale_stride_group: i64,
    #[doc = " Elements from one row's scales to the next, or from one block of FP8_GROUP_COLUMNS rows to the\n next where `block_scales` is 1 (with MATMUL_EPILOGUE_SWIGLU the blocks of gate, then those of\n up); 0 where all have one."]
    pub weight_scale_stride_row: i64,
    #[doc = " Elements from the scale of FP8_GROUP_COLUMNS columns to the next; 0 where they have one."]
    pub weight_scale_stride_group: i64,
    #[doc = " 1 where scales are of FP8_GROUP_COLUMNS columns: those of x for each token, those of the\n weight for as many rows."]
    pub block_scales: u32,
    #[doc = " 1 where sums may stay in the accumulators of the tensor cores for all of k."]
    pub fast_accumulation: u32,
    #[doc = " f32 `[m, n / 2 / FP8_GROUP_COLUMNS]`, with MATMUL_EPILOGUE_SWIGLU: the scales of the results,\n which are rounded and quantised; 0 where they are not."]
    pub out_scale: u64,
    #[doc = " Elements from one row's `out_scale` to the next."]
    pub out_scale_stride_row: i64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of MatmulFp8Params"][::std::mem::size_of::<MatmulFp8Params>() - 160usize];
    ["Alignment of MatmulFp8Params"][::std::mem::align_of::<MatmulFp8Params>() - 8usize];
    ["Offset of field: MatmulFp8Params::matmul"][::std::mem::offset_of!(MatmulFp8Params, matmul) - 0usize];
    ["Offset of field: MatmulFp8Params::x_scale"][::std::mem::offset_of!(MatmulFp8Params, x_scale) - 88usize];
    ["Offset of field: MatmulFp8Params::weight_scale"]
        [::std::mem::offset_of!(MatmulFp8Params, weight_scale) - 96usize];
    ["Offset of field: MatmulFp8Params::x_scale_stride_row"]
        [::std::mem::offset_of!(MatmulFp8Params, x_scale_stride_row) - 104usize];
    ["Offset of field: MatmulFp8Params::x_scale_stride_group"]
        [::std::mem::offset_of!(MatmulFp8Params, x_scale_stride_group) - 112usize];
    ["Offset of field: MatmulFp8Params::weight_scale_stride_row"]
        [::std::mem::offset_of!(MatmulFp8Params, weight_scale_stride_row) - 120usize];
    ["Offset of field: MatmulFp8Params::weight_scale_stride_group"]
        [::std::mem::offset_of!(MatmulFp8Params, weight_scale_stride_group) - 128usize];
    ["Offset of field: MatmulFp8Params::block_scales"]
        [::std::mem::offset_of!(MatmulFp8Params, block_scales) - 136usize];
    ["Offset of field: MatmulFp8Params::fast_accumulation"]
        [::std::mem::offset_of!(MatmulFp8Params, fast_accumulation) - 140usize];
    ["Offset of field: MatmulFp8Params::out_scale"]
        [::std::mem::offset_of!(MatmulFp8Params, out_scale) - 144usize];
    ["Offset of field: MatmulFp8Params::out_scale_stride_row"]
        [::std::mem::offset_of!(MatmulFp8Params, out_scale_stride_row) - 152usize];
};
#[doc = " Parameters of `sample`: chooses a token from each row of logits."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct SampleParams {
    #[doc = " f32 `[num_rows, vocab_size]`."]
    pub logits: u64,
    #[doc = " SampleRow `[num_rows]`."]
    pub rows: u64,
    #[doc = " u32 `[num_seen, ceil(vocab_size / 32)]`: bitmaps of seen tokens, to which the sampled ones are\n added."]
    pub seen: u64,
    #[doc = " i32 `[num_rows]`: the token; -1 where no logit is above -inf."]
    pub out: u64,
    #[doc = " u32 `[1]`: receives DEVICE_ERROR bits by an atomic or; 0 for none."]
    pub error: u64,
    #[doc = " Elements from one row of `logits` to the next."]
    pub logits_stride_row: i64,
    #[doc = " Elements from one row of `seen` to the next."]
    pub seen_stride_row: i64,
    #[doc = " Rows of `logits`."]
    pub num_rows: i32,
    #[doc = " Elements of a row."]
    pub vocab_size: i32,
    #[doc = " Rows of `seen`."]
    pub num_seen: i32,
    #[doc = " Zero."]
    pub padding: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of SampleParams"][::std::mem::size_of::<SampleParams>() - 72usize];
    ["Alignment of SampleParams"][::std::mem::align_of::<SampleParams>() - 8usize];
    ["Offset of field: SampleParams::logits"][::std::mem::offset_of!(SampleParams, logits) - 0usize];
    ["Offset of field: SampleParams::rows"][::std::mem::offset_of!(SampleParams, rows) - 8usize];
    ["Offset of field: SampleParams::seen"][::std::mem::offset_of!(SampleParams, seen) - 16usize];
    ["Offset of field: SampleParams::out"][::std::mem::offset_of!(SampleParams, out) - 24usize];
    ["Offset of field: SampleParams::error"][::std::mem::offset_of!(SampleParams, error) - 32usize];
    ["Offset of field: SampleParams::logits_stride_row"]
        [::std::mem::offset_of!(SampleParams, logits_stride_row) - 40usize];
    ["Offset of field: SampleParams::seen_stride_row"]
        [::std::mem::offset_of!(SampleParams, seen_stride_row) - 48usize];
    ["Offset of field: SampleParams::num_rows"][::std::mem::offset_of!(SampleParams, num_rows) - 56usize];
    ["Offset of field: SampleParams::vocab_size"][::std::mem::offset_of!(SampleParams, vocab_size) - 60usize];
    ["Offset of field: SampleParams::num_seen"][::std::mem::offset_of!(SampleParams, num_seen) - 64usize];
    ["Offset of field: SampleParams::padding"][::std::mem::offset_of!(SampleParams, padding) - 68usize];
};
#[doc = " Parameters of `ceiling_read` and `ceiling_copy`, and of `ceiling_empty`, which looks at none of\n them."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct CeilingMemoryParams {
    #[doc = " 16-byte vectors `[num_vectors]`."]
    pub source: u64,
    #[doc = " ceiling_read: u32 `[blocks]`, the exclusive or of all words that a block has read.\n ceiling_copy: `[num_vectors]`."]
    pub out: u64,
    #[doc = " Vectors of `source`."]
    pub num_vectors: i64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of CeilingMemoryParams"][::std::mem::size_of::<CeilingMemoryParams>() - 24usize];
    ["Alignment of CeilingMemoryParams"][::std::mem::align_of::<CeilingMemoryParams>() - 8usize];
    ["Offset of field: CeilingMemoryParams::source"]
        [::std::mem::offset_of!(CeilingMemoryParams, source) - 0usize];
    ["Offset of field: CeilingMemoryParams::out"][::std::mem::offset_of!(CeilingMemoryParams, out) - 8usize];
    ["Offset of field: CeilingMemoryParams::num_vectors"]
        [::std::mem::offset_of!(CeilingMemoryParams, num_vectors) - 16usize];
};
#[doc = " Parameters of `ceiling_mma` and `ceiling_wgmma`: `out[i,m,n] = rounds * sum_k a[m,k] * b[n,k]`\n for each i."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct CeilingTensorParams {
    #[doc = " `[M, K]` in the 16-bit type."]
    pub a: u64,
    #[doc = " `[N, K]` in the 16-bit type."]
    pub b: u64,
    #[doc = " f32 `[products, M, N]`: one of each warp of ceiling_mma, of each block of ceiling_wgmma."]
    pub out: u64,
    #[doc = " How often the product is added: for ceiling_mma a multiple of CEILING_MMA_UNROLL."]
    pub rounds: i32,
    #[doc = " Zero."]
    pub padding: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of CeilingTensorParams"][::std::mem::size_of::<CeilingTensorParams>() - 32usize];
    ["Alignment of CeilingTensorParams"][::std::mem::align_of::<CeilingTensorParams>() - 8usize];
    ["Offset of field: CeilingTensorParams::a"][::std::mem::offset_of!(CeilingTensorParams, a) - 0usize];
    ["Offset of field: CeilingTensorParams::b"][::std::mem::offset_of!(CeilingTensorParams, b) - 8usize];
    ["Offset of field: CeilingTensorParams::out"][::std::mem::offset_of!(CeilingTensorParams, out) - 16usize];
    ["Offset of field: CeilingTensorParams::rounds"]
        [::std::mem::offset_of!(CeilingTensorParams, rounds) - 24usize];
    ["Offset of field: CeilingTensorParams::padding"]
        [::std::mem::offset_of!(CeilingTensorParams, padding) - 28usize];
};
