//! The operations that a Llama forward pass is made of, as a trait that every device implements.
//!
//! The forward pass (`model::forward`) is written once over [`Backend`]; the CPU reference implements it in
//! [`crate::reference`], a GPU in [`Gpu`]. Arguments are the kernels' contracts: `T` is the number of tokens in the flat list of a step,
//! `D` the hidden size, `Hq` and `Hkv` the numbers of query and key/value heads, `hd` the head dimension, `V` the
//! vocabulary. All tensors are row-major with last stride 1. An operation checks its arguments before it computes
//! anything; `T` may be 0.
//!
//! **Rounding.** An operation computes in the device's accumulation type and rounds where it stores: the element type of
//! an activation is its precision. On the CPU f32 activations make the reference, and activations in the checkpoint's
//! 16-bit type round exactly where a GPU stores 16 bits.

#[cfg(feature = "kernels")]
mod gpu;
mod weight;

use std::ops::Range;

use crate::Result;
use crate::tensor::{DType, HostTensor, Tensor, View, ViewMut};

#[cfg(feature = "kernels")]
pub use gpu::{CHECK_DATA_VARIABLE, Gpu, GpuOptions, GpuWeight};
pub use weight::{CacheFormat, RowOrder, WeightFormat, WeightSource};
pub(crate) use weight::{WeightShape, check_bytes};

/// A sequence that brings at most this many tokens to a step (one, or speculative ones) is a decode: its attention reads the
/// cache once for all of them.
pub const MAX_DECODE_TOKENS: usize = 8;

/// Sizes of one step that the host knows: they size grids and workspaces. The lengths themselves are read on the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StepBounds {
    /// Tokens in the flat list.
    pub num_tokens: usize,
    /// Sequences in the batch.
    pub batch: usize,
    /// How many sequences, the first ones, are decodes.
    pub num_decodes: usize,
    /// Upper bound of the tokens that one sequence brings.
    pub max_q_len: usize,
    /// Upper bound of the tokens that one sequence has in the cache after this step.
    pub max_kv_len: usize,
    /// Rows whose logits are wanted.
    pub num_logits: usize,
}

/// Widths of a model, for workspaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelDims {
    /// Width of the residual stream, `D`.
    pub hidden_size: usize,
    /// Width between the two halves of the MLP.
    pub intermediate_size: usize,
    /// Query heads, `Hq`.
    pub num_q_heads: usize,
    /// Key and value heads, `Hkv`.
    pub num_kv_heads: usize,
    /// Elements of a head, `hd`.
    pub head_dim: usize,
    /// Rows of the output head, `V`.
    pub vocab_size: usize,
}

/// An activation to read: as it is, or quantised to fp8.
#[derive(Debug)]
#[non_exhaustive]
pub enum Activation<'a, T> {
    /// `[T, k]` in the activation's element type.
    Native(View<'a, T>),
    /// `codes * scale`.
    Fp8 {
        /// e4m3 `[T, k]`.
        codes: View<'a, T>,
        /// f32 `[T, g]`: each scale covers `k / g` neighbouring columns. `g` is 1 (per token) or `k / 128`.
        scale: View<'a, T>,
    },
}

impl<T> Clone for Activation<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Activation<'_, T> {}

/// An activation to write: as it is, or quantised to fp8. The shapes are those of [`Activation`].
#[derive(Debug)]
#[non_exhaustive]
pub enum ActivationMut<'a, T> {
    /// `[T, k]` in the activation's element type.
    Native(ViewMut<'a, T>),
    /// Rounded to the model's type first, then quantised: `scale = absmax / 448` over the columns that it covers, 1 where they
    /// are all zero; `code = round(x / scale)` to nearest even, saturating.
    Fp8 {
        /// e4m3 `[T, k]`.
        codes: ViewMut<'a, T>,
        /// f32 `[T, g]`, `g` 1 or `k / 128`.
        scale: ViewMut<'a, T>,
        /// The type that the value is rounded to before it is quantised.
        rounded_to: DType,
    },
}

/// What follows the sum of a matmul.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Epilogue {
    /// Nothing but the weight's bias, if it has one.
    #[default]
    None,
    /// `silu(gate) * up` over a weight of [`RowOrder::GateUp`], biases added first; the output is half as wide.
    SwiGlu,
}

/// `out[t,:] = table[ids[t],:]`.
#[derive(Debug)]
pub struct Embed<'a, T, W> {
    /// i32 `[T]`, within `0..V`. What only a device can know it bounds, and never reads outside the table.
    pub ids: View<'a, T>,
    /// `[V, D]`.
    pub table: &'a W,
    /// `[T, D]`.
    pub out: ViewMut<'a, T>,
}

/// `out[r,:] = x[rows[r],:]`.
#[derive(Debug)]
pub struct GatherRows<'a, T> {
    /// `[T, D]`.
    pub x: View<'a, T>,
    /// i32 `[R]`, within `0..T`.
    pub rows: View<'a, T>,
    /// `[R, D]`.
    pub out: ViewMut<'a, T>,
}

/// `out = round(x * rsqrt(mean(x^2) + eps)) * weight` over each row; `round` is to the output's type.
#[derive(Debug)]
pub struct RmsNorm<'a, T> {
    /// `[T, D]`.
    pub x: View<'a, T>,
    /// `[D]`.
    pub weight: View<'a, T>,
    /// Added to the mean of squares.
    pub eps: f32,
    /// `[T, D]`.
    pub out: ActivationMut<'a, T>,
}

/// `residual += x`, rounded and stored, then the norm of the stored residual, as in [`RmsNorm`].
#[derive(Debug)]
pub struct AddRmsNorm<'a, T> {
    /// `[T, D]`.
    pub x: View<'a, T>,
    /// `[T, D]`, read and written.
    pub residual: ViewMut<'a, T>,
    /// `[D]`.
    pub weight: View<'a, T>,
    /// Added to the mean of squares.
    pub eps: f32,
    /// `[T, D]`.
    pub out: ActivationMut<'a, T>,
}

/// Quantises an activation to fp8.
#[derive(Debug)]
pub struct QuantizeFp8<'a, T> {
    /// `[T, k]`.
    pub x: View<'a, T>,
    /// [`ActivationMut::Fp8`].
    pub out: ActivationMut<'a, T>,
}

/// `y[m,n] = epilogue(sum_k x[m,k] * w[n,k])`.
#[derive(Debug)]
pub struct Matmul<'a, T, W> {
    /// `[M, K]`.
    pub x: Activation<'a, T>,
    /// `[N, K]` with its bias. One in [`WeightFormat::Fp8`] takes fp8 activations with one scale a token.
    pub weight: &'a W,
    /// What follows the sum.
    pub epilogue: Epilogue,
    /// `[M, N]`, `[M, N / 2]` with [`Epilogue::SwiGlu`]; f32 for logits.
    pub out: ActivationMut<'a, T>,
}

/// The keys or values of one layer's paged cache, and their scale where they are fp8.
#[derive(Debug)]
pub struct PagedCache<'a, T> {
    /// Keys `[pages, page_size, Hkv, hd]` with any strides but the last (NHD and HND are both of this form).
    pub k: View<'a, T>,
    /// Values, likewise.
    pub v: View<'a, T>,
    /// A stored fp8 key times this is the key; 1 for other types.
    pub k_scale: f32,
    /// Likewise for values.
    pub v_scale: f32,
}

/// A [`PagedCache`] to write into.
#[derive(Debug)]
pub struct PagedCacheMut<'a, T> {
    /// Keys `[pages, page_size, Hkv, hd]`.
    pub k: ViewMut<'a, T>,
    /// Values, likewise.
    pub v: ViewMut<'a, T>,
    /// Keys are stored as `saturate(k / k_scale)` in an fp8 cache; 1 for other types.
    pub k_scale: f32,
    /// Likewise for values.
    pub v_scale: f32,
}

/// Rotates queries and keys, writes the queries out, and keys and values into their slots of the cache.
///
/// Element `i` of a head is paired with element `i + hd/2` (Hugging Face's order): with the row `p = positions[t]` of the table,
/// `out[i] = x[i]*cos[p,i] - x[i+hd/2]*sin[p,i]` and `out[i+hd/2] = x[i+hd/2]*cos[p,i] + x[i]*sin[p,i]`.
#[derive(Debug)]
pub struct RopeAppendKv<'a, T> {
    /// `[T, (Hq + 2*Hkv) * hd]`: q, k, v.
    pub qkv: View<'a, T>,
    /// i32 `[T]`: rows of `cos_sin`.
    pub positions: View<'a, T>,
    /// i64 `[T]`: `page * page_size + offset`; negative: keys and values of this token are not stored.
    pub slot_mapping: View<'a, T>,
    /// f32 `[P, hd]`: `hd/2` cosines, then `hd/2` sines, with any scaling already in them.
    pub cos_sin: View<'a, T>,
    /// `[T, Hq, hd]`.
    pub q_out: ViewMut<'a, T>,
    /// Where keys and values go.
    pub cache: PagedCacheMut<'a, T>,
}

/// Causal attention of a ragged batch over a paged cache that already holds the step's own keys and values.
///
/// Sequence `s` brings the queries `q_indptr[s]..q_indptr[s+1]`; its query `j` of `q_len` sees the keys
/// `0..kv_len[s] - q_len + j + 1`, which stand in the pages `page_table[s,:]`. Query head `h` uses key/value head
/// `h / (Hq / Hkv)`.
#[derive(Debug)]
pub struct Attention<'a, T> {
    /// `[T, Hq, hd]`.
    pub q: View<'a, T>,
    /// Keys and values.
    pub cache: PagedCache<'a, T>,
    /// i32 `[batch + 1]`, starting with 0, ending with `T`.
    pub q_indptr: View<'a, T>,
    /// i32 `[batch]`.
    pub kv_len: View<'a, T>,
    /// i32 `[batch, max_pages]`.
    pub page_table: View<'a, T>,
    /// Which sequences of the batch: the decodes, or the rest.
    pub sequences: Range<usize>,
    /// Host-side bounds of the step.
    pub bounds: StepBounds,
    /// Scores are multiplied by this before the softmax.
    pub softmax_scale: f32,
    /// `[T, Hq, hd]`; only the rows of `sequences` are written.
    pub out: ViewMut<'a, T>,
    /// f32 `[T, Hq]`: natural logarithm of the sum of exponentials, -inf where no key is seen.
    pub lse: Option<ViewMut<'a, T>>,
}

/// Chooses a token from each row of logits.
#[derive(Debug)]
pub struct Sample<'a, T> {
    /// f32 `[R, V]`.
    pub logits: View<'a, T>,
    /// Bytes `[R, size]`: one [`crate::params::SampleRow`] a row of logits.
    pub rows: View<'a, T>,
    /// u32 `[S, ceil(V / 32)]`: bit `i % 32` of word `i / 32` is set where token `i` has been seen. The sampled token is added.
    pub seen: ViewMut<'a, T>,
    /// i32 `[R]`.
    pub out: ViewMut<'a, T>,
}

/// A device that runs the forward pass: its memory, its form of the weights, and its operations.
pub trait Backend: Sized {
    /// Memory of the device.
    type Buffer;
    /// A linear weight in the order that the device's matmul wants.
    type Weight;

    /// What a user calls this device: "CPU, 8 threads".
    fn description(&self) -> String;

    /// How many kernels the device has launched so far; `None` where there is nothing to launch.
    fn kernel_launches(&self) -> Option<u64> {
        None
    }

    /// Told first of all: the widths of the model, and the element type of its checkpoint. Returns that of activations and
    /// KV cache. [`Error::Unsupported`](crate::Error::Unsupported) for a model that this device does not run, before any
    /// weight is read.
    fn prepare(&mut self, dims: &ModelDims, checkpoint: DType) -> Result<DType>;

    /// [`Error::Unsupported`](crate::Error::Unsupported) where the device cannot hold linear weights or a cache of the model
    /// in this form; asked behind [`Backend::prepare`], before any weight is read.
    fn check_formats(&self, weights: WeightFormat, cache: CacheFormat) -> Result<()>;

    /// Told once, after [`Backend::prepare`] and before the first step: the form of the cache, and that no step exceeds
    /// `bounds`. Workspaces are allocated here.
    fn reserve(&mut self, dims: &ModelDims, cache: CacheFormat, bounds: &StepBounds) -> Result<()>;

    /// A new tensor, all zeros.
    fn alloc(&mut self, dtype: DType, shape: &[usize]) -> Result<Tensor<Self::Buffer>>;

    /// Copies little-endian elements into a contiguous view of as many bytes, behind all operations so far. The bytes are
    /// the caller's again when this returns, and need not have arrived by then.
    fn upload(&mut self, to: ViewMut<'_, Self::Buffer>, bytes: &[u8]) -> Result<()>;

    /// Waits for all operations so far and copies a contiguous view out. [`Error::DeviceData`](crate::Error::DeviceData) where
    /// one of them found ids, positions, slots or pages out of range and the device looks for that.
    fn download(&mut self, from: View<'_, Self::Buffer>, bytes: &mut [u8]) -> Result<()>;

    /// Waits for all operations so far, with the errors of [`Backend::download`].
    fn synchronize(&mut self) -> Result<()>;

    /// Takes over a linear weight, or an embedding table (a single part), from the checkpoint.
    fn load_weight(&mut self, source: WeightSource) -> Result<Self::Weight>;

    /// Takes over a norm's weight, `[D]`, in any floating-point type.
    fn load_vector(&mut self, source: HostTensor) -> Result<Tensor<Self::Buffer>>;

    /// Runs the launches of a step. Where `repeats` is given, `launches` makes the same calls on the same memory each time
    /// that a step has these bounds, so that a device may record them once and replay them.
    fn step(
        &mut self,
        repeats: Option<StepBounds>,
        launches: &mut dyn FnMut(&mut Self) -> Result<()>,
    ) -> Result<()>;

    /// See [`Embed`].
    fn embed(&mut self, args: Embed<'_, Self::Buffer, Self::Weight>) -> Result<()>;
    /// See [`GatherRows`].
    fn gather_rows(&mut self, args: GatherRows<'_, Self::Buffer>) -> Result<()>;
    /// See [`RmsNorm`].
    fn rms_norm(&mut self, args: RmsNorm<'_, Self::Buffer>) -> Result<()>;
    /// See [`AddRmsNorm`].
    fn add_rms_norm(&mut self, args: AddRmsNorm<'_, Self::Buffer>) -> Result<()>;
    /// See [`QuantizeFp8`].
    fn quantize_fp8(&mut self, args: QuantizeFp8<'_, Self::Buffer>) -> Result<()>;
    /// See [`Matmul`].
    fn matmul(&mut self, args: Matmul<'_, Self::Buffer, Self::Weight>) -> Result<()>;
    /// See [`RopeAppendKv`].
    fn rope_append_kv(&mut self, args: RopeAppendKv<'_, Self::Buffer>) -> Result<()>;
    /// See [`Attention`]; for sequences that bring at most [`MAX_DECODE_TOKENS`].
    fn attention_decode(&mut self, args: Attention<'_, Self::Buffer>) -> Result<()>;
    /// See [`Attention`]; for sequences that bring any number of tokens.
    fn attention_prefill(&mut self, args: Attention<'_, Self::Buffer>) -> Result<()>;
    /// See [`Sample`].
    fn sample(&mut self, args: Sample<'_, Self::Buffer>) -> Result<()>;
}
