//! Parameters of the kernels as they lie in device memory, and the constants that a kernel and its plan share.
//!
//! Written by `cargo xtask bindgen` from `cuda/params.h`: change that file, not this one. Addresses are device addresses,
//! strides are in elements; every byte has a name, so that a struct may be handled as bytes.

#[doc = " Elements of a 16-bit type in one 16-byte access."]
pub const VECTOR_ELEMENTS: Tile = 8;
#[doc = " 16-byte vectors that a thread of a row kernel (embed and the norms) holds in registers."]
pub const ROW_VECTORS_PER_THREAD: Tile = 4;
#[doc = " Rows of a block of a row kernel where one warp is enough for a row."]
pub const ROWS_PER_BLOCK: Tile = 4;
#[doc = " Threads of a block of silu_and_mul."]
pub const SILU_AND_MUL_THREADS: Tile = 128;
#[doc = " 16-byte vectors of the output that a thread of silu_and_mul makes."]
pub const SILU_AND_MUL_VECTORS_PER_THREAD: Tile = 2;
#[doc = " Constants that a kernel and the plan of its launch share."]
pub type Tile = ::std::os::raw::c_uint;
#[doc = " A token id lay outside the embedding table; its row was filled with zeros."]
pub const DEVICE_ERROR_TOKEN_ID: DeviceError = 1;
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
    #[doc = " u32 `[1]`: receives DEVICE_ERROR_TOKEN_ID by an atomic or; 0 for none."]
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
    #[doc = " Zero."]
    pub padding: u32,
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
    ["Offset of field: EmbedParams::padding"][::std::mem::offset_of!(EmbedParams, padding) - 60usize];
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
    ["Size of RmsNormParams"][::std::mem::size_of::<RmsNormParams>() - 56usize];
    ["Alignment of RmsNormParams"][::std::mem::align_of::<RmsNormParams>() - 8usize];
    ["Offset of field: RmsNormParams::x"][::std::mem::offset_of!(RmsNormParams, x) - 0usize];
    ["Offset of field: RmsNormParams::weight"][::std::mem::offset_of!(RmsNormParams, weight) - 8usize];
    ["Offset of field: RmsNormParams::out"][::std::mem::offset_of!(RmsNormParams, out) - 16usize];
    ["Offset of field: RmsNormParams::x_stride_token"]
        [::std::mem::offset_of!(RmsNormParams, x_stride_token) - 24usize];
    ["Offset of field: RmsNormParams::out_stride_token"]
        [::std::mem::offset_of!(RmsNormParams, out_stride_token) - 32usize];
    ["Offset of field: RmsNormParams::num_tokens"]
        [::std::mem::offset_of!(RmsNormParams, num_tokens) - 40usize];
    ["Offset of field: RmsNormParams::hidden"][::std::mem::offset_of!(RmsNormParams, hidden) - 44usize];
    ["Offset of field: RmsNormParams::eps"][::std::mem::offset_of!(RmsNormParams, eps) - 48usize];
    ["Offset of field: RmsNormParams::padding"][::std::mem::offset_of!(RmsNormParams, padding) - 52usize];
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
    ["Size of AddRmsNormParams"][::std::mem::size_of::<AddRmsNormParams>() - 72usize];
    ["Alignment of AddRmsNormParams"][::std::mem::align_of::<AddRmsNormParams>() - 8usize];
    ["Offset of field: AddRmsNormParams::x"][::std::mem::offset_of!(AddRmsNormParams, x) - 0usize];
    ["Offset of field: AddRmsNormParams::residual"]
        [::std::mem::offset_of!(AddRmsNormParams, residual) - 8usize];
    ["Offset of field: AddRmsNormParams::weight"][::std::mem::offset_of!(AddRmsNormParams, weight) - 16usize];
    ["Offset of field: AddRmsNormParams::out"][::std::mem::offset_of!(AddRmsNormParams, out) - 24usize];
    ["Offset of field: AddRmsNormParams::x_stride_token"]
        [::std::mem::offset_of!(AddRmsNormParams, x_stride_token) - 32usize];
    ["Offset of field: AddRmsNormParams::residual_stride_token"]
        [::std::mem::offset_of!(AddRmsNormParams, residual_stride_token) - 40usize];
    ["Offset of field: AddRmsNormParams::out_stride_token"]
        [::std::mem::offset_of!(AddRmsNormParams, out_stride_token) - 48usize];
    ["Offset of field: AddRmsNormParams::num_tokens"]
        [::std::mem::offset_of!(AddRmsNormParams, num_tokens) - 56usize];
    ["Offset of field: AddRmsNormParams::hidden"][::std::mem::offset_of!(AddRmsNormParams, hidden) - 60usize];
    ["Offset of field: AddRmsNormParams::eps"][::std::mem::offset_of!(AddRmsNormParams, eps) - 64usize];
    ["Offset of field: AddRmsNormParams::padding"]
        [::std::mem::offset_of!(AddRmsNormParams, padding) - 68usize];
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
