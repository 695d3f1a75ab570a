//! RMSNorm ("Root Mean Square Layer Normalization", Zhang and Sennrich 2019), rounded as Llama rounds it.

use super::CpuBuffer;
use super::access::{Input, Output, check_rank, check_shape};
use super::activation::{Sink, Source};
use super::real::{Real, round};
use super::simd::sum_of_squares;
use crate::Result;
use crate::backend::{Activation, ActivationMut, AddRmsNorm, RmsNorm};
use crate::tensor::View;

/// See [`RmsNorm`].
pub(super) fn rms_norm<A: Real>(args: RmsNorm<'_, CpuBuffer>) -> Result<()> {
    const OP: &str = "rms_norm";
    let shape = check_rank(OP, "x", args.x.shape())?;
    let (x, _) = Source::new(OP, "x", Activation::Native(args.x), shape[1])?;
    Norm::<A>::new(OP, shape, args.weight, args.eps, args.out)?.run(&x);
    Ok(())
}

/// See [`AddRmsNorm`].
pub(super) fn add_rms_norm<A: Real>(args: AddRmsNorm<'_, CpuBuffer>) -> Result<()> {
    const OP: &str = "add_rms_norm";
    let shape = check_rank(OP, "x", args.x.shape())?;
    let (x, _) = Source::new(OP, "x", Activation::Native(args.x), shape[1])?;
    let norm = Norm::<A>::new(OP, shape, args.weight, args.eps, args.out)?;
    let mut residual = args.residual;
    check_shape(OP, "residual", residual.shape(), &shape)?;
    Source::new(OP, "residual", Activation::Native(residual.as_view()), shape[1])?;

    Output::new(OP, "residual", residual.reborrow())?.update(0..shape[0], |t, values: &mut [A]| {
        let mut added = vec![A::ZERO; values.len()];
        x.load(t, &mut added);
        for (value, added) in values.iter_mut().zip(added) {
            *value += added;
        }
    });
    let (stored, _) = Source::new(OP, "residual", Activation::Native(residual.as_view()), shape[1])?;
    norm.run(&stored);
    Ok(())
}

/// A norm whose arguments but `x` have been checked.
struct Norm<'a, A> {
    rows: usize,
    weight: Vec<A>,
    eps: A,
    out: Sink<'a>,
}

impl<'a, A: Real> Norm<'a, A> {
    fn new(
        op: &'static str,
        shape: [usize; 2],
        weight: View<'_, CpuBuffer>,
        eps: f32,
        out: ActivationMut<'a, CpuBuffer>,
    ) -> Result<Self> {
        check_shape(op, "weight", weight.shape(), &shape[1..])?;
        let weight = Input::new(op, "weight", weight)?.to_vec();
        Ok(Norm { rows: shape[0], weight, eps: A::from_f32(eps), out: Sink::new(op, "out", out, shape)? })
    }

    fn run(mut self, x: &Source<'_>) {
        let rounded_to = self.out.rounded_to();
        let width = A::from_f64(self.weight.len() as f64);
        self.out.write(0..self.rows, |t, values: &mut [A]| {
            x.load(t, values);
            let mean = sum_of_squares(values) / width;
            let scale = A::ONE / (mean + self.eps).sqrt();
            for (value, &weight) in values.iter_mut().zip(&self.weight) {
                *value = round(rounded_to, *value * scale) * weight;
            }
        });
    }
}
