//! The device memory of a step, allocated once: the arrays that the host writes, and the activations.

use bytemuck::cast_slice;

use crate::backend::{Activation, ActivationMut, Backend, ModelDims, QuantizeFp8, StepBounds, WeightFormat};
use crate::model::batch::Batch;
use crate::params::SampleRow;
use crate::tensor::{DType, Tensor, View};
use crate::{Error, Result};

/// Each array of a step begins at a multiple of this many bytes.
const ARRAY_ALIGN: usize = 256;

/// Rows of logits are padded to a multiple of so many elements: 16 bytes.
const LOGITS_MULTIPLE: usize = 4;

/// Where the arrays of a step stand in their buffer. That depends on the step's bounds alone: steps with the same bounds read
/// the same addresses, and no step copies more than it has.
#[derive(Debug, PartialEq, Eq)]
struct Places {
    ids: usize,
    positions: usize,
    slots: usize,
    q_indptr: usize,
    kv_len: usize,
    page_table: usize,
    logits: usize,
    /// Bytes in all.
    end: usize,
}

impl Places {
    fn new(bounds: &StepBounds, page_size: usize) -> Result<Self> {
        let mut end = 0usize;
        let mut place = |elements: Option<usize>, dtype: DType| {
            let bytes =
                elements.and_then(|n| n.checked_mul(dtype.size())?.checked_next_multiple_of(ARRAY_ALIGN));
            let start = end;
            end = bytes.and_then(|bytes| end.checked_add(bytes)).ok_or_else(|| too_large(bounds))?;
            Ok(start)
        };
        let (tokens, batch) = (Some(bounds.num_tokens), bounds.batch);
        Ok(Places {
            ids: place(tokens, DType::I32)?,
            positions: place(tokens, DType::I32)?,
            slots: place(tokens, DType::I64)?,
            q_indptr: place(batch.checked_add(1), DType::I32)?,
            kv_len: place(Some(batch), DType::I32)?,
            page_table: place(batch.checked_mul(bounds.max_kv_len / page_size), DType::I32)?,
            logits: place(Some(bounds.num_logits), DType::I32)?,
            end,
        })
    }
}

fn too_large(bounds: &StepBounds) -> Error {
    Error::argument("load", "options", "a step of fewer than 2^64 bytes", format!("{bounds:?}"))
}

/// The arrays of a step, on the device.
#[derive(Debug)]
pub(super) struct StepArrays<'a, T> {
    /// i32 `[T]`.
    pub ids: View<'a, T>,
    /// i32 `[T]`.
    pub positions: View<'a, T>,
    /// i64 `[T]`.
    pub slots: View<'a, T>,
    /// i32 `[batch + 1]`.
    pub q_indptr: View<'a, T>,
    /// i32 `[batch]`.
    pub kv_len: View<'a, T>,
    /// i32 `[batch, max_kv_len / page_size]`.
    pub page_table: View<'a, T>,
    /// i32 `[R]`.
    pub logits: View<'a, T>,
}

/// What the host writes before a step, and what sampling reads and writes.
pub(super) struct StepInputs<T> {
    /// Bytes: all arrays of a step, which one copy brings there.
    arrays: Tensor<T>,
    /// The same on the host.
    staged: Vec<u8>,
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
        let rows = most.num_logits;
        Ok(StepInputs {
            arrays: backend.alloc(DType::U8, &[Places::new(most, page_size)?.end])?,
            staged: Vec::new(),
            sample_rows: backend.alloc(DType::U8, &[rows, size_of::<SampleRow>()])?,
            seen: backend.alloc(DType::U32, &[most.batch, vocab_size.div_ceil(32)])?,
            sampled: backend.alloc(DType::I32, &[rows])?,
            page_size,
        })
    }

    /// Bytes that [`StepInputs::new`] allocates.
    pub fn bytes(most: &StepBounds, page_size: usize, vocab_size: usize) -> Result<u64> {
        let (rows, words) = (most.num_logits as u64, vocab_size.div_ceil(32) as u64);
        let of_row = (size_of::<SampleRow>() + DType::I32.size()) as u64;
        let rows = rows.checked_mul(of_row);
        let seen =
            (most.batch as u64).checked_mul(words).and_then(|n| n.checked_mul(DType::U32.size() as u64));
        let sum = rows.zip(seen).and_then(|(rows, seen)| rows.checked_add(seen));
        sum.and_then(|sum| sum.checked_add(Places::new(most, page_size).ok()?.end as u64))
            .ok_or_else(|| too_large(most))
    }

    /// Copies the arrays of a step to the device.
    pub fn upload<B: Backend<Buffer = T>>(&mut self, backend: &mut B, batch: &Batch) -> Result<()> {
        let places = Places::new(&batch.bounds, self.page_size)?;
        self.staged.clear();
        self.staged.resize(places.end, 0);
        let arrays: [(usize, &[u8]); 7] = [
            (places.ids, cast_slice(&batch.ids)),
            (places.positions, cast_slice(&batch.positions)),
            (places.slots, cast_slice(&batch.slots)),
            (places.q_indptr, cast_slice(&batch.q_indptr)),
            (places.kv_len, cast_slice(&batch.kv_len)),
            (places.page_table, cast_slice(&batch.page_table)),
            (places.logits, cast_slice(&batch.logits)),
        ];
        for (place, bytes) in arrays {
            self.staged[place..place + bytes.len()].copy_from_slice(bytes);
        }
        backend.upload(self.arrays.head_mut(places.end)?, &self.staged)
    }

    /// The arrays of a step with these bounds.
    pub fn arrays(&self, bounds: &StepBounds) -> Result<StepArrays<'_, T>> {
        let places = Places::new(bounds, self.page_size)?;
        let all = self.arrays.view();
        let (tokens, batch) = (bounds.num_tokens, bounds.batch);
        Ok(StepArrays {
            ids: all.reinterpret(places.ids, DType::I32, &[tokens])?,
            positions: all.reinterpret(places.positions, DType::I32, &[tokens])?,
            slots: all.reinterpret(places.slots, DType::I64, &[tokens])?,
            q_indptr: all.reinterpret(places.q_indptr, DType::I32, &[batch + 1])?,
            kv_len: all.reinterpret(places.kv_len, DType::I32, &[batch])?,
            page_table: all.reinterpret(
                places.page_table,
                DType::I32,
                &[batch, bounds.max_kv_len / self.page_size],
            )?,
            logits: all.reinterpret(places.logits, DType::I32, &[bounds.num_logits])?,
        })
    }
}

/// What a matmul of the layers reads: as it is, and in fp8 where the weights are.
pub(super) struct MatmulInput<T> {
    /// `[T, k]`.
    pub native: Tensor<T>,
    fp8: Option<Fp8Input<T>>,
}

struct Fp8Input<T> {
    /// e4m3 `[T, k]`.
    codes: Tensor<T>,
    /// f32 `[T, 1]`.
    scale: Tensor<T>,
    /// The type of activations.
    rounded_to: DType,
}

impl<T> Fp8Input<T> {
    fn output(&mut self, t: usize) -> Result<ActivationMut<'_, T>> {
        let Fp8Input { codes, scale, rounded_to } = self;
        Ok(ActivationMut::Fp8 {
            codes: codes.head_mut(t)?,
            scale: scale.head_mut(t)?,
            rounded_to: *rounded_to,
        })
    }
}

impl<T> MatmulInput<T> {
    /// The first `t` rows, for an operation that writes them as the matmul reads them.
    pub fn output(&mut self, t: usize) -> Result<ActivationMut<'_, T>> {
        match &mut self.fp8 {
            Some(fp8) => fp8.output(t),
            None => Ok(ActivationMut::Native(self.native.head_mut(t)?)),
        }
    }

    /// Quantises the first `t` rows of `native`, which an operation has written, where the matmul reads fp8.
    pub fn quantize<B: Backend<Buffer = T>>(&mut self, backend: &mut B, t: usize) -> Result<()> {
        let Some(fp8) = &mut self.fp8 else { return Ok(()) };
        backend.quantize_fp8(QuantizeFp8 { x: self.native.head(t)?, out: fp8.output(t)? })
    }

    /// The first `t` rows, for the matmul.
    pub fn input(&self, t: usize) -> Result<Activation<'_, T>> {
        Ok(match &self.fp8 {
            Some(fp8) => Activation::Fp8 { codes: fp8.codes.head(t)?, scale: fp8.scale.head(t)? },
            None => Activation::Native(self.native.head(t)?),
        })
    }
}

/// What the operations of a step hand to each other.
pub(super) struct Activations<T> {
    /// `[T, D]`: the sum of everything so far.
    pub residual: Tensor<T>,
    /// `[T, D]`: what the next norm adds to the residual.
    pub hidden: Tensor<T>,
    /// `[T, D]`.
    pub normed: MatmulInput<T>,
    /// `[T, (Hq + 2*Hkv) * hd]`.
    pub qkv: Tensor<T>,
    /// `[T, Hq * hd]`, rotated.
    pub q: Tensor<T>,
    /// `[T, Hq * hd]`.
    pub attention: MatmulInput<T>,
    /// `[T, F]`.
    pub gated: MatmulInput<T>,
    /// `[R, D]`: the wanted rows of `hidden`.
    pub gathered_hidden: Tensor<T>,
    /// `[R, D]`: the wanted rows of `residual`.
    pub gathered_residual: Tensor<T>,
    /// f32 `[R, V]`, each row padded to a multiple of 16 bytes.
    pub logits: Tensor<T>,
}

impl<T> Activations<T> {
    pub fn new<B: Backend<Buffer = T>>(
        backend: &mut B,
        dtype: DType,
        weights: WeightFormat,
        dims: &ModelDims,
        most: &StepBounds,
    ) -> Result<Self> {
        let [residual, hidden, normed, qkv, q, attention, gated, gathered_hidden, gathered_residual, logits] =
            shapes(dtype, dims, most);
        let mut input = |(of, shape): (DType, [usize; 2])| {
            let native = backend.alloc(of, &shape)?;
            let fp8 = match weights {
                WeightFormat::Fp8 => {
                    let [codes, scale] = fp8_shapes(shape[1], most);
                    let (codes, scale) =
                        (backend.alloc(codes.0, &codes.1)?, backend.alloc(scale.0, &scale.1)?);
                    Some(Fp8Input { codes, scale, rounded_to: dtype })
                }
                _ => None,
            };
            Ok::<_, Error>(MatmulInput { native, fp8 })
        };
        let (normed, attention, gated) = (input(normed)?, input(attention)?, input(gated)?);
        let mut alloc = |(dtype, shape): (DType, [usize; 2])| backend.alloc(dtype, &shape);
        Ok(Activations {
            residual: alloc(residual)?,
            hidden: alloc(hidden)?,
            normed,
            qkv: alloc(qkv)?,
            q: alloc(q)?,
            attention,
            gated,
            gathered_hidden: alloc(gathered_hidden)?,
            gathered_residual: alloc(gathered_residual)?,
            logits: alloc(logits)?,
        })
    }

    /// Bytes that [`Activations::new`] allocates.
    pub fn bytes(dtype: DType, weights: WeightFormat, dims: &ModelDims, most: &StepBounds) -> Result<u64> {
        let mut tensors = shapes(dtype, dims, most).to_vec();
        if weights == WeightFormat::Fp8 {
            let inputs = [dims.hidden_size, dims.num_q_heads * dims.head_dim, dims.intermediate_size];
            tensors.extend(inputs.into_iter().flat_map(|width| fp8_shapes(width, most)));
        }
        let sum = tensors.iter().try_fold(0_u64, |sum, (dtype, [rows, width])| {
            let elements = (*rows as u64).checked_mul(*width as u64)?;
            sum.checked_add(elements.checked_mul(dtype.size() as u64)?)
        });
        sum.ok_or_else(|| too_large(most))
    }
}

/// Element type and shape of the codes and scales of a matmul's input of this width.
fn fp8_shapes(width: usize, most: &StepBounds) -> [(DType, [usize; 2]); 2] {
    [(DType::F8E4M3, [most.num_tokens, width]), (DType::F32, [most.num_tokens, 1])]
}

/// Element type and shape of each of the [`Activations`], in their order.
fn shapes(dtype: DType, dims: &ModelDims, most: &StepBounds) -> [(DType, [usize; 2]); 10] {
    let (tokens, rows, hidden) = (most.num_tokens, most.num_logits, dims.hidden_size);
    let (q_width, kv_width) = (dims.num_q_heads * dims.head_dim, dims.num_kv_heads * dims.head_dim);
    [
        (dtype, [tokens, hidden]),
        (dtype, [tokens, hidden]),
        // Also the final norm's output over the wanted rows.
        (dtype, [tokens.max(rows), hidden]),
        (dtype, [tokens, q_width + 2 * kv_width]),
        (dtype, [tokens, q_width]),
        (dtype, [tokens, q_width]),
        (dtype, [tokens, dims.intermediate_size]),
        (dtype, [rows, hidden]),
        (dtype, [rows, hidden]),
        (DType::F32, [rows, dims.vocab_size.next_multiple_of(LOGITS_MULTIPLE)]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::Cpu;

    #[test]
    fn arrays_stand_apart_and_no_step_needs_more_than_the_largest() {
        let most = StepBounds {
            num_tokens: 77,
            batch: 9,
            num_decodes: 9,
            max_q_len: 77,
            max_kv_len: 512,
            num_logits: 40,
        };
        let end = Places::new(&most, 16).unwrap().end;
        for (num_tokens, batch, max_kv_len, num_logits) in
            [(77, 9, 512, 40), (1, 1, 16, 1), (9, 9, 128, 0), (65, 3, 256, 33)]
        {
            let bounds = StepBounds { num_tokens, batch, max_kv_len, num_logits, ..most };
            let places = Places::new(&bounds, 16).unwrap();
            let ends = [
                (places.ids, 4 * num_tokens),
                (places.positions, 4 * num_tokens),
                (places.slots, 8 * num_tokens),
                (places.q_indptr, 4 * (batch + 1)),
                (places.kv_len, 4 * batch),
                (places.page_table, 4 * batch * max_kv_len / 16),
                (places.logits, 4 * num_logits),
                (places.end, 0),
            ];
            for pair in ends.windows(2) {
                assert!(pair[0].0 % ARRAY_ALIGN == 0 && pair[0].0 + pair[0].1 <= pair[1].0, "{bounds:?}");
            }
            assert!(places.end <= end, "{bounds:?}");
        }
        let endless = StepBounds { num_tokens: usize::MAX / 4, ..most };
        let error = Places::new(&endless, 16).unwrap_err().to_string();
        assert!(error.starts_with("load: options: expected a step of fewer than 2^64 bytes"), "{error}");
    }

    #[test]
    fn bytes_are_those_of_the_tensors() {
        let mut cpu = Cpu::<f32>::new(crate::reference::Activations::AsCheckpoint);
        let dims = ModelDims {
            hidden_size: 48,
            intermediate_size: 80,
            num_q_heads: 6,
            num_kv_heads: 2,
            head_dim: 10,
            vocab_size: 97,
        };
        for (num_tokens, num_logits, batch) in [(33, 2, 3), (2, 5, 70)] {
            let max_kv_len = 64;
            let most = StepBounds { num_tokens, batch, max_kv_len, num_logits, ..StepBounds::default() };
            let StepInputs { arrays, sample_rows, seen, sampled, .. } =
                StepInputs::new(&mut cpu, &most, 16, dims.vocab_size).unwrap();
            let inputs = [arrays, sample_rows, seen, sampled].iter().map(Tensor::num_bytes).sum::<usize>();
            assert_eq!(StepInputs::<()>::bytes(&most, 16, dims.vocab_size).unwrap(), inputs as u64);
            for weights in [WeightFormat::Native, WeightFormat::Fp8] {
                let a = Activations::new(&mut cpu, DType::BF16, weights, &dims, &most).unwrap();
                let mut tensors =
                    vec![a.residual, a.hidden, a.qkv, a.q, a.gathered_hidden, a.gathered_residual, a.logits];
                for MatmulInput { native, fp8 } in [a.normed, a.attention, a.gated] {
                    assert_eq!(fp8.is_some(), weights == WeightFormat::Fp8);
                    tensors.push(native);
                    tensors.extend(fp8.into_iter().flat_map(|fp8| [fp8.codes, fp8.scale]));
                }
                let bytes = tensors.iter().map(Tensor::num_bytes).sum::<usize>() as u64;
                assert_eq!(Activations::<()>::bytes(DType::BF16, weights, &dims, &most).unwrap(), bytes);
            }
        }
    }
}
