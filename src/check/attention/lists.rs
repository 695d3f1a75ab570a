//! What the device is told of sequences, and what that means once it is bounded.

use std::ops::Range;

use super::{Cache, DEVICE_ERROR_LENGTH, DEVICE_ERROR_PAGE, Kind, Lie, Rng, Spec};
use crate::check::values::spread;

/// The sequence that lies.
const LIAR: usize = 1;

/// Queries of all sequences together that [`Kind::Sampled`] compares.
const SAMPLED: usize = 24;

/// Lists as they lie on the device, and the host's bounds.
pub(super) struct Lists {
    pub q_indptr: Vec<i32>,
    pub kv_len: Vec<i32>,
    /// `[batch, max_pages]`.
    pub table: Vec<i32>,
    pub max_pages: usize,
    pub kv_indptr: Vec<i32>,
    /// Of the cache; rows where keys are contiguous.
    pub num_pages: usize,
    pub sequences: Range<usize>,
    pub max_q_len: usize,
    pub max_kv_len: usize,
    lie: Option<Lie>,
}

/// A sequence as a kernel takes it.
pub(super) struct Sequence {
    pub queries: Range<usize>,
    pub kv_len: usize,
    /// The page of each of its keys, a run of page_size at a time.
    pub pages: Vec<usize>,
}

impl Lists {
    pub fn new(spec: &Spec) -> Self {
        let mut rng = Rng(spec.sequences.len() as u64);
        let longest = |i: usize| spec.sequences.iter().map(|lengths| lengths[i]).max().unwrap_or(0);
        let page_size = spec.page_size();
        let needed = |kv_len: usize| kv_len.div_ceil(page_size);
        // Pages in no order, some of them nobody's; between contiguous sequences, rows that are nobody's.
        let between = if spec.cache == Cache::Contiguous { 3 } else { 0 };
        let used: usize = spec.sequences.iter().map(|&[_, kv_len]| needed(kv_len) + between).sum();
        let num_pages = used + 2;
        let max_pages = needed(longest(1)) + 1;
        let mut free: Vec<usize> = (0..num_pages).collect();
        let mut lists = Lists {
            q_indptr: vec![0],
            kv_len: Vec::new(),
            table: Vec::new(),
            max_pages,
            kv_indptr: vec![2],
            num_pages,
            sequences: 0..spec.sequences.len(),
            max_q_len: longest(0),
            max_kv_len: longest(1),
            lie: None,
        };
        for &[q_len, kv_len] in &spec.sequences {
            lists.q_indptr.push(lists.q_indptr[lists.kv_len.len()] + q_len as i32);
            lists.kv_indptr.push(lists.kv_indptr[lists.kv_len.len()] + (kv_len + between) as i32);
            lists.kv_len.push(kv_len as i32);
            let pages = (0..max_pages).map(|page| match page < needed(kv_len) && between == 0 {
                true => free.swap_remove(rng.below(free.len())) as i32,
                // Behind the last page, where nobody looks.
                false => i32::MIN + page as i32,
            });
            lists.table.extend(pages);
        }
        match spec.kind {
            Kind::Part => lists.sequences = 1..spec.sequences.len().saturating_sub(1),
            Kind::Hostile(lie, _) => lists.tell(lie, page_size),
            _ => {}
        }
        lists
    }

    fn tell(&mut self, lie: Lie, page_size: usize) {
        self.lie = Some(lie);
        let (begin, end) = (self.q_indptr[LIAR], self.q_indptr[LIAR + 1]);
        let table = &mut self.table[LIAR * self.max_pages..][..self.max_pages];
        match lie {
            Lie::Pages => {
                table[0] = -1;
                table[1] = i32::MAX;
                table[2] = self.num_pages as i32;
            }
            Lie::ManyKeys => {
                self.kv_len[LIAR] = i32::MAX;
                self.max_kv_len += page_size;
            }
            Lie::NegativeKeys => self.kv_len[LIAR] = i32::MIN,
            Lie::FewKeys => self.kv_len[LIAR] = (end - begin) / 2,
            Lie::Offsets => {
                // The liar ends before it begins, and so does the last one, beyond all tokens.
                self.q_indptr[0] = -7;
                self.q_indptr[LIAR + 1] = begin - 2;
                let last = self.q_indptr.len() - 1;
                self.q_indptr[last] = i32::MAX;
            }
            // The liar has the most; so have others that have as many.
            Lie::ManyQueries => self.max_q_len -= 5,
            Lie::KeyOffsets => {
                self.kv_indptr[LIAR] = -1;
                self.kv_indptr[LIAR + 1] = self.num_pages as i32 - 1;
            }
        }
    }

    /// The bits that the error word gets.
    pub fn error(&self, spec: &Spec) -> u32 {
        match self.lie {
            None => 0,
            Some(Lie::Pages) => DEVICE_ERROR_PAGE,
            // Behind the liar's last page the table has none that exist; contiguous keys are there.
            Some(Lie::ManyKeys) if spec.cache != Cache::Contiguous => DEVICE_ERROR_LENGTH | DEVICE_ERROR_PAGE,
            Some(_) => DEVICE_ERROR_LENGTH,
        }
    }

    /// The queries that are compared where not all are: of each sequence the first, the last, and some between.
    pub fn sampled(&self, spec: &Spec) -> Vec<usize> {
        let mut rng = Rng(spec.num_tokens() as u64);
        let each = (SAMPLED / spec.sequences.len().max(1)).max(2);
        let sequences = self.bounded(spec).into_iter();
        sequences
            .flat_map(|s| {
                spread(&mut rng, each, s.queries.len()).into_iter().map(move |j| s.queries.start + j)
            })
            .collect()
    }

    /// The launch's sequences with everything bounded: offsets rise within q, and a sequence has at most max_q_len queries
    /// and max_kv_len keys, in the nearest pages that exist.
    pub fn bounded(&self, spec: &Spec) -> Vec<Sequence> {
        let clamp = |value: i32, high: usize| usize::try_from(value).unwrap_or(0).min(high);
        let mut end = 0;
        let sequence = |s: usize| {
            let start = clamp(self.q_indptr[s], spec.num_tokens()).max(end);
            end = clamp(self.q_indptr[s + 1], spec.num_tokens()).max(start);
            let mut kv_len = clamp(self.kv_len[s], self.max_kv_len);
            let pages = match spec.cache {
                Cache::Contiguous => {
                    let first = clamp(self.kv_indptr[s], self.num_pages);
                    kv_len = kv_len.min(self.num_pages - first);
                    (first..first + kv_len).collect()
                }
                _ => {
                    let table = &self.table[s * self.max_pages..];
                    let used = &table[..kv_len.div_ceil(spec.page_size())];
                    used.iter().map(|&page| clamp(page, self.num_pages - 1)).collect()
                }
            };
            Sequence { queries: start..end.min(start + self.max_q_len), kv_len, pages }
        };
        self.sequences.clone().map(sequence).collect()
    }
}
