//! `y = epilogue(x W^T)`.
//!
//! A few tokens are bound by reading the weights, so their rows are multiplied as they stream in. More tokens share a block
//! of rows that is converted once. Either way an inner product is [`Real`]'s: batches do not change its bits.

use std::ops::Range;

use super::access::Input;
use super::activation::{Sink, Source, silu};
use super::real::{Element, Real};
use super::simd::{InstructionSet, instruction_set, load, padded};
use super::weight::{Fp8BlockRows, Int4Rows, Rows, RowsOf};
use super::{CpuBuffer, CpuWeight};
use crate::backend::{Epilogue, Matmul, RowOrder};
use crate::quant::fp8_blocks::BLOCK;
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

    let rows = weight.typed();
    // Codes are multiplied as they are, and their sums by both scales.
    let scaled = match &rows {
        Rows::Fp8 { scales, .. } => Some((x.by_row().ok_or_else(|| needs_fp8(OP))?, scales)),
        _ => None,
    };
    let blocks = match &rows {
        Rows::Fp8Blocks(rows) => Some((rows, x.by_block(k).ok_or_else(|| needs_fp8_blocks(OP, k))?)),
        _ => None,
    };
    for start in (0..tokens).step_by(BLOCK_TOKENS) {
        let tokens = start..tokens.min(start + BLOCK_TOKENS);
        let m = tokens.len();
        if let Some((rows, x)) = &blocks {
            let sums: Sums<A> = block_sums(rows, *x, tokens.clone(), n, k);
            write(&mut out, weight, args.epilogue, tokens, |t, values| sums.read(t - start, values));
            continue;
        }
        let mut xs = vec![A::ZERO; m * padded(k)];
        let mut token_scales = vec![A::ONE; m];
        par::zip_chunks((&mut xs, padded(k)), (&mut token_scales, 1), |t, row, of_row| match &scaled {
            Some(((codes, scale), _)) => {
                codes.load([start + t], &mut row[..k]);
                scale.load([start + t], of_row);
            }
            None => x.load(start + t, &mut row[..k]),
        });
        let sums = match &rows {
            Rows::BF16(rows) => sums(rows, &xs, m, n, k),
            Rows::F16(rows) => sums(rows, &xs, m, n, k),
            Rows::F32(rows) => sums(rows, &xs, m, n, k),
            Rows::F64(rows) => sums(rows, &xs, m, n, k),
            Rows::Int4(rows) => sums(rows, &xs, m, n, k),
            Rows::Fp8 { codes, .. } => sums(codes, &xs, m, n, k),
            Rows::Fp8Blocks(_) => continue,
        };
        let read = |t: usize, values: &mut [A]| {
            let t = t - start;
            sums.read(t, values);
            if let Some((_, row_scales)) = scaled {
                for (value, &row_scale) in values.iter_mut().zip(row_scales) {
                    *value = *value * token_scales[t] * A::from_f32(row_scale);
                }
            }
        };
        write(&mut out, weight, args.epilogue, tokens, read);
    }
    Ok(())
}

/// Adds the bias to what `sums` reads of each token, and writes what the epilogue makes of it.
fn write<A: Real>(
    out: &mut Sink<'_>,
    weight: &CpuWeight,
    epilogue: Epilogue,
    tokens: Range<usize>,
    sums: impl Fn(usize, &mut [A]) + Sync + Send,
) {
    let read = |t: usize, values: &mut [A]| {
        sums(t, values);
        for (value, &bias) in values.iter_mut().zip(weight.bias()) {
            *value += A::from_f64(bias);
        }
    };
    out.write(tokens, |t, values| match epilogue {
        Epilogue::None => read(t, values),
        Epilogue::SwiGlu => {
            let mut both = vec![A::ZERO; weight.rows()];
            read(t, &mut both);
            let (gate, up) = both.split_at(values.len());
            for ((value, &gate), &up) in values.iter_mut().zip(gate).zip(up) {
                *value = silu(gate) * up;
            }
        }
    });
}

fn needs_fp8(op: &'static str) -> Error {
    Error::argument(op, "x", "an fp8 activation with one scale a token, for a weight in fp8", "another")
}

fn needs_fp8_blocks(op: &'static str, k: usize) -> Error {
    let expected =
        format!("an fp8 activation with {} scales a token, for a weight in blocks", k.div_ceil(BLOCK));
    Error::argument(op, "x", expected, "another")
}

/// Sums of the products of codes over each block of columns, times both scales, added up.
fn block_sums<A: Real>(
    weight: &Fp8BlockRows<'_>,
    (codes, scale): (Input<'_>, Input<'_>),
    tokens: Range<usize>,
    n: usize,
    k: usize,
) -> Sums<A> {
    let (m, blocks) = (tokens.len(), k.div_ceil(BLOCK));
    let (mut xs, mut scales) = (vec![A::ZERO; m * k], vec![A::ZERO; m * blocks]);
    par::zip_chunks((&mut xs, k), (&mut scales, blocks), |t, row, of_row| {
        codes.load([tokens.start + t], row);
        scale.load([tokens.start + t], of_row);
    });
    let mut total = vec![A::ZERO; m * n];
    for block in 0..blocks {
        let columns = block * BLOCK..k.min((block + 1) * BLOCK);
        let width = padded(columns.len());
        let mut xs_of_block = vec![A::ZERO; m * width];
        for (to, row) in xs_of_block.chunks_mut(width).zip(xs.chunks(k)) {
            to[..columns.len()].copy_from_slice(&row[columns.clone()]);
        }
        let products = sums(&Columns { weight, columns: columns.clone() }, &xs_of_block, m, n, columns.len());
        par::chunks(&mut total, n, |t, total| {
            let mut of_block = vec![A::ZERO; n];
            products.read(t, &mut of_block);
            let token = scales[t * blocks + block];
            for (row, (total, sum)) in total.iter_mut().zip(of_block).enumerate() {
                *total += sum * (token * A::from_f32(weight.scales(row)[block]));
            }
        });
    }
    Sums { values: total, m, block: n.max(1) }
}

/// The codes of some columns.
struct Columns<'a> {
    weight: &'a Fp8BlockRows<'a>,
    columns: Range<usize>,
}

impl Factors for Columns<'_> {
    /// A few columns of each row: they are converted for a single token too.
    type Stored = f32;

    fn stored(&self) -> Option<&RowsOf<'_, f32>> {
        None
    }

    fn load<A: Real>(&self, n: usize, to: &mut [A]) {
        self.weight.load_codes(n, self.columns.clone(), to);
    }
}

/// Rows of weights that are multiplied.
trait Factors: Sync {
    /// What they are stored in, where that can be multiplied as it streams in.
    type Stored: Element;

    /// Row `n` as it is stored; `None` where it has to be converted first.
    fn stored(&self) -> Option<&RowsOf<'_, Self::Stored>>;

    /// Converts row `n`.
    fn load<A: Real>(&self, n: usize, to: &mut [A]);
}

impl<W: Element> Factors for RowsOf<'_, W> {
    type Stored = W;

    fn stored(&self) -> Option<&RowsOf<'_, W>> {
        Some(self)
    }

    fn load<A: Real>(&self, n: usize, to: &mut [A]) {
        load(self.row(n), to);
    }
}

impl Factors for Int4Rows<'_> {
    /// Codes mean nothing without their group: rows are converted for a single token too.
    type Stored = f32;

    fn stored(&self) -> Option<&RowsOf<'_, f32>> {
        None
    }

    fn load<A: Real>(&self, n: usize, to: &mut [A]) {
        Int4Rows::load(self, n, to);
    }
}

/// Sums in the order in which the tasks made them: blocks of rows of weights, each `[m, rows]`.
struct Sums<A> {
    values: Vec<A>,
    m: usize,
    block: usize,
}

impl<A: Real> Sums<A> {
    /// Gathers the sums of one token.
    fn read(&self, t: usize, to: &mut [A]) {
        for (values, to) in self.values.chunks(self.block * self.m).zip(to.chunks_mut(self.block)) {
            let rows = to.len();
            to.copy_from_slice(&values[t * rows..(t + 1) * rows]);
        }
    }
}

/// Multiplies `m` padded tokens with all `n` rows.
fn sums<A: Real>(weight: &impl Factors, xs: &[A], m: usize, n: usize, k: usize) -> Sums<A> {
    let streamed = weight.stored().filter(|_| m <= STREAMED_TOKENS);
    let most = if streamed.is_some() { n } else { BLOCK_ROWS };
    let block = (GRAIN / k).next_multiple_of(4).clamp(4, most.max(4));
    let mut values = vec![A::ZERO; m * n];
    par::chunks(&mut values, block * m, |task, values| {
        let first = task * block;
        match (streamed, m) {
            (Some(weight), 1) => stream::<_, A, 1>(weight, first, xs, values),
            (Some(weight), 2) => stream::<_, A, 2>(weight, first, xs, values),
            (Some(weight), 3) => stream::<_, A, 3>(weight, first, xs, values),
            (Some(weight), STREAMED_TOKENS) => stream::<_, A, STREAMED_TOKENS>(weight, first, xs, values),
            _ => {
                let mut rows = vec![A::ZERO; values.len() / m * padded(k)];
                for (n, row) in rows.chunks_mut(padded(k)).enumerate() {
                    weight.load(first + n, row);
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
