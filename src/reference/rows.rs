//! Copies of whole rows: the embedding, and the rows whose logits are wanted.

use super::access::{Input, Output, check_rank, check_shape, numbers};
use super::real::Real;
use super::weight::Rows;
use super::{CpuBuffer, CpuWeight};
use crate::backend::{Embed, GatherRows};
use crate::tensor::DType;
use crate::{Error, Result};

/// See [`Embed`].
pub(super) fn embed<A: Real>(args: Embed<'_, CpuBuffer, CpuWeight>) -> Result<()> {
    const OP: &str = "embed";
    let [tokens] = check_rank(OP, "ids", args.ids.shape())?;
    let ids = indices(OP, "ids", numbers(OP, "ids", args.ids, DType::I32, &[tokens])?, args.table.rows())?;
    check_shape(OP, "out", args.out.shape(), &[tokens, args.table.k()])?;
    let mut out = Output::new(OP, "out", args.out)?;
    let rows = args.table.typed();
    out.write(0..tokens, |t, values: &mut [A]| match &rows {
        Rows::BF16(rows) => rows.load(ids[t], values),
        Rows::F16(rows) => rows.load(ids[t], values),
        Rows::F32(rows) => rows.load(ids[t], values),
        Rows::F64(rows) => rows.load(ids[t], values),
        Rows::Int4(rows) => rows.load(ids[t], values),
        Rows::Fp8 { codes, scales } => {
            codes.load(ids[t], values);
            let scale = A::from_f32(scales[ids[t]]);
            values.iter_mut().for_each(|value| *value = *value * scale);
        }
        Rows::Fp8Blocks(rows) => rows.load(ids[t], values),
    });
    Ok(())
}

/// See [`GatherRows`].
pub(super) fn gather_rows<A: Real>(args: GatherRows<'_, CpuBuffer>) -> Result<()> {
    const OP: &str = "gather_rows";
    let [tokens, width] = check_rank(OP, "x", args.x.shape())?;
    let [n] = check_rank(OP, "rows", args.rows.shape())?;
    let rows = indices(OP, "rows", numbers(OP, "rows", args.rows, DType::I32, &[n])?, tokens)?;
    check_shape(OP, "out", args.out.shape(), &[n, width])?;
    let x = Input::new(OP, "x", args.x)?;
    Output::new(OP, "out", args.out)?.write(0..n, |r, values: &mut [A]| x.load([rows[r]], values));
    Ok(())
}

/// `values` as indices below `bound`.
pub(super) fn indices(
    op: &'static str,
    arg: &'static str,
    values: &[i32],
    bound: usize,
) -> Result<Vec<usize>> {
    let index = |(i, &value): (usize, &i32)| {
        usize::try_from(value).ok().filter(|&index| index < bound).ok_or_else(|| {
            Error::argument(op, arg, format!("values within 0..{bound}"), format!("{value} at {i}"))
        })
    };
    values.iter().enumerate().map(index).collect()
}
