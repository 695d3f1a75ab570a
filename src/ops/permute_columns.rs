//! Columns in another order.

use super::args::{Args, Rows};
use crate::gpu::{Stream, TensorMut, TensorRef};
use crate::params::PermuteColumnsParams;
use crate::tensor::DType;
use crate::{Result, plan};

/// `out[t,j] = x[t,columns[j]]`, zero for an index outside of `0..D`: the input of a weight whose columns are stored in that
/// order, where no norm writes it.
#[derive(Debug)]
pub struct PermuteColumns<'a> {
    /// bf16 or f16 `[T, D]`, `D` a multiple of 8, at most [`plan::MAX_ROW`].
    pub x: TensorRef<'a>,
    /// i32 `[D]`, at an address that is a multiple of 16 bytes.
    pub columns: TensorRef<'a>,
    /// `[T, D]` in x's type; may be `x` itself.
    pub out: TensorMut<'a>,
    /// u32 `[1]`: gets the bit [`DEVICE_ERROR_COLUMN`](crate::params::DEVICE_ERROR_COLUMN) where an index lies outside of
    /// `0..D`; its other bits stay.
    pub error: Option<TensorMut<'a>>,
}

/// The addresses of a permutation of columns and of the word that its errors go to, checked; 0 where there are none.
#[derive(Clone, Copy, Default)]
pub(super) struct Permutation {
    pub columns: u64,
    pub error: u64,
}

impl Permutation {
    /// Of rows as wide as the first of `read`; `written` are the other tensors that are written.
    pub fn new(
        check: Args<'_>,
        columns: Option<&TensorRef<'_>>,
        error: Option<&TensorMut<'_>>,
        read: &[Rows],
        written: &[Rows],
    ) -> Result<Self> {
        let width = read.first().map(|x| x.width);
        let columns =
            columns.map(|columns| check.vectors("columns", columns, DType::I32, width)).transpose()?;
        let error =
            error.map(|error| check.list("error", &error.as_ref(), DType::U32, Some(1))).transpose()?;
        if let Some(columns) = columns {
            for &out in written {
                check.check_disjoint(out, columns)?;
            }
        }
        if let Some(error) = error {
            for &other in read.iter().chain(written).chain(&columns) {
                check.check_disjoint(error, other)?;
            }
        }
        let address = |rows: Option<Rows>| rows.map_or(0, |rows| rows.address);
        Ok(Permutation { columns: address(columns), error: address(error) })
    }
}

/// Launches [`PermuteColumns`]. [`Error::Argument`](crate::Error::Argument) names what is wrong with an argument; then nothing
/// is launched.
pub fn permute_columns(stream: &Stream, args: &PermuteColumns<'_>) -> Result<()> {
    let check = Args { op: "permute_columns", stream };
    let x = check.matrix("x", &args.x, None, None)?;
    let out = check.matrix("out", &args.out.as_ref(), Some(x.count), Some(x.width))?;
    check.check_dtype("out", args.out.as_ref().dtype(), args.x.dtype())?;
    check.check_apart(out)?;
    check.check_disjoint_or_same(out, x)?;
    let permutation = Permutation::new(check, Some(&args.columns), args.error.as_ref(), &[x], &[out])?;
    let Some(plan) = plan::permute_columns(x.count, x.width)? else { return Ok(()) };
    let params = PermuteColumnsParams {
        x: x.address,
        columns: permutation.columns,
        out: out.address,
        error: permutation.error,
        x_stride_token: x.stride,
        out_stride_token: out.stride,
        // The plan has checked that both fit.
        num_tokens: x.count as i32,
        width: x.width as i32,
    };
    // SAFETY: the tensors' makers promise that their memory is there; shapes, strides and alignment are those that the
    // kernel and the plan expect, as checked above, and the kernel bounds the indices.
    unsafe { check.launch(&plan, &params) }
}
