//! Rotary positions ("RoFormer", Su et al. 2021), and the append to the paged cache.

use super::CpuBuffer;
use super::access::{Input, Output, Scatter, check_dtype, check_rank, check_shape, numbers};
use super::real::Real;
use super::rows::indices;
use crate::backend::RopeAppendKv;
use crate::tensor::DType;
use crate::{Error, Result};

const OP: &str = "rope_append_kv";

/// See [`RopeAppendKv`].
pub(super) fn rope_append_kv<A: Real>(args: RopeAppendKv<'_, CpuBuffer>) -> Result<()> {
    let [tokens, q_heads, head_dim] = check_rank(OP, "q_out", args.q_out.shape())?;
    let [pages, page_size, kv_heads, _] = check_rank(OP, "cache.k", args.cache.k.shape())?;
    if head_dim % 2 != 0 {
        return Err(Error::argument(OP, "q_out", "an even head_dim", head_dim));
    }
    for (arg, cache) in [("cache.k", &args.cache.k), ("cache.v", &args.cache.v)] {
        check_shape(OP, arg, cache.shape(), &[pages, page_size, kv_heads, head_dim])?;
    }
    check_scale(OP, "cache.k_scale", args.cache.k.dtype, args.cache.k_scale)?;
    check_scale(OP, "cache.v_scale", args.cache.v.dtype, args.cache.v_scale)?;
    check_shape(OP, "qkv", args.qkv.shape(), &[tokens, (q_heads + 2 * kv_heads) * head_dim])?;
    let [table_rows, _] = check_rank(OP, "cos_sin", args.cos_sin.shape())?;
    check_dtype(OP, "cos_sin", args.cos_sin.dtype, DType::F32)?;
    check_shape(OP, "cos_sin", args.cos_sin.shape(), &[table_rows, head_dim])?;
    let positions = numbers(OP, "positions", args.positions, DType::I32, &[tokens])?;
    let positions = indices(OP, "positions", positions, table_rows)?;
    let slots = numbers::<i64>(OP, "slot_mapping", args.slot_mapping, DType::I64, &[tokens])?;
    let slots = check_slots(slots, pages * page_size)?;
    let qkv = Input::new(OP, "qkv", args.qkv)?;
    let cos_sin = Input::new(OP, "cos_sin", args.cos_sin)?;
    let mut q_out = Output::new(OP, "q_out", args.q_out)?;
    let mut k_cache = Scatter::new(OP, "cache.k", args.cache.k)?;
    let mut v_cache = Scatter::new(OP, "cache.v", args.cache.v)?;

    let angles = |t: usize| {
        let mut row = vec![A::ZERO; head_dim];
        cos_sin.load([positions[t]], &mut row);
        row
    };
    q_out.write(0..tokens, |t, values| {
        qkv.load([t], values);
        let angles = angles(t);
        values.chunks_mut(head_dim.max(1)).for_each(|head| rotate(head, &angles));
    });
    let (k_scale, v_scale) = (A::from_f32(args.cache.k_scale), A::from_f32(args.cache.v_scale));
    let mut row = vec![A::ZERO; (q_heads + 2 * kv_heads) * head_dim];
    for (t, slot) in slots.into_iter().enumerate() {
        let Some(slot) = slot else { continue };
        qkv.load([t], &mut row);
        let (k, v) = row[q_heads * head_dim..].split_at_mut(kv_heads * head_dim);
        let angles = angles(t);
        for head in 0..kv_heads {
            let range = head * head_dim..(head + 1) * head_dim;
            let (k, v) = (&mut k[range.clone()], &mut v[range]);
            rotate(k, &angles);
            k.iter_mut().for_each(|x| *x = *x / k_scale);
            v.iter_mut().for_each(|x| *x = *x / v_scale);
            k_cache.store([slot / page_size, slot % page_size, head], k);
            v_cache.store([slot / page_size, slot % page_size, head], v);
        }
    }
    Ok(())
}

/// Checks the scale of keys or values stored as `dtype`.
pub(super) fn check_scale(op: &'static str, arg: &'static str, dtype: DType, scale: f32) -> Result<()> {
    if dtype != DType::F8E4M3 && scale != 1.0 {
        return Err(Error::argument(op, arg, format!("1 for a cache of {dtype}"), scale));
    }
    if !scale.is_finite() || scale <= 0.0 {
        return Err(Error::argument(op, arg, "a positive finite scale", scale));
    }
    Ok(())
}

/// Slots as indices below `bound`; `None` for the negative ones, which are skipped.
fn check_slots(slots: &[i64], bound: usize) -> Result<Vec<Option<usize>>> {
    let slot = |(t, &slot): (usize, &i64)| match usize::try_from(slot) {
        Ok(index) if index < bound => Ok(Some(index)),
        Ok(_) => {
            Err(Error::argument(OP, "slot_mapping", format!("slots below {bound}"), format!("{slot} at {t}")))
        }
        Err(_) => Ok(None),
    };
    slots.iter().enumerate().map(slot).collect()
}

/// Turns each pair `(i, i + hd/2)` of a head by the angle of that pair.
fn rotate<A: Real>(head: &mut [A], cos_sin: &[A]) {
    let (cos, sin) = cos_sin.split_at(head.len() / 2);
    let (first, second) = head.split_at_mut(head.len() / 2);
    for (((x, y), &cos), &sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
        (*x, *y) = (*x * cos - *y * sin, *y * cos + *x * sin);
    }
}
