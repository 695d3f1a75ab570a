//! Choosing tokens.

use super::args::{Args, Dim};
use crate::gpu::{Stream, TensorMut, TensorRef};
use crate::params::{SampleParams, SampleRow};
use crate::tensor::DType;
use crate::{Result, plan};

/// Chooses a token from each row of logits: the bits of [`crate::reference::sample_row`].
#[derive(Debug)]
pub struct Sample<'a> {
    /// f32 `[R, V]`, rows at any multiple of 4 elements, `V` at most [`plan::MAX_VOCABULARY`].
    pub logits: TensorRef<'a>,
    /// u8 `[R, 48]`: one [`crate::params::SampleRow`] a row of logits, at a multiple of 8 bytes.
    pub rows: TensorRef<'a>,
    /// u32 `[S, ceil(V / 32)]`: bit `i % 32` of word `i / 32` is set where token `i` has been seen. The sampled token is
    /// added. Two rows of logits do not share a row of it.
    pub seen: TensorMut<'a>,
    /// i32 `[R]`: the token, or -1 where no logit is above -inf.
    pub out: TensorMut<'a>,
    /// u32 `[1]`: gets the bit [`DEVICE_ERROR_SEEN_ROW`](crate::params::DEVICE_ERROR_SEEN_ROW) where a row names a row of
    /// `seen` that it does not have.
    pub error: Option<TensorMut<'a>>,
}

/// Bytes of logits that a kernel loads at once.
const VECTOR_BYTES: u64 = 16;

/// Launches [`Sample`]. [`Error::Argument`](crate::Error::Argument) names what is wrong with an argument; then nothing is
/// launched.
pub fn sample(stream: &Stream, args: &Sample<'_>) -> Result<()> {
    let check = Args { op: "sample", stream };
    let dims = [Dim::Any("num_rows"), Dim::Any("vocab_size")];
    let logits = check.strided("logits", &args.logits, DType::F32, dims, VECTOR_BYTES)?;
    let [num_rows, vocab_size] = logits.shape;
    let dims = [Dim::Is(num_rows), Dim::Is(size_of::<SampleRow>())];
    let rows = check.strided("rows", &args.rows, DType::U8, dims, align_of::<SampleRow>() as u64)?;
    if !args.rows.layout().is_contiguous() {
        return Err(check.error("rows", "contiguous elements", format!("{:?}", args.rows.layout())));
    }
    let words = u32::BITS as usize;
    let dims = [Dim::Any("num_seen"), Dim::Is(vocab_size.div_ceil(words))];
    let seen = check.strided("seen", &args.seen.as_ref(), DType::U32, dims, DType::U32.size() as u64)?;
    let out = check.strided_list("out", &args.out.as_ref(), DType::I32, num_rows)?;
    let error = args.error.as_ref().map(|error| check.strided_list("error", &error.as_ref(), DType::U32, 1));
    let error = error.transpose()?;
    let num_seen = i32::try_from(seen.shape[0])
        .map_err(|_| check.error("seen", "fewer than 2^31 rows", seen.shape[0]))?;
    let read = [logits.span, rows.span];
    check.check_written(seen.span, &read)?;
    check.check_written(out.span, &read)?;
    check.check_written(out.span, &[seen.span])?;
    if let Some(error) = error {
        check.check_written(error.span, &read)?;
        check.check_written(error.span, &[seen.span, out.span])?;
    }
    let Some(plan) = plan::sample(num_rows, vocab_size)? else { return Ok(()) };
    let params = SampleParams {
        logits: logits.address,
        rows: rows.address,
        seen: seen.address,
        out: out.address,
        error: error.map_or(0, |error| error.address),
        logits_stride_row: logits.strides[0],
        seen_stride_row: seen.strides[0],
        // The plan has checked that both fit.
        num_rows: num_rows as i32,
        vocab_size: vocab_size as i32,
        num_seen,
        padding: 0,
    };
    // SAFETY: the tensors' makers promise that their memory is there; shapes, strides and alignment are those that the
    // kernel and the plan expect, as checked above, and the kernel bounds the rows of `seen`.
    unsafe { check.launch(&plan, &params) }
}
