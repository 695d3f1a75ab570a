//! Problems of attention: what `attention_prefill` and `attention_decode` are tried on.

mod lists;
mod reference;

use std::fmt;

use super::memory::{Memory, Operand};
use super::problem::{Expected, Outcome, Problem};
use super::values::{Rng, encode};
use crate::gpu::{Stream, TensorMut, TensorRef};
use crate::params::{DEVICE_ERROR_LENGTH, DEVICE_ERROR_PAGE};
use crate::tensor::DType;
use crate::{Result, ops};
use lists::Lists;

/// Elements between pages, or tokens, that put the third beyond 2^31 elements.
const FAR: usize = (1 << 30) + 64;

/// Elements between the heads of a strided q.
const HEAD_GAP: usize = 8;

/// A bit of the error word that is not the kernel's.
const FOREIGN_BIT: u32 = 1 << 31;

/// Where keys and values stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cache {
    /// Pages of so many tokens, heads within a token.
    Nhd(usize),
    /// Pages of so many tokens, tokens within a head.
    Hnd(usize),
    /// One sequence after the other.
    Contiguous,
}

/// What is special about a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    /// Views with gaps: q with space between its heads, out with its heads outside the tokens.
    Strided,
    /// Pages beyond 2^31 elements.
    FarPages,
    /// Tokens of q and out beyond 2^31 elements.
    FarTokens,
    /// Some queries of each sequence are compared: for lengths beyond the reference's reach.
    Sampled,
    /// Keys that grow along the sequence, so that the running maximum does.
    Rising,
    /// The first and the last sequence are not of the launch.
    Part,
    /// NaN and infinities in the second sequence.
    NotFinite,
    /// Lists on the device that lie in the second sequence, with or without an error word.
    Hostile(Lie, Told),
    Misaligned(&'static str),
}

/// What a list on the device says against the host's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    /// Pages that the cache does not have.
    Pages,
    /// More keys than max_kv_len.
    ManyKeys,
    /// Fewer than no keys.
    NegativeKeys,
    /// Fewer keys than queries.
    FewKeys,
    /// Queries that end before they begin, and outside of q.
    Offsets,
    /// More queries than max_q_len.
    ManyQueries,
    /// Contiguous keys that begin outside of k.
    KeyOffsets,
}

/// Whether there is an error word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Yes,
    No,
}

/// One problem.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub dtype: DType,
    /// Of keys and values: the same, or e4m3.
    pub cache_dtype: DType,
    pub head_dim: usize,
    pub kv_heads: usize,
    pub group: usize,
    /// Queries and keys of each sequence.
    pub sequences: Vec<[usize; 2]>,
    pub cache: Cache,
    pub lse: bool,
    pub kind: Kind,
}

impl Spec {
    /// With lse, and nothing special about it: `[head_dim, kv_heads, group]`, and queries and keys of each sequence.
    pub fn plain(
        dtype: DType,
        [head_dim, kv_heads, group]: [usize; 3],
        sequences: &[[usize; 2]],
        cache: Cache,
    ) -> Self {
        let (sequences, kind) = (sequences.to_vec(), Kind::Plain);
        Spec { dtype, cache_dtype: dtype, head_dim, kv_heads, group, sequences, cache, lse: true, kind }
    }

    /// The same over an fp8 cache.
    pub fn with_fp8_cache(self) -> Self {
        Spec { cache_dtype: DType::F8E4M3, ..self }
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spec { dtype, cache_dtype, head_dim, kv_heads, group, sequences, cache, lse, kind } = self;
        write!(f, "{dtype} hd {head_dim}, {group}:1 of {kv_heads}, {sequences:?} in {cache:?}")?;
        if cache_dtype != dtype {
            write!(f, " of {cache_dtype}")?;
        }
        if *lse {
            f.write_str(", lse")?;
        }
        match kind {
            Kind::Plain => Ok(()),
            other => write!(f, ", {other:?}"),
        }
    }
}

impl Spec {
    fn num_tokens(&self) -> usize {
        self.sequences.iter().map(|[q_len, _]| q_len).sum()
    }

    fn q_heads(&self) -> usize {
        self.kv_heads * self.group
    }

    /// Tokens of a page; 1 where keys are contiguous.
    fn page_size(&self) -> usize {
        match self.cache {
            Cache::Nhd(page_size) | Cache::Hnd(page_size) => page_size,
            Cache::Contiguous => 1,
        }
    }

    /// Elements of a page.
    fn page_elements(&self) -> usize {
        self.page_size() * self.kv_heads * self.head_dim
    }

    /// Elements from one token of a page, and from one head of a token, to the next.
    fn page_strides(&self) -> [usize; 2] {
        match self.cache {
            Cache::Hnd(page_size) => [self.head_dim, page_size * self.head_dim],
            _ => [self.kv_heads * self.head_dim, self.head_dim],
        }
    }

    /// What stored keys, and stored values, are multiplied by.
    fn scales(&self) -> [f32; 2] {
        if self.cache_dtype == DType::F8E4M3 { [0.6, 0.013] } else { [1.0; 2] }
    }

    fn softmax_scale(&self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }

    /// Elements from one head of q to the next.
    fn q_head_stride(&self) -> usize {
        self.head_dim + if self.kind == Kind::Strided { HEAD_GAP } else { 0 }
    }
}

/// The problem of `spec` for an operation that is called by `call`.
pub(super) fn problem(
    spec: &Spec,
    call: impl Fn(&Stream, &Memory<'_>, ops::Attention<'_>) -> Result<()> + 'static,
) -> Result<Problem> {
    let lists = Lists::new(spec);
    let numbers = reference::Numbers::new(spec, &lists);
    let results = reference::results(spec, &lists, &numbers)?;
    let [tokens, q_heads] = [spec.num_tokens(), spec.q_heads()];
    let dtype = spec.dtype;

    let width = q_heads * spec.head_dim;
    // Rows that the launch leaves alone hold their poison in the end.
    let poison = |dtype: DType, elements: usize| vec![0xFF; elements * dtype.size()];
    let out = results.out.map(|values| spec.as_out_stands(&values));
    let out_shape =
        if spec.kind == Kind::Strided { [q_heads * tokens, spec.head_dim] } else { [tokens, width] };
    let sampled = lists.sampled(spec);
    let near = |[reference, naive]: [Vec<f64>; 2], width: usize| match spec.kind {
        Kind::Sampled => {
            let pick = |values: Vec<f64>| -> Vec<f64> {
                sampled.iter().flat_map(|token| &values[token * width..][..width]).copied().collect()
            };
            Expected::Sample {
                rows: sampled.clone(),
                columns: (0..width).collect(),
                reference: pick(reference),
                naive: pick(naive),
            }
        }
        _ => Expected::Near { reference, naive },
    };
    let word = |bits: u32| bits.to_le_bytes().to_vec();
    let expected_error = FOREIGN_BIT | if spec.is_told() { lists.error(spec) } else { 0 };
    let mut operands = vec![
        Operand::input("q", dtype, &[tokens, q_heads * spec.q_head_stride()], encode(dtype, &numbers.q)),
        spec.cache_operand("k", &numbers.k),
        spec.cache_operand("v", &numbers.v),
        list("q_indptr", &lists.q_indptr),
        list("kv_len", &lists.kv_len),
        Operand::updated("out", dtype, &out_shape, poison(dtype, tokens * width), near(out, width)),
        Operand::updated("error", DType::U32, &[1], word(FOREIGN_BIT), Expected::Bits(word(expected_error))),
    ];
    operands.push(match spec.cache {
        Cache::Contiguous => list("kv_indptr", &lists.kv_indptr),
        _ => {
            let bytes = lists.table.iter().flat_map(|page| page.to_le_bytes()).collect();
            Operand::input("page_table", DType::I32, &[spec.sequences.len(), lists.max_pages], bytes)
        }
    });
    if spec.lse {
        let content = poison(DType::F32, tokens * q_heads);
        operands.push(Operand::updated(
            "lse",
            DType::F32,
            &[tokens, q_heads],
            content,
            near(results.lse, q_heads),
        ));
    }
    let place = |(i, operand): (usize, Operand)| match (spec.kind, operand.name) {
        (Kind::Strided, "q" | "k" | "v" | "out") => operand.with_gap(16 * (i + 1)),
        (Kind::Strided, "lse" | "page_table") => operand.with_gap(3),
        (Kind::FarPages, "k" | "v") | (Kind::FarTokens, "q" | "out") => operand.with_gap(FAR),
        // Half an element of what has four bytes.
        (Kind::Misaligned(misaligned), name) if misaligned == name => operand.misplaced(2),
        _ => operand,
    };
    let launches = tokens > 0 && !lists.sequences.is_empty();
    Ok(Problem {
        operands: operands.into_iter().enumerate().map(place).collect(),
        call: {
            let (spec, sequences) = (spec.clone(), lists.sequences.clone());
            let (max_q_len, max_kv_len) = (lists.max_q_len, lists.max_kv_len);
            Box::new(move |stream, memory| {
                let tensors = Tensors { stream, memory, spec: &spec };
                let args = ops::Attention {
                    q: tensors.q()?,
                    keys_values: tensors.keys_values()?,
                    k_scale: spec.scales()[0],
                    v_scale: spec.scales()[1],
                    q_indptr: memory.read("q_indptr")?,
                    kv_len: memory.read("kv_len")?,
                    sequences: sequences.clone(),
                    max_q_len,
                    max_kv_len,
                    softmax_scale: spec.softmax_scale(),
                    out: tensors.out()?,
                    lse: if spec.lse { Some(memory.write("lse")?) } else { None },
                    error: if spec.is_told() { Some(memory.write("error")?) } else { None },
                };
                call(stream, memory, args)
            })
        },
        outcome: match spec.kind {
            Kind::Misaligned(operand) => Outcome::Refuses(operand),
            _ => Outcome::Launches(u64::from(launches)),
        },
    })
}

impl Spec {
    fn is_told(&self) -> bool {
        !matches!(self.kind, Kind::Hostile(_, Told::No))
    }

    /// `[tokens, q_heads, head_dim]` in the order in which `out` has it.
    fn as_out_stands(&self, values: &[f64]) -> Vec<f64> {
        if self.kind != Kind::Strided {
            return values.to_vec();
        }
        let row = |head: usize, token: usize| {
            &values[(token * self.q_heads() + head) * self.head_dim..][..self.head_dim]
        };
        let heads =
            (0..self.q_heads()).flat_map(|head| (0..self.num_tokens()).map(move |token| (head, token)));
        heads.flat_map(|(head, token)| row(head, token).iter().copied()).collect()
    }

    /// Keys or values `[pages, page_size, kv_heads, head_dim]` as the cache has them, a page a row.
    fn cache_operand(&self, name: &'static str, values: &[f64]) -> Operand {
        let [slot_stride, head_stride] = self.page_strides();
        let mut content = vec![0.0; values.len()];
        for (i, row) in values.chunks(self.head_dim).enumerate() {
            let (token, head) = (i / self.kv_heads, i % self.kv_heads);
            let (page, slot) = (token / self.page_size(), token % self.page_size());
            let at = page * self.page_elements() + slot * slot_stride + head * head_stride;
            content[at..at + self.head_dim].copy_from_slice(row);
        }
        let pages = values.len() / self.page_elements();
        let dtype = self.cache_dtype;
        Operand::input(name, dtype, &[pages, self.page_elements()], encode(dtype, &content))
    }
}

fn list(name: &'static str, values: &[i32]) -> Operand {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Operand::input(name, DType::I32, &[values.len()], bytes)
}

/// The operands of a problem as the operation takes them.
struct Tensors<'a> {
    stream: &'a Stream,
    memory: &'a Memory<'a>,
    spec: &'a Spec,
}

impl<'a> Tensors<'a> {
    fn q(&self) -> Result<TensorRef<'a>> {
        let Spec { head_dim, .. } = *self.spec;
        let (rows, stride) = self.rows("q")?;
        let shape = [self.spec.num_tokens(), self.spec.q_heads(), head_dim];
        self.read(&rows, &shape, &[stride, self.spec.q_head_stride(), 1])
    }

    fn keys_values(&self) -> Result<ops::KeysValues<'a>> {
        let Spec { head_dim, kv_heads, .. } = *self.spec;
        let [slot, head] = self.spec.page_strides();
        let cache = |name| {
            let (rows, stride) = self.rows(name)?;
            let pages = rows.shape()[0];
            match self.spec.cache {
                Cache::Contiguous => self.read(&rows, &[pages, kv_heads, head_dim], &[stride, head, 1]),
                _ => {
                    let shape = [pages, self.spec.page_size(), kv_heads, head_dim];
                    self.read(&rows, &shape, &[stride, slot, head, 1])
                }
            }
        };
        let (k, v) = (cache("k")?, cache("v")?);
        Ok(match self.spec.cache {
            Cache::Contiguous => {
                ops::KeysValues::Contiguous { k, v, kv_indptr: self.memory.read("kv_indptr")? }
            }
            _ => ops::KeysValues::Paged { k, v, page_table: self.memory.read("page_table")? },
        })
    }

    fn out(&self) -> Result<TensorMut<'a>> {
        let (rows, stride) = self.rows("out")?;
        let (tokens, head_dim) = (self.spec.num_tokens(), self.spec.head_dim);
        let strides = if self.spec.kind == Kind::Strided {
            [stride, tokens * stride, 1]
        } else {
            [stride, head_dim, 1]
        };
        let shape = [tokens, self.spec.q_heads(), head_dim];
        // SAFETY: as for `read`; nothing else of the call is this operand.
        unsafe {
            TensorMut::from_raw(self.stream.device(), rows.address(), self.spec.dtype, &shape, &strides)
        }
    }

    /// An operand of rows, and the elements from one to the next.
    fn rows(&self, name: &str) -> Result<(TensorRef<'a>, usize)> {
        let rows = self.memory.read(name)?;
        let stride = rows.layout().strides()[0];
        Ok((rows, stride))
    }

    fn read(&self, rows: &TensorRef<'a>, shape: &[usize], strides: &[usize]) -> Result<TensorRef<'a>> {
        // SAFETY: shape and strides are those of the operand, with its rows divided into heads and tokens.
        unsafe { TensorRef::from_raw(self.stream.device(), rows.address(), rows.dtype(), shape, strides) }
    }
}
