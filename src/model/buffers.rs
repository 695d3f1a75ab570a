//! The device memory of a step, allocated once: the arrays that the host writes, and the activations.

use bytemuck::cast_slice;

use crate::Result;
use crate::backend::{Backend, ModelDims, StepBounds};
use crate::model::batch::Batch;
use crate::params::SampleRow;
use crate::tensor::{DType, Tensor, View};

/// What the host writes before a step, and what sampling reads and writes.
pub(super) struct StepInputs<T> {
    /// i32 `[T]`.
    pub ids: Tensor<T>,
    /// i32 `[T]`.
    pub positions: Tensor<T>,
    /// i64 `[T]`.
    pub slots: Tensor<T>,
    /// i32 `[batch + 1]`.
    pub q_indptr: Tensor<T>,
    /// i32 `[batch]`.
    pub kv_len: Tensor<T>,
    /// i32, as many rows of pages as a step has sequences, each as wide as its bounds say.
    page_table: Tensor<T>,
    /// i32 `[R]`.
    pub logits: Tensor<T>,
    /// One [`SampleRow`] a row of logits.
    pub sample_rows: Tensor<T>,
    /// u32 `[max_sequences, ceil(V / 32)]`.
    pub seen: Tensor<T>,
    /// i32 `[R]`.
    pub sampled: Tensor<T>,
    page_size: usize,
}

impl<T> StepInputs<T> {
    pub fn new<B: Backend<Buffer = T>>(
        backend: &mut B,
        most: &StepBounds,
        page_size: usize,
        vocab_size: usize,
    ) -> Result<Self> {
        let (tokens, batch, rows) = (most.num_tokens, most.batch, most.num_logits);
        Ok(StepInputs {
            ids: backend.alloc(DType::I32, &[tokens])?,
            positions: backend.alloc(DType::I32, &[tokens])?,
            slots: backend.alloc(DType::I64, &[tokens])?,
            q_indptr: backend.alloc(DType::I32, &[batch + 1])?,
            kv_len: backend.alloc(DType::I32, &[batch])?,
            page_table: backend.alloc(DType::I32, &[batch * (most.max_kv_len / page_size)])?,
            logits: backend.alloc(DType::I32, &[rows])?,
            sample_rows: backend.alloc(DType::U8, &[rows, size_of::<SampleRow>()])?,
            seen: backend.alloc(DType::U32, &[batch, vocab_size.div_ceil(32)])?,
            sampled: backend.alloc(DType::I32, &[rows])?,
            page_size,
        })
    }

    /// Copies the arrays of a step to the device.
    pub fn upload<B: Backend<Buffer = T>>(&mut self, backend: &mut B, batch: &Batch) -> Result<()> {
        for (to, array) in [
            (&mut self.ids, &batch.ids),
            (&mut self.positions, &batch.positions),
            (&mut self.q_indptr, &batch.q_indptr),
            (&mut self.kv_len, &batch.kv_len),
            (&mut self.page_table, &batch.page_table),
            (&mut self.logits, &batch.logits),
        ] {
            backend.upload(to.head_mut(array.len())?, cast_slice(array))?;
        }
        backend.upload(self.slots.head_mut(batch.slots.len())?, cast_slice(&batch.slots))
    }

    /// The page table of a step with these bounds, `[batch, max_kv_len / page_size]`.
    pub fn page_table(&self, bounds: &StepBounds) -> Result<View<'_, T>> {
        let width = bounds.max_kv_len / self.page_size;
        self.page_table.head(bounds.batch * width)?.reshape(&[bounds.batch, width])
    }
}

/// What the operations of a step hand to each other.
pub(super) struct Activations<T> {
    /// `[T, D]`: the sum of everything so far.
    pub residual: Tensor<T>,
    /// `[T, D]`: what the next norm adds to the residual.
    pub hidden: Tensor<T>,
    /// `[T, D]`.
    pub normed: Tensor<T>,
    /// `[T, (Hq + 2*Hkv) * hd]`.
    pub qkv: Tensor<T>,
    /// `[T, Hq * hd]`, rotated.
    pub q: Tensor<T>,
    /// `[T, Hq * hd]`.
    pub attention: Tensor<T>,
    /// `[T, F]`.
    pub gated: Tensor<T>,
    /// `[R, D]`: the wanted rows of `hidden`.
    pub gathered_hidden: Tensor<T>,
    /// `[R, D]`: the wanted rows of `residual`.
    pub gathered_residual: Tensor<T>,
    /// f32 `[R, V]`.
    pub logits: Tensor<T>,
}

impl<T> Activations<T> {
    pub fn new<B: Backend<Buffer = T>>(
        backend: &mut B,
        dtype: DType,
        dims: &ModelDims,
        most: &StepBounds,
    ) -> Result<Self> {
        let (tokens, rows) = (most.num_tokens, most.num_logits);
        let (q_width, kv_width) = (dims.num_q_heads * dims.head_dim, dims.num_kv_heads * dims.head_dim);
        let mut of = |rows: usize, width: usize| backend.alloc(dtype, &[rows, width]);
        Ok(Activations {
            residual: of(tokens, dims.hidden_size)?,
            hidden: of(tokens, dims.hidden_size)?,
            // Also the final norm's output over the wanted rows.
            normed: of(tokens.max(rows), dims.hidden_size)?,
            qkv: of(tokens, q_width + 2 * kv_width)?,
            q: of(tokens, q_width)?,
            attention: of(tokens, q_width)?,
            gated: of(tokens, dims.intermediate_size)?,
            gathered_hidden: of(rows, dims.hidden_size)?,
            gathered_residual: of(rows, dims.hidden_size)?,
            logits: backend.alloc(DType::F32, &[rows, dims.vocab_size])?,
        })
    }
}
