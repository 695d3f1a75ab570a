//! Activations to read and to write, plain or in fp8, and the operations that do nothing else.

use std::ops::Range;

use super::CpuBuffer;
use super::access::{
    Input, Output, check_dtype, check_rank, check_shape, part, read_only, row_shape, rows_mut, rows_per_task,
};
use super::real::{Real, round};
use crate::backend::{Activation, ActivationMut, QuantizeFp8};
use crate::quant::fp8;
use crate::quant::fp8_blocks::BLOCK;
use crate::tensor::{DType, View, ViewMut};
use crate::{Error, Result, par};

/// An [`Activation`] whose arguments have been checked.
pub(crate) enum Source<'a> {
    Native(Input<'a>),
    Fp8 { codes: Input<'a>, scale: Input<'a>, groups: usize },
}

impl<'a> Source<'a> {
    /// Checks that the activation is `[T, width]`, and returns `T` with it.
    pub fn new(
        op: &'static str,
        arg: &'static str,
        x: Activation<'a, CpuBuffer>,
        width: usize,
    ) -> Result<(Self, usize)> {
        match x {
            Activation::Native(x) => {
                let [rows, _] = check_rank(op, arg, x.shape())?;
                check_shape(op, arg, x.shape(), &[rows, width])?;
                check_native(op, arg, x.dtype)?;
                Ok((Source::Native(Input::new(op, arg, x)?), rows))
            }
            Activation::Fp8 { codes, scale } => {
                let [rows, _] = check_rank(op, arg, codes.shape())?;
                check_shape(op, arg, codes.shape(), &[rows, width])?;
                check_dtype(op, arg, codes.dtype, DType::F8E4M3)?;
                let groups = check_scale(op, scale.dtype, scale.shape(), [rows, width], true)?;
                let (codes, scale) = (Input::new(op, arg, codes)?, Input::new(op, "scale", scale)?);
                Ok((Source::Fp8 { codes, scale, groups }, rows))
            }
        }
    }

    /// Codes and scales of an fp8 activation with one scale a row; `None` of others.
    pub fn by_row(&self) -> Option<(Input<'a>, Input<'a>)> {
        match *self {
            Source::Fp8 { codes, scale, groups: 1 } => Some((codes, scale)),
            _ => None,
        }
    }

    /// Codes and scales of an fp8 activation with a scale for each [`BLOCK`] columns; `None` of others.
    pub fn by_block(&self, width: usize) -> Option<(Input<'a>, Input<'a>)> {
        match *self {
            Source::Fp8 { codes, scale, groups } if groups == width.div_ceil(BLOCK) => Some((codes, scale)),
            _ => None,
        }
    }

    /// Reads row `t`.
    pub fn load<A: Real>(&self, t: usize, to: &mut [A]) {
        match self {
            Source::Native(x) => x.load([t], to),
            Source::Fp8 { codes, scale, groups } => {
                codes.load([t], to);
                let mut scales = vec![A::ZERO; *groups];
                scale.load([t], &mut scales);
                let columns = if *groups == 1 { to.len().max(1) } else { BLOCK };
                for (group, scale) in to.chunks_mut(columns).zip(scales) {
                    for x in group {
                        *x = *x * scale;
                    }
                }
            }
        }
    }
}

/// An [`ActivationMut`] whose arguments have been checked.
pub(crate) enum Sink<'a> {
    Native(Output<'a>),
    Fp8 { codes: RowsMut<'a, u8>, scale: RowsMut<'a, f32>, rounded_to: DType },
}

/// Rows of one element type.
pub(crate) struct RowsMut<'a, E> {
    elements: &'a mut [E],
    width: usize,
    stride: usize,
}

impl<'a, E: bytemuck::Pod> RowsMut<'a, E> {
    fn new(op: &'static str, arg: &'static str, view: ViewMut<'a, CpuBuffer>) -> Result<Self> {
        let ViewMut { buffer, layout, .. } = view;
        let (width, stride) = row_shape(op, arg, &layout)?;
        let bytes = buffer.bytes_mut().ok_or_else(|| read_only(op, arg))?;
        Ok(RowsMut { elements: rows_mut(op, arg, bytes, &layout)?, width, stride })
    }
}

impl<'a> Sink<'a> {
    /// Checks that the activation is of `shape`.
    pub fn new(
        op: &'static str,
        arg: &'static str,
        out: ActivationMut<'a, CpuBuffer>,
        shape: [usize; 2],
    ) -> Result<Self> {
        match out {
            ActivationMut::Native(out) => {
                check_shape(op, arg, out.shape(), &shape)?;
                check_native(op, arg, out.dtype)?;
                Ok(Sink::Native(Output::new(op, arg, out)?))
            }
            ActivationMut::Fp8 { codes, scale, rounded_to } => {
                check_shape(op, arg, codes.shape(), &shape)?;
                check_dtype(op, arg, codes.dtype, DType::F8E4M3)?;
                check_native(op, "rounded_to", rounded_to)?;
                check_scale(op, scale.dtype, scale.shape(), shape, false)?;
                let (codes, scale) = (RowsMut::new(op, arg, codes)?, RowsMut::new(op, "scale", scale)?);
                Ok(Sink::Fp8 { codes, scale, rounded_to })
            }
        }
    }

    /// The type that a value is rounded to when it is stored, before any quantisation.
    pub fn rounded_to(&self) -> DType {
        match self {
            Sink::Native(out) => out.dtype(),
            Sink::Fp8 { rounded_to, .. } => *rounded_to,
        }
    }

    /// Computes the rows of `range`: `f(row, values)` fills the values of one.
    pub fn write<A: Real>(&mut self, range: Range<usize>, f: impl Fn(usize, &mut [A]) + Sync + Send) {
        match self {
            Sink::Native(out) => out.write(range, f),
            Sink::Fp8 { codes, scale, rounded_to } => {
                let (width, groups, rounded_to) = (codes.width, scale.width, *rounded_to);
                let rows_per_task = rows_per_task(width);
                let codes_of_rows = part(codes.elements, &range, codes.stride);
                let scales_of_rows = part(scale.elements, &range, scale.stride);
                par::zip_chunks(
                    (codes_of_rows, rows_per_task * codes.stride),
                    (scales_of_rows, rows_per_task * scale.stride),
                    |task, task_codes, task_scales| {
                        let (mut values, mut rounded) = (vec![A::ZERO; width], vec![0.0; width]);
                        let rows =
                            task_codes.chunks_mut(codes.stride).zip(task_scales.chunks_mut(scale.stride));
                        for (i, (codes, scales)) in rows.enumerate() {
                            f(range.start + task * rows_per_task + i, &mut values);
                            for (rounded, &value) in rounded.iter_mut().zip(&values) {
                                *rounded = round(rounded_to, value).to_f32();
                            }
                            let group = (width / groups).max(1);
                            let groups = rounded.chunks(group).zip(codes[..width].chunks_mut(group));
                            for (scale, (values, codes)) in scales.iter_mut().zip(groups) {
                                *scale = fp8::quantize(values, codes);
                            }
                        }
                    },
                );
            }
        }
    }
}

/// Refuses what is no activation: fp8 has a scale, and integers are none.
fn check_native(op: &'static str, arg: &'static str, dtype: DType) -> Result<()> {
    if dtype.is_float() {
        return Ok(());
    }
    Err(Error::argument(op, arg, "floats of 16, 32 or 64 bits", dtype))
}

/// Checks the scales of an fp8 activation of `[rows, width]` and returns how many a row has. The last group of what is
/// quantised here is not `shorter` than the others.
fn check_scale(
    op: &'static str,
    dtype: DType,
    shape: &[usize],
    [rows, width]: [usize; 2],
    shorter: bool,
) -> Result<usize> {
    check_dtype(op, "scale", dtype, DType::F32)?;
    let whole = shorter || width.is_multiple_of(BLOCK);
    match *shape {
        [r, 1] if r == rows => Ok(1),
        [r, groups] if r == rows && groups > 0 && whole && groups == width.div_ceil(BLOCK) => Ok(groups),
        _ => {
            let per_group =
                if whole { format!(" or [{rows}, {}]", width.div_ceil(BLOCK)) } else { String::new() };
            Err(Error::argument(op, "scale", format!("shape [{rows}, 1]{per_group}"), format!("{shape:?}")))
        }
    }
}

/// See [`QuantizeFp8`].
pub(super) fn quantize_fp8<A: Real>(args: QuantizeFp8<'_, CpuBuffer>) -> Result<()> {
    const OP: &str = "quantize_fp8";
    let [rows, width] = check_rank(OP, "x", args.x.shape())?;
    let (x, _) = Source::new(OP, "x", Activation::Native(args.x), width)?;
    if let ActivationMut::Native(out) = &args.out {
        return Err(Error::argument(OP, "out", "an fp8 activation", out.dtype));
    }
    Sink::new(OP, "out", args.out, [rows, width])?.write(0..rows, |t, values: &mut [A]| x.load(t, values));
    Ok(())
}

/// `x * sigmoid(x)`.
pub(crate) fn silu<A: Real>(x: A) -> A {
    x / (A::ONE + (A::ZERO - x).exp())
}

/// `out[t,:] = silu(gate) * up`, where `x[t,:]` is gate, then up: the kernel `silu_and_mul`, for an MLP whose matmul did not
/// fuse it. `x` is `[T, 2F]`, `out` `[T, F]`.
pub fn silu_and_mul<A: Real>(x: View<'_, CpuBuffer>, out: ActivationMut<'_, CpuBuffer>) -> Result<()> {
    const OP: &str = "silu_and_mul";
    let [rows, width] = check_rank(OP, "x", x.shape())?;
    if width % 2 != 0 {
        return Err(Error::argument(OP, "x", "an even width", width));
    }
    let (x, _) = Source::new(OP, "x", Activation::Native(x), width)?;
    Sink::new(OP, "out", out, [rows, width / 2])?.write(0..rows, |t, values: &mut [A]| {
        let mut row = vec![A::ZERO; width];
        x.load(t, &mut row);
        let (gate, up) = row.split_at(width / 2);
        for ((value, &gate), &up) in values.iter_mut().zip(gate).zip(up) {
            *value = silu(gate) * up;
        }
    });
    Ok(())
}
