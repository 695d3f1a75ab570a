//! Merging attention over parts of the keys, as its formula reads.

use super::CpuBuffer;
use super::access::{Input, Scatter, check_rank, check_shape};
use super::real::Real;
use crate::tensor::{View, ViewMut};
use crate::{Error, Result};

/// `out = sum_s exp(lse_s - lse) * partial_s` with `lse = log(sum_s exp(lse_s))`: the kernel `attention_combine`. A part whose
/// `lse` is -inf is not read; where all are, `out` is 0 and `lse` -inf.
///
/// `partial_out` is `[S, T, Hq, hd]`, `partial_lse` `[S, T, Hq]`, `out` `[T, Hq, hd]`, `lse` `[T, Hq]`.
pub fn attention_combine<A: Real>(
    partial_out: View<'_, CpuBuffer>,
    partial_lse: View<'_, CpuBuffer>,
    out: ViewMut<'_, CpuBuffer>,
    lse: Option<ViewMut<'_, CpuBuffer>>,
) -> Result<()> {
    const OP: &str = "attention_combine";
    let [splits, tokens, heads, head_dim] = check_rank(OP, "partial_out", partial_out.shape())?;
    if splits == 0 {
        return Err(Error::argument(OP, "partial_out", "at least one part", 0));
    }
    check_shape(OP, "partial_lse", partial_lse.shape(), &[splits, tokens, heads])?;
    check_shape(OP, "out", out.shape(), &[tokens, heads, head_dim])?;
    if let Some(lse) = &lse {
        check_shape(OP, "lse", lse.shape(), &[tokens, heads])?;
    }
    let partial_out = Input::new(OP, "partial_out", partial_out)?;
    let partial_lse = Input::new(OP, "partial_lse", partial_lse)?;
    let mut out = Scatter::new(OP, "out", out)?;
    let mut lse = lse.map(|lse| Scatter::new(OP, "lse", lse)).transpose()?;
    for (token, head) in (0..tokens).flat_map(|token| (0..heads).map(move |head| (token, head))) {
        let (merged, lse_of_row) = merge::<A>(splits, head_dim, |split, part| {
            let mut lse = vec![A::ZERO; heads];
            partial_lse.load([split, token], &mut lse);
            // NaN is no part without keys.
            let seen = lse[head] > A::NEG_INFINITY || lse[head].to_f64().is_nan();
            if seen {
                partial_out.load([split, token, head], part);
            }
            seen.then_some(lse[head])
        });
        out.store([token, head], &merged);
        if let Some(lse) = &mut lse {
            lse.store([token, head], &[lse_of_row]);
        }
    }
    Ok(())
}

/// One row; `load` reads a part and returns its `lse`, or `None` for one that saw no key.
fn merge<A: Real>(
    splits: usize,
    head_dim: usize,
    load: impl Fn(usize, &mut [A]) -> Option<A>,
) -> (Vec<A>, A) {
    let mut part = vec![A::ZERO; head_dim];
    let mut max = A::NEG_INFINITY;
    for lse in (0..splits).filter_map(|split| load(split, &mut part)) {
        max = if lse > max { lse } else { max };
    }
    let (mut merged, mut sum) = (vec![A::ZERO; head_dim], A::ZERO);
    let mut seen = false;
    for split in 0..splits {
        let Some(lse) = load(split, &mut part) else { continue };
        let weight = (lse - max).exp();
        seen = true;
        sum += weight;
        for (merged, &part) in merged.iter_mut().zip(&part) {
            *merged += weight * part;
        }
    }
    if !seen {
        return (merged, A::NEG_INFINITY);
    }
    merged.iter_mut().for_each(|x| *x = *x / sum);
    (merged, max + sum.ln())
}
