//! `y = epilogue(x W^T)`.
//!
//! A few tokens are bound by reading the weights, so their rows are multiplied as they stream in. More tokens share a block
//! of rows that is converted once. Either way an inner product is [`Real`]'s: batches do not change its bits.

use super::activation::{Sink, Source, silu};
use super::real::{Element, Real};
use super::simd::{InstructionSet, instruction_set, load, padded};
use super::weight::{Rows, RowsOf};
use super::{CpuBuffer, CpuWeight};
use crate::backend::{Epilogue, Matmul, RowOrder};
use crate::tensor::DType;
use crate::{Error, Result, par};

/// Multiplications that make a task.
const GRAIN: usize = 1 << 17;

/// So many tokens are multiplied with each row of weights as it is read; for more it is converted first.
const STREAMED_TOKENS: usize = 4;

/// Rows of weights that are converted at once, at most: a whole number of tiles of any width.
const BLOCK_ROWS: usize = 64;

/// Tokens at a time: bounds the memory for sums to this times the rows of the weight.
const BLOCK_TOKENS: usize = 256;

/// See [`Matmul`].
pub(super) fn matmul<A: Real>(args: Matmul<'_, CpuBuffer, CpuWeight>) -> Result<()> {
    const OP: &str = "matmul";
    let weight = args.weight;
    let (k, n) = (weight.k(), weight.rows());
    let order = match args.epilogue {
        Epilogue::None => RowOrder::Concatenated,
        Epilogue::SwiGlu => RowOrder::GateUp,
    };
    if weight.order() != order {
        let expected = format!("{order:?} rows for the epilogue {:?}", args.epilogue);
        return Err(Error::argument(OP, "weight", expected, format!("{:?} rows", weight.order())));
    }
    let (x, tokens) = Source::new(OP, "x", args.x, k)?;
    let width = if order == RowOrder::GateUp { n / 2 } else { n };
    let mut out = Sink::new(OP, "out", args.out, [tokens, width])?;

    for start in (0..tokens).step_by(BLOCK_TOKENS) {
        let tokens = start..tokens.min(start + BLOCK_TOKENS);
        let m = tokens.len();
        let mut xs = vec![A::ZERO; m * padded(k)];
        par::chunks(&mut xs, padded(k), |t, row| x.load(start + t, &mut row[..k]));
        let sums = match weight.typed() {
            Rows::BF16(rows) => sums(&rows, &xs, m, n, k),
            Rows::F16(rows) => sums(&rows, &xs, m, n, k),
            Rows::F32(rows) => sums(&rows, &xs, m, n, k),
            Rows::F64(rows) => sums(&rows, &xs, m, n, k),
        };
        out.write(tokens, |t, values| match args.epilogue {
            Epilogue::None => sums.read(t - start, weight.bias(), values),
            Epilogue::SwiGlu => {
                let mut both = vec![A::ZERO; n];
                sums.read(t - start, weight.bias(), &mut both);
                let (gate, up) = both.split_at(width);
                for ((value, &gate), &up) in values.iter_mut().zip(gate).zip(up) {
                    *value = silu(gate) * up;
                }
            }
        });
    }
    Ok(())
}

/// Sums in the order in which the tasks made them: blocks of rows of weights, each `[m, rows]`.
struct Sums<A> {
    values: Vec<A>,
    m: usize,
    block: usize,
}

impl<A: Real> Sums<A> {
    /// Gathers the sums of one token and adds the bias.
    fn read(&self, t: usize, bias: &[f64], to: &mut [A]) {
        for (values, to) in self.values.chunks(self.block * self.m).zip(to.chunks_mut(self.block)) {
            let rows = to.len();
            to.copy_from_slice(&values[t * rows..(t + 1) * rows]);
        }
        for (to, &bias) in to.iter_mut().zip(bias) {
            *to += A::from_f64(bias);
        }
    }
}

/// Multiplies `m` padded tokens with all `n` rows.
fn sums<W: Element, A: Real>(weight: &RowsOf<'_, W>, xs: &[A], m: usize, n: usize, k: usize) -> Sums<A> {
    let most = if m <= STREAMED_TOKENS { n } else { BLOCK_ROWS };
    let block = (GRAIN / k).next_multiple_of(4).clamp(4, most.max(4));
    let mut values = vec![A::ZERO; m * n];
    par::chunks(&mut values, block * m, |task, values| {
        let first = task * block;
        match m {
            1 => stream::<W, A, 1>(weight, first, xs, values),
            2 => stream::<W, A, 2>(weight, first, xs, values),
            3 => stream::<W, A, 3>(weight, first, xs, values),
            STREAMED_TOKENS => stream::<W, A, STREAMED_TOKENS>(weight, first, xs, values),
            _ => {
                let mut rows = vec![A::ZERO; values.len() / m * padded(k)];
                for (n, row) in rows.chunks_mut(padded(k)).enumerate() {
                    load(weight.row(first + n), row);
                }
                products(&rows, xs, padded(k), values);
            }
        }
    });
    Sums { values, m, block }
}

/// Products of `C` tokens with the rows from `first` on, converted in registers.
fn stream<W: Element, A: Real, const C: usize>(
    weight: &RowsOf<'_, W>,
    first: usize,
    xs: &[A],
    values: &mut [A],
) {
    let (rows, width) = (values.len() / C, xs.len() / C);
    let xs: [&[A]; C] = std::array::from_fn(|c| &xs[c * width..][..width]);
    let mut put = |r: usize, sums: [A; C]| {
        for (c, sum) in sums.into_iter().enumerate() {
            values[c * rows + r] = sum;
        }
    };
    // Four rows at once: their chains of additions hide each other's latency.
    let fours = rows / 4 * 4;
    for r in (0..fours).step_by(4) {
        let weights: [&[W]; 4] = std::array::from_fn(|i| weight.row(first + r + i));
        A::dots(weights, xs).into_iter().enumerate().for_each(|(i, sums)| put(r + i, sums));
    }
    for r in fours..rows {
        let [sums] = A::dots([weight.row(first + r)], xs);
        put(r, sums);
    }
}

/// `values[c, r] = weights[r] · xs[c]` for all rows of both, each padded to `width` elements.
pub(super) fn products<A: Real>(weights: &[A], xs: &[A], width: usize, values: &mut [A]) {
    // As many sums as stay in registers.
    match (instruction_set(), A::DTYPE) {
        #[cfg(target_arch = "x86_64")]
        (InstructionSet::Avx512, DType::F32) => tiled::<A, 4, 4>(weights, xs, width, values),
        _ => tiled::<A, 2, 2>(weights, xs, width, values),
    }
}

/// [`products`] in tiles of `R` rows by `C` tokens, and narrower ones at the edges.
fn tiled<A: Real, const R: usize, const C: usize>(weights: &[A], xs: &[A], width: usize, values: &mut [A]) {
    let rows = weights.len() / width;
    for (xs, values) in xs.chunks(C * width).zip(values.chunks_mut(C * rows)) {
        if xs.len() == C * width {
            strip::<A, R, C>(weights, xs, width, values);
        } else {
            for (x, values) in xs.chunks(width).zip(values.chunks_mut(rows)) {
                strip::<A, R, 1>(weights, x, width, values);
            }
        }
    }
}

/// All products of `C` tokens.
fn strip<A: Real, const R: usize, const C: usize>(weights: &[A], xs: &[A], width: usize, values: &mut [A]) {
    let rows = weights.len() / width;
    let xs: [&[A]; C] = std::array::from_fn(|c| &xs[c * width..][..width]);
    let mut put = |r: usize, sums: [A; C]| {
        for (c, sum) in sums.into_iter().enumerate() {
            values[c * rows + r] = sum;
        }
    };
    for (tile, weights) in weights.chunks(R * width).enumerate() {
        let row = |r: usize| &weights[r * width..][..width];
        if weights.len() == R * width {
            let sums = A::dots(std::array::from_fn::<_, R, _>(row), xs);
            sums.into_iter().enumerate().for_each(|(r, sums)| put(tile * R + r, sums));
        } else {
            for r in 0..weights.len() / width {
                let [sums] = A::dots([row(r)], xs);
                put(tile * R + r, sums);
            }
        }
    }
}
