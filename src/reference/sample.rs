//! Sampling, defined so that every device gives the same bits.
//!
//! The steps and their order are Hugging Face's: repetition penalty, temperature, top-k, top-p, min-p, draw. What is
//! ours is the arithmetic. A probability that has been summed in floating point depends on the order of summation, which
//! differs between a CPU and a GPU. So the unnormalised probabilities `exp(x_i - max)` are turned into 64-bit fixed point
//! ([`weight`], [`ONE`] for the most likely token) by operations that IEEE 754 defines to the bit, and from there on all
//! sums, limits and the draw are exact integers, in whatever order they are formed.

use std::cmp::Ordering;

use super::CpuBuffer;
use super::access::{Input, check_dtype, check_rank, check_shape, numbers, rows_mut};
use super::philox::philox4x32_10;
use crate::backend::Sample;
use crate::params::SampleRow;
use crate::tensor::DType;
use crate::{Error, Result};

/// See [`Sample`].
pub(super) fn sample(args: Sample<'_, CpuBuffer>) -> Result<()> {
    const OP: &str = "sample";
    let Sample { logits, rows, seen, out } = args;
    let [n, vocab_size] = check_rank(OP, "logits", logits.shape())?;
    check_dtype(OP, "logits", logits.dtype, DType::F32)?;
    // Their owner pads the rows.
    let logits = Input::new(OP, "logits", logits)?;
    let size = size_of::<SampleRow>();
    let rows: &[u8] = numbers(OP, "rows", rows, DType::U8, &[n, size])?;
    let rows: Vec<SampleRow> = rows.chunks_exact(size).map(bytemuck::pod_read_unaligned).collect();

    let words = vocab_size.div_ceil(32);
    let [num_seen, _] = check_rank(OP, "seen", seen.shape())?;
    check_dtype(OP, "seen", seen.dtype, DType::U32)?;
    check_shape(OP, "seen", seen.shape(), &[num_seen, words])?;
    check_dtype(OP, "out", out.dtype, DType::I32)?;
    check_shape(OP, "out", out.shape(), &[n])?;
    for (arg, layout) in [("seen", &seen.layout), ("out", &out.layout)] {
        if !layout.is_contiguous() {
            return Err(Error::argument(OP, arg, "contiguous elements", format!("{layout:?}")));
        }
    }
    if let Some(row) = rows.iter().find(|row| row.seen_row < -1 || row.seen_row >= num_seen as i32) {
        return Err(Error::argument(OP, "rows", format!("seen_row within -1..{num_seen}"), row.seen_row));
    }
    let memory = |arg| move || super::access::read_only(OP, arg);
    let seen_bytes = seen.buffer.bytes_mut().ok_or_else(memory("seen"))?;
    let seen: &mut [u32] = rows_mut(OP, "seen", seen_bytes, &seen.layout)?;
    let out_bytes = out.buffer.bytes_mut().ok_or_else(memory("out"))?;
    let out: &mut [i32] = rows_mut(OP, "out", out_bytes, &out.layout)?;
    let mut values = vec![0.0f32; vocab_size];
    for (r, (row, token)) in rows.iter().zip(out).enumerate() {
        let seen = usize::try_from(row.seen_row).ok().map(|s| &mut seen[s * words..(s + 1) * words]);
        logits.load([r], &mut values);
        *token = sample_row(&values, row, seen);
    }
    Ok(())
}

/// The weight of the most likely token. 2^40 leaves 2^23 tokens before a sum overflows, and drops what is less likely
/// than e^-27 of the most likely token.
const ONE: u64 = 1 << 40;

/// `exp(y)` for `y <= 0` as a multiple of `1 / ONE`, from f32 multiplications and additions alone (none of them fused).
fn weight(y: f32) -> u64 {
    /// `ln(2)^k / k!`: the Taylor series of 2^f, good to 1.2e-7 for f in [-1/2, 1/2].
    const SERIES: [f32; 7] = [
        1.0,
        std::f32::consts::LN_2,
        0.240_226_5,
        0.055_504_11,
        0.009_618_129,
        0.001_333_355_8,
        0.000_154_035_3,
    ];
    let exponent = y * std::f32::consts::LOG2_E;
    if exponent.is_nan() || exponent < -41.0 {
        return 0;
    }
    let integer = (exponent + 0.5).floor();
    let fraction = exponent - integer;
    let power = SERIES.iter().rev().fold(0.0, |sum, c| sum * fraction + c);
    ((power * ONE as f32) as u64) >> (-integer) as u32
}

/// The part `fraction` (within 0..=1) of `total`, rounded down.
fn part_of(total: u64, fraction: f32) -> u64 {
    let fraction = (f64::from(fraction) * 4_294_967_296.0) as u64;
    ((u128::from(total) * u128::from(fraction)) >> 32) as u64
}

/// Larger logits first, the lower index first among equals.
fn by_rank(a: &(f32, u32), b: &(f32, u32)) -> Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

/// Chooses a token from one row of logits and adds it to `seen`, the bitmap of the row's sequence (`ceil(V / 32)` words;
/// `None` where the row has none). NaN counts as minus infinity. Returns -1 if no logit is above minus infinity.
///
/// - penalty: a seen token's logit is multiplied by it where negative, else divided by it
/// - temperature 0: the largest logit, the lowest index among equals
/// - top-k: tokens as likely as the k-th survive with it
/// - top-p: of the tokens in ascending order (among equals, the highest index first) those go whose weights sum up to at
///   most `1 - top_p` of the whole; the most likely token stays
/// - min-p: tokens go whose weight is below `min_p` times the largest
/// - the draw: Philox4x32-10 with the key `seed` and the counter `sequence * 2^64 + position` gives 64 bits, their share of the
///   survivors' weights is the target, and the first token (by index) whose running sum exceeds the target is taken
pub fn sample_row(logits: &[f32], row: &SampleRow, mut seen: Option<&mut [u32]>) -> i32 {
    let is_seen = |i: usize| match &seen {
        Some(words) => words[i / 32] >> (i % 32) & 1 == 1,
        None => false,
    };
    let penalised = logits.iter().enumerate().filter(|(_, x)| !x.is_nan()).map(|(i, &x)| {
        let x = match is_seen(i) {
            true if x < 0.0 => x * row.repetition_penalty,
            true => x / row.repetition_penalty,
            false => x,
        };
        // -0 and +0 are equal, and must be for `by_rank` too.
        (x + 0.0, i as u32)
    });
    let best = penalised.clone().filter(|x| x.0 > f32::NEG_INFINITY).min_by(by_rank);
    let Some(best) = best else { return -1 };
    let token = if row.temperature == 0.0 { best.1 } else { draw(penalised, best, row) };
    if let Some(words) = &mut seen {
        words[token as usize / 32] |= 1 << (token % 32);
    }
    token as i32
}

/// Temperature, the three filters and the draw, over `(logit, index)` in ascending order of the index.
fn draw(tokens: impl Iterator<Item = (f32, u32)>, best: (f32, u32), row: &SampleRow) -> u32 {
    let max = best.0 / row.temperature;
    // Tokens without weight cannot be drawn, count nothing in a sum, and are behind every token with weight, so that
    // leaving them out changes no filter.
    let mut survivors: Vec<(f32, u32, u64)> = tokens
        .filter_map(|(x, i)| {
            let x = x / row.temperature;
            let w = if x == max { ONE } else { weight(x - max) };
            (w > 0).then_some((x, i, w))
        })
        .collect();

    let filters_by_rank = row.top_p < 1.0 || (row.top_k > 0 && (row.top_k as usize) < survivors.len());
    if filters_by_rank {
        survivors.sort_unstable_by(|a, b| by_rank(&(a.0, a.1), &(b.0, b.1)));
        if row.top_k > 0 && (row.top_k as usize) < survivors.len() {
            let threshold = survivors[row.top_k as usize - 1].0;
            survivors.truncate(survivors.partition_point(|s| s.0 >= threshold));
        }
        if row.top_p < 1.0 {
            let total: u64 = survivors.iter().map(|s| s.2).sum();
            let limit = part_of(total, 1.0 - row.top_p);
            let mut below = 0;
            while survivors.len() > 1 && below + survivors[survivors.len() - 1].2 <= limit {
                below += survivors[survivors.len() - 1].2;
                survivors.pop();
            }
        }
        survivors.sort_unstable_by_key(|s| s.1);
    }
    let least = part_of(ONE, row.min_p);
    survivors.retain(|s| s.2 >= least);

    let words = philox4x32_10(
        [row.position as u32, (row.position >> 32) as u32, row.sequence as u32, (row.sequence >> 32) as u32],
        [row.seed as u32, (row.seed >> 32) as u32],
    );
    let random = u64::from(words[0]) | u64::from(words[1]) << 32;
    let total: u64 = survivors.iter().map(|s| s.2).sum();
    let target = ((u128::from(random) * u128::from(total)) >> 64) as u64;
    let mut sum = 0;
    for (_, token, w) in &survivors {
        sum += w;
        if sum > target {
            return *token;
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{Layout, Tensor, View};

    fn row() -> SampleRow {
        SampleRow {
            temperature: 1.0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            top_k: 0,
            seen_row: -1,
            seed: 7,
            sequence: 3,
            position: 0,
        }
    }

    fn logits(n: usize) -> Vec<f32> {
        (0..n as u32)
            .map(|i| philox4x32_10([i, 0, 0, 1], [5, 6])[0] as f32 / u32::MAX as f32 * 8.0 - 4.0)
            .collect()
    }

    /// How often each token is drawn at `draws` successive positions.
    fn histogram(logits: &[f32], row: SampleRow, draws: u64) -> Vec<u64> {
        let mut counts = vec![0; logits.len()];
        for position in 0..draws {
            counts[sample_row(logits, &SampleRow { position, ..row }, None) as usize] += 1;
        }
        counts
    }

    /// The tokens that Hugging Face's warpers leave, and their probabilities, in f64.
    fn expected(logits: &[f32], row: &SampleRow) -> Vec<f64> {
        let scaled: Vec<f64> = logits.iter().map(|&x| f64::from(x / row.temperature)).collect();
        let mut order: Vec<usize> = (0..scaled.len()).collect();
        order.sort_by(|&a, &b| scaled[b].total_cmp(&scaled[a]).then(a.cmp(&b)));
        let mut kept = vec![true; scaled.len()];
        if row.top_k > 0 && (row.top_k as usize) < scaled.len() {
            let threshold = scaled[order[row.top_k as usize - 1]];
            for (k, x) in kept.iter_mut().zip(&scaled) {
                *k = *x >= threshold;
            }
        }
        let softmax = |kept: &[bool]| {
            let weights: Vec<f64> =
                scaled.iter().zip(kept).map(|(x, &k)| if k { x.exp() } else { 0.0 }).collect();
            let total: f64 = weights.iter().sum();
            weights.iter().map(|w| w / total).collect::<Vec<f64>>()
        };
        let probabilities = softmax(&kept);
        let mut below = 0.0;
        for &i in order[1..].iter().rev() {
            below += probabilities[i];
            if below <= f64::from(1.0 - row.top_p) {
                kept[i] = false;
            }
        }
        let probabilities = softmax(&kept);
        let largest = probabilities[order[0]];
        for (k, p) in kept.iter_mut().zip(&probabilities) {
            *k &= *p >= f64::from(row.min_p) * largest;
        }
        softmax(&kept)
    }

    #[test]
    fn weight_is_the_exponential() {
        assert_eq!(weight(0.0), ONE);
        for i in 0..40_000 {
            let y = -(i as f32) / 1500.0;
            let exact = f64::from(y).exp() * ONE as f64;
            let error = (weight(y) as f64 - exact).abs();
            assert!(error <= exact * 3e-6 + 1.0, "y {y}: {} for {exact}", weight(y));
        }
        assert_eq!(weight(f32::NEG_INFINITY), 0);
        assert_eq!(weight(f32::NAN), 0);
    }

    #[test]
    fn draws_follow_the_filtered_distribution() {
        let logits = logits(50);
        let cases = [
            row(),
            SampleRow { temperature: 0.6, ..row() },
            SampleRow { top_k: 5, ..row() },
            SampleRow { top_p: 0.7, ..row() },
            SampleRow { min_p: 0.2, ..row() },
            SampleRow { temperature: 1.5, top_k: 20, top_p: 0.9, min_p: 0.05, ..row() },
        ];
        for case in cases {
            let draws = 40_000;
            let counts = histogram(&logits, case, draws);
            let expected = expected(&logits, &case);
            let mut chi_squared = 0.0;
            let mut support = 0;
            for (i, (&count, p)) in counts.iter().zip(&expected).enumerate() {
                if *p == 0.0 {
                    assert_eq!(count, 0, "{case:?}: token {i} was filtered out");
                    continue;
                }
                let mean = p * draws as f64;
                chi_squared += (count as f64 - mean).powi(2) / mean;
                support += 1;
            }
            // Mean of chi-squared is its degrees of freedom, its deviation sqrt(2 dof): six deviations are no accident.
            let dof = f64::from(support - 1);
            assert!(
                chi_squared < dof + 6.0 * (2.0 * dof).sqrt() + 1.0,
                "{case:?}: chi^2 {chi_squared} for {dof}"
            );
        }
    }

    #[test]
    fn greedy_takes_the_lowest_of_equals() {
        let greedy = SampleRow { temperature: 0.0, ..row() };
        assert_eq!(sample_row(&[1.0, 3.0, 3.0, 2.0], &greedy, None), 1);
        assert_eq!(sample_row(&[f32::NAN, -1.0, f32::NEG_INFINITY], &greedy, None), 1);
        assert_eq!(sample_row(&[-0.0, 0.0], &greedy, None), 0);
    }

    /// The tokens of rows of 5 logits that stand `stride` elements apart.
    fn tokens_of_rows(stride: usize) -> Result<Vec<i32>> {
        const ROWS: usize = 3;
        let tensor = |dtype, shape: &[usize], bytes: &[u8]| {
            let mut buffer = CpuBuffer::zeroed(bytes.len())?;
            buffer.bytes_mut().unwrap().copy_from_slice(bytes);
            Tensor::new(buffer, dtype, shape)
        };
        // What stands between the rows is larger than what stands in them.
        let values: Vec<f32> =
            (0..ROWS * stride).map(|i| if i % stride < 5 { logits(100)[i] } else { 9.0 }).collect();
        let padded = tensor(DType::F32, &[ROWS, stride], bytemuck::cast_slice(&values))?;
        let layout = Layout::strided(&[ROWS, 5], &[stride, 1], 0)?;
        let settings = [SampleRow { temperature: 0.0, ..row() }; ROWS];
        let rows = tensor(DType::U8, &[ROWS, size_of::<SampleRow>()], bytemuck::cast_slice(&settings))?;
        let mut seen = tensor(DType::U32, &[0, 1], &[])?;
        let mut out = tensor(DType::I32, &[ROWS], &[0; 4 * ROWS])?;
        sample(Sample {
            logits: View { layout, ..padded.view() },
            rows: rows.view(),
            seen: seen.view_mut(),
            out: out.view_mut(),
        })?;
        let tokens: Vec<i32> = bytemuck::cast_slice(out.view().buffer.bytes()).to_vec();
        for (&token, values) in tokens.iter().zip(values.chunks(stride)) {
            assert_eq!(token, sample_row(&values[..5], &settings[0], None));
        }
        Ok(tokens)
    }

    #[test]
    fn rows_may_be_padded() {
        let tokens = tokens_of_rows(8).unwrap();
        assert!(tokens.len() == 3 && tokens.iter().all(|token| (0..5).contains(token)), "{tokens:?}");
        assert_eq!(tokens_of_rows(5).unwrap().len(), 3);
    }

    #[test]
    fn nothing_to_choose_is_reported() {
        for temperature in [0.0, 1.0] {
            let case = SampleRow { temperature, ..row() };
            assert_eq!(sample_row(&[f32::NAN, f32::NEG_INFINITY], &case, None), -1);
            assert_eq!(sample_row(&[], &case, None), -1);
        }
    }

    #[test]
    fn infinite_logits_win() {
        let counts = histogram(&[f32::INFINITY, 100.0, f32::INFINITY], row(), 1000);
        assert_eq!(counts[1], 0);
        assert!(counts[0] > 400 && counts[2] > 400, "{counts:?}");
    }

    #[test]
    fn ties_with_the_kth_survive() {
        let counts = histogram(&[2.0, 1.0, 1.0, 1.0, 0.0], SampleRow { top_k: 2, ..row() }, 5000);
        assert!(counts[..4].iter().all(|&c| c > 0) && counts[4] == 0, "{counts:?}");
    }

    #[test]
    fn top_p_keeps_the_lower_index_of_equals() {
        // Quarters: dropping two of them reaches exactly 1 - p.
        let counts = histogram(&[1.0; 4], SampleRow { top_p: 0.5, ..row() }, 2000);
        assert!(counts[0] > 0 && counts[1] > 0 && counts[2] == 0 && counts[3] == 0, "{counts:?}");
        let counts = histogram(&[0.0, 5.0], SampleRow { top_p: 1e-6, ..row() }, 200);
        assert_eq!(counts, [0, 200], "the most likely token stays");
    }

    #[test]
    fn repetition_penalty_pushes_seen_tokens_down() {
        let greedy = SampleRow { temperature: 0.0, repetition_penalty: 2.0, ..row() };
        let mut seen = [0b001u32];
        assert_eq!(sample_row(&[3.0, 2.0, 1.0], &greedy, Some(&mut seen)), 1);
        assert_eq!(seen, [0b011], "the sampled token is added");
        let mut seen = [0b010u32];
        assert_eq!(sample_row(&[-3.0, -2.0], &greedy, Some(&mut seen)), 0, "negative logits are multiplied");
    }

    #[test]
    fn the_same_counter_draws_the_same_token() {
        let logits = logits(1000);
        let draw = |row: SampleRow| sample_row(&logits, &row, None);
        let first: Vec<i32> = (0..64).map(|position| draw(SampleRow { position, ..row() })).collect();
        let again: Vec<i32> = (0..64).map(|position| draw(SampleRow { position, ..row() })).collect();
        assert_eq!(first, again);
        for other in [SampleRow { seed: 8, ..row() }, SampleRow { sequence: 4, ..row() }] {
            let changed: Vec<i32> = (0..64).map(|position| draw(SampleRow { position, ..other })).collect();
            assert_ne!(first, changed);
        }
    }
}
