//! Causal attention over a paged cache, as its formula reads: all scores of a query, their maximum, the exponentials and
//! their sum, then the weighted values. Decode and prefill are the same.
//!
//! A task is a block of one sequence's queries with all query heads of one key/value head, so that keys and values are
//! read and converted once for all of them. What one query computes does not depend on its block.

use std::ops::Range;

use super::CpuBuffer;
use super::access::{Input, Scatter, check_dtype, check_rank, check_shape, numbers};
use super::matmul::products;
use super::real::{Real, round};
use super::rope::check_scale;
use super::rows::indices;
use super::simd::{add_weighted, exponentials, padded};
use crate::backend::Attention;
use crate::tensor::DType;
use crate::{Error, Result, par};

/// Queries of a sequence that make a task.
const BLOCK_QUERIES: usize = 8;

/// Keys that are converted at once.
const BLOCK_KEYS: usize = 32;

/// See [`Attention`]; no sequence brings more than `max_q_len` queries.
pub(super) fn attention<A: Real>(
    op: &'static str,
    max_q_len: usize,
    args: Attention<'_, CpuBuffer>,
) -> Result<()> {
    let problem = Problem::<A>::new(op, max_q_len, &args)?;
    let mut out = Scatter::new(op, "out", args.out)?;
    let mut lse = args.lse.map(|lse| Scatter::new(op, "lse", lse)).transpose()?;
    let (group, head_dim) = (problem.group, problem.head_dim);
    let tasks = problem.tasks();
    let results = par::map(tasks.len(), |i| Run { problem: &problem, task: &tasks[i] }.run());
    for (task, rows) in tasks.iter().zip(results) {
        for (row, lse_of_row) in rows.lse.iter().enumerate() {
            let index = [task.queries.start + row / group, task.kv_head * group + row % group];
            out.store(index, &rows.values[row * padded(head_dim)..][..head_dim]);
            if let Some(lse) = &mut lse {
                lse.store(index, &[*lse_of_row]);
            }
        }
    }
    Ok(())
}

/// Arguments that have been checked.
struct Problem<'a, A> {
    q: Input<'a>,
    k: Input<'a>,
    v: Input<'a>,
    k_scale: A,
    v_scale: A,
    softmax_scale: A,
    /// Probabilities are rounded to the activations' type before they meet the values, as a tensor core takes them.
    rounded_to: DType,
    page_size: usize,
    head_dim: usize,
    kv_heads: usize,
    /// Query heads of a key/value head.
    group: usize,
    sequences: Vec<Sequence>,
}

struct Sequence {
    queries: Range<usize>,
    kv_len: usize,
    pages: Vec<usize>,
}

impl Sequence {
    /// How many keys query `t` sees.
    fn visible(&self, t: usize) -> usize {
        (self.kv_len + t + 1).saturating_sub(self.queries.end)
    }
}

/// Some queries of a sequence, with the query heads of one key/value head.
struct Task<'a> {
    sequence: &'a Sequence,
    queries: Range<usize>,
    kv_head: usize,
}

impl<'a, A: Real> Problem<'a, A> {
    fn new(op: &'static str, max_q_len: usize, args: &Attention<'a, CpuBuffer>) -> Result<Self> {
        let [tokens, q_heads, head_dim] = check_rank(op, "q", args.q.shape())?;
        let [pages, page_size, kv_heads, _] = check_rank(op, "cache.k", args.cache.k.shape())?;
        for (arg, cache) in [("cache.k", &args.cache.k), ("cache.v", &args.cache.v)] {
            check_shape(op, arg, cache.shape(), &[pages, page_size, kv_heads, head_dim])?;
        }
        check_scale(op, "cache.k_scale", args.cache.k.dtype, args.cache.k_scale)?;
        check_scale(op, "cache.v_scale", args.cache.v.dtype, args.cache.v_scale)?;
        if page_size == 0 {
            return Err(Error::argument(op, "cache.k", "pages of at least one token", "a page_size of 0"));
        }
        if kv_heads == 0 || !q_heads.is_multiple_of(kv_heads) {
            let expected = format!("a multiple of {kv_heads} key/value heads");
            return Err(Error::argument(op, "q", expected, format!("{q_heads} query heads")));
        }
        check_shape(op, "out", args.out.shape(), args.q.shape())?;
        check_dtype(op, "out", args.out.dtype, args.q.dtype)?;
        if let Some(lse) = &args.lse {
            check_dtype(op, "lse", lse.dtype, DType::F32)?;
            check_shape(op, "lse", lse.shape(), &[tokens, q_heads])?;
        }
        Ok(Problem {
            q: Input::new(op, "q", args.q)?,
            k: Input::new(op, "cache.k", args.cache.k)?,
            v: Input::new(op, "cache.v", args.cache.v)?,
            k_scale: A::from_f32(args.cache.k_scale),
            v_scale: A::from_f32(args.cache.v_scale),
            softmax_scale: A::from_f32(args.softmax_scale),
            rounded_to: args.out.dtype,
            page_size,
            head_dim,
            kv_heads,
            group: q_heads / kv_heads,
            sequences: sequences(op, max_q_len, args, [tokens, pages, page_size])?,
        })
    }

    fn tasks(&self) -> Vec<Task<'_>> {
        let mut tasks = Vec::new();
        for sequence in &self.sequences {
            let end = sequence.queries.end;
            for start in sequence.queries.clone().step_by(BLOCK_QUERIES) {
                tasks.extend((0..self.kv_heads).map(|kv_head| Task {
                    sequence,
                    queries: start..end.min(start + BLOCK_QUERIES),
                    kv_head,
                }));
            }
        }
        tasks
    }
}

/// Reads and checks what describes the sequences.
fn sequences(
    op: &'static str,
    max_q_len: usize,
    args: &Attention<'_, CpuBuffer>,
    [tokens, pages, page_size]: [usize; 3],
) -> Result<Vec<Sequence>> {
    let [batch, max_pages] = check_rank(op, "page_table", args.page_table.shape())?;
    let indptr = numbers::<i32>(op, "q_indptr", args.q_indptr, DType::I32, &[batch + 1])?;
    let lengths = numbers::<i32>(op, "kv_len", args.kv_len, DType::I32, &[batch])?;
    let table = numbers::<i32>(op, "page_table", args.page_table, DType::I32, &[batch, max_pages])?;
    let indptr = indices(op, "q_indptr", indptr, tokens + 1)?;
    if indptr[0] != 0 || indptr[batch] != tokens || !indptr.is_sorted() {
        return Err(Error::argument(
            op,
            "q_indptr",
            format!("a rise from 0 to {tokens}"),
            format!("{indptr:?}"),
        ));
    }
    if args.sequences.start > args.sequences.end || args.sequences.end > batch {
        return Err(Error::argument(
            op,
            "sequences",
            format!("within 0..{batch}"),
            format!("{:?}", args.sequences),
        ));
    }
    let sequence = |s: usize| {
        let queries = indptr[s]..indptr[s + 1];
        let most = max_q_len.min(args.bounds.max_q_len);
        if queries.len() > most {
            let given = format!("{} in sequence {s}", queries.len());
            return Err(Error::argument(op, "q_indptr", format!("at most {most} queries a sequence"), given));
        }
        let longest = args.bounds.max_kv_len.min(max_pages * page_size);
        // A length of 0 marks a sequence that only fills up a batch: its queries see nothing.
        let fits = |&len: &usize| len == 0 || (queries.len()..=longest).contains(&len);
        let kv_len = usize::try_from(lengths[s]).ok().filter(fits).ok_or_else(|| {
            let expected = format!("0 or {} to {longest} tokens", queries.len());
            Error::argument(op, "kv_len", expected, format!("{} in sequence {s}", lengths[s]))
        })?;
        let used = &table[s * max_pages..][..kv_len.div_ceil(page_size)];
        Ok(Sequence { queries, kv_len, pages: indices(op, "page_table", used, pages)? })
    };
    args.sequences.clone().map(sequence).collect()
}

/// Results of a task, query by query and head by head.
struct Attended<A> {
    /// `[rows, padded(head_dim)]`.
    values: Vec<A>,
    /// `[rows]`.
    lse: Vec<A>,
}

/// A [`Task`] to run.
struct Run<'a, A> {
    problem: &'a Problem<'a, A>,
    task: &'a Task<'a>,
}

impl<A: Real> Run<'_, A> {
    fn run(&self) -> Attended<A> {
        let visible: Vec<usize> = self.task.queries.clone().map(|t| self.task.sequence.visible(t)).collect();
        let mut scores = self.scores(visible.last().copied().unwrap_or(0));
        let rows = visible.len() * self.problem.group;
        let (mut sums, mut lse) = (vec![A::ZERO; rows], vec![A::NEG_INFINITY; rows]);
        for (row, scores) in scores.rows_mut().enumerate() {
            let scores = &mut scores[..visible[row / self.problem.group]];
            if !scores.is_empty() {
                (sums[row], lse[row]) = self.softmax(scores);
            }
        }
        Attended { values: self.weighted_values(&scores, &visible, &sums), lse }
    }
}

/// A row of numbers for each query and head.
struct Scores<A> {
    values: Vec<A>,
    keys: usize,
}

impl<A> Scores<A> {
    fn rows_mut(&mut self) -> impl Iterator<Item = &mut [A]> {
        self.values.chunks_mut(self.keys.max(1))
    }
}

impl<A: Real> Run<'_, A> {
    /// `softmax_scale * q · k` of all rows with the first `keys` keys.
    fn scores(&self, keys: usize) -> Scores<A> {
        let Problem { group, head_dim, softmax_scale, .. } = *self.problem;
        let width = padded(head_dim);
        let rows = self.task.queries.len() * group;
        let mut q = vec![A::ZERO; rows * width];
        for (row, q) in q.chunks_mut(width).enumerate() {
            let head = self.task.kv_head * group + row % group;
            self.problem.q.load([self.task.queries.start + row / group, head], &mut q[..head_dim]);
        }
        let mut scores = vec![A::ZERO; rows * keys];
        let mut block = vec![A::ZERO; BLOCK_KEYS * width];
        let mut products_of_block = vec![A::ZERO; BLOCK_KEYS * rows];
        for start in (0..keys).step_by(BLOCK_KEYS) {
            let n = BLOCK_KEYS.min(keys - start);
            self.load_cached(&self.problem.k, self.problem.k_scale, start, &mut block[..n * width]);
            products(&block[..n * width], &q, width, &mut products_of_block[..n * rows]);
            for (scores, products) in scores.chunks_mut(keys).zip(products_of_block.chunks(n)) {
                for (score, &product) in scores[start..start + n].iter_mut().zip(products) {
                    *score = product * softmax_scale;
                }
            }
        }
        Scores { values: scores, keys }
    }

    /// Replaces scores by `e^(score - max)`, rounded as they meet the values; returns the sum before rounding, and the
    /// logarithm of the sum of `e^score`.
    fn softmax(&self, scores: &mut [A]) -> (A, A) {
        let mut max = A::NEG_INFINITY;
        for &score in &*scores {
            max = if score > max { score } else { max };
        }
        let sum = exponentials(scores, max);
        for score in scores {
            *score = round(self.problem.rounded_to, *score);
        }
        (sum, max + sum.ln())
    }

    /// `sum(p * v) / sum(p)` of all rows, each over the keys that it sees; 0 where it sees none.
    fn weighted_values(&self, weights: &Scores<A>, visible: &[usize], sums: &[A]) -> Vec<A> {
        let width = padded(self.problem.head_dim);
        let mut values = vec![A::ZERO; sums.len() * width];
        let mut block = vec![A::ZERO; BLOCK_KEYS * width];
        for start in (0..weights.keys).step_by(BLOCK_KEYS) {
            let n = BLOCK_KEYS.min(weights.keys - start);
            self.load_cached(&self.problem.v, self.problem.v_scale, start, &mut block[..n * width]);
            for (row, values) in values.chunks_mut(width).enumerate() {
                let end = visible[row / self.problem.group].min(start + n).max(start);
                add_weighted(&weights.values[row * weights.keys..][start..end], &block, values);
            }
        }
        for ((values, &sum), &visible) in values
            .chunks_mut(width)
            .zip(sums)
            .zip(visible.iter().flat_map(|visible| std::iter::repeat_n(visible, self.problem.group)))
        {
            if visible > 0 {
                values.iter_mut().for_each(|value| *value = *value / sum);
            }
        }
        values
    }

    /// Reads the keys or values from position `start` on.
    fn load_cached(&self, cache: &Input<'_>, scale: A, start: usize, to: &mut [A]) {
        let Problem { page_size, head_dim, .. } = *self.problem;
        for (i, to) in to.chunks_mut(padded(head_dim)).enumerate() {
            let (page, offset) = ((start + i) / page_size, (start + i) % page_size);
            let to = &mut to[..head_dim];
            cache.load([self.task.sequence.pages[page], offset, self.task.kv_head], to);
            if scale != A::ONE {
                to.iter_mut().for_each(|x| *x = *x * scale);
            }
        }
    }
}
