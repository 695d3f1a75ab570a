//! `y = epilogue(x W^T)`.
//!
//! One token is bound by reading the weights, so their rows are multiplied as they stream in. More tokens than one share
//! a block of rows that is converted once. Either way an inner product is [`dots`]: batches do not change its bits.

use super::activation::{Sink, Source, silu};
use super::real::{Element, Real};
use super::simd::{Hot, dispatch, dots, padded};
use super::weight::{Rows, RowsOf};
use super::{CpuBuffer, CpuWeight};
use crate::backend::{Epilogue, Matmul, RowOrder};
use crate::{Error, Result, par};

/// Multiplications that make a task.
const GRAIN: usize = 1 << 17;

/// Rows of weights that are converted at once: with the longest rows they still fit a core's L2.
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
    let most = if m == 1 { n } else { BLOCK_ROWS };
    let block = (GRAIN / k).next_multiple_of(4).clamp(4, most.max(4));
    let mut values = vec![A::ZERO; m * n];
    par::chunks(&mut values, block * m, |task, values| {
        dispatch(Block { weight, first: task * block, xs, k, m, values });
    });
    Sums { values, m, block }
}

/// The sums of a block of rows: `values` is `[m, rows]`.
struct Block<'a, W, A> {
    weight: &'a RowsOf<'a, W>,
    first: usize,
    xs: &'a [A],
    k: usize,
    m: usize,
    values: &'a mut [A],
}

impl<W: Element, A: Real> Hot for Block<'_, W, A> {
    type Output = ();

    #[inline(always)]
    fn run<const WIDE: bool>(self) {
        let rows = self.values.len() / self.m;
        if self.m == 1 {
            // Four rows at once, so that four chains of additions hide each other's latency.
            let mut n = 0;
            while n + 4 <= rows {
                let at = self.first + n;
                let weights = [at, at + 1, at + 2, at + 3].map(|n| self.weight.row(n));
                for (value, [sum]) in self.values[n..].iter_mut().zip(dots(weights, [self.xs])) {
                    *value = sum;
                }
                n += 4;
            }
            for n in n..rows {
                [[self.values[n]]] = dots([self.weight.row(self.first + n)], [self.xs]);
            }
            return;
        }
        let width = padded(self.k);
        let mut weights = vec![A::ZERO; rows * width];
        for (n, to) in weights.chunks_mut(width).enumerate() {
            for (to, from) in to.iter_mut().zip(self.weight.row(self.first + n)) {
                *to = from.load();
            }
        }
        products::<A, WIDE>(&weights, self.xs, width, self.values);
    }
}

/// `values[c, r] = weights[r] · xs[c]` for all rows of both, each padded to `width` elements.
#[inline(always)]
pub(super) fn products<A: Real, const WIDE: bool>(weights: &[A], xs: &[A], width: usize, values: &mut [A]) {
    if WIDE && size_of::<A>() == 4 {
        tiled::<A, 4, 4>(weights, xs, width, values);
    } else {
        tiled::<A, 2, 2>(weights, xs, width, values);
    }
}

/// [`products`] in tiles of `R` rows by `C` tokens, whose sums stay in registers.
#[inline(always)]
fn tiled<A: Real, const R: usize, const C: usize>(weights: &[A], xs: &[A], width: usize, values: &mut [A]) {
    let rows = weights.len() / width;
    for (xs, values) in xs.chunks(C * width).zip(values.chunks_mut(C * rows)) {
        for (tile, weights) in weights.chunks(R * width).enumerate() {
            let row = |r: usize| &weights[r * width..][..width];
            let x = |c: usize| &xs[c * width..][..width];
            let at = tile * R;
            if weights.len() == R * width && xs.len() == C * width {
                let sums = dots::<A, A, R, C>(std::array::from_fn(row), std::array::from_fn(x));
                for r in 0..R {
                    for c in 0..C {
                        values[c * rows + at + r] = sums[r][c];
                    }
                }
            } else {
                for r in 0..weights.len() / width {
                    for c in 0..xs.len() / width {
                        [[values[c * rows + at + r]]] = dots([row(r)], [x(c)]);
                    }
                }
            }
        }
    }
}
