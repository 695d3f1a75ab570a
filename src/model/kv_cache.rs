//! The paged KV cache: fixed-size pages handed out to sequences from a free list, so that sequences of any lengths share
//! one allocation without moving data.
//!
//! Slot `page * page_size + offset` of a layer holds the keys (or values) of one token, `[Hkv, hd]`.

use crate::backend::{Backend, PagedCache, PagedCacheMut};
use crate::model::random;
use crate::random::SplitMix64;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// Far above what a device serves at a time, and far below what tables of sequences could overflow with.
const MAX_SEQUENCES: usize = 1 << 20;

/// Bytes of random numbers that a cache is filled with: as many as fit, whole pages at a time.
const PATTERN_BYTES: usize = 16 << 20;

/// Names one sequence of a cache; never reused for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SequenceId {
    slot: usize,
    serial: u64,
}

impl SequenceId {
    /// The row that this sequence has, among `max_sequences`, while it lives: where per-sequence device data stands.
    pub fn slot(self) -> usize {
        self.slot
    }
}

/// The pages of one sequence.
#[derive(Debug)]
struct Sequence {
    serial: u64,
    pages: Vec<i32>,
    len: usize,
}

/// Which page belongs to which sequence. Pure bookkeeping: the tensors are in [`KvCache`].
#[derive(Debug)]
pub struct PageTable {
    page_size: usize,
    num_pages: usize,
    free: Vec<i32>,
    sequences: Vec<Option<Sequence>>,
    next_serial: u64,
}

impl PageTable {
    /// `num_pages` free pages of `page_size` tokens for at most `max_sequences` sequences at a time.
    pub fn new(num_pages: usize, page_size: usize, max_sequences: usize) -> Result<Self> {
        let error =
            |arg, expected: &str, given: usize| Err(Error::argument("kv_cache", arg, expected, given));
        if ![16, 32, 64, 128].contains(&page_size) {
            return error("page_size", "16, 32, 64 or 128", page_size);
        }
        if num_pages == 0 || i32::try_from(num_pages).is_err() {
            return error("num_pages", "1..=2^31-1", num_pages);
        }
        if !(1..=MAX_SEQUENCES).contains(&max_sequences) {
            return error("max_sequences", "1..=2^20", max_sequences);
        }
        // Handed out from the end: the lowest page first.
        let free = (0..num_pages as i32).rev().collect();
        Ok(PageTable {
            page_size,
            num_pages,
            free,
            sequences: (0..max_sequences).map(|_| None).collect(),
            next_serial: 0,
        })
    }

    /// Tokens a page.
    pub fn page_size(&self) -> usize {
        self.page_size
    }

    /// Pages in all.
    pub fn num_pages(&self) -> usize {
        self.num_pages
    }

    /// Pages that no sequence holds.
    pub fn free_pages(&self) -> usize {
        self.free.len()
    }

    /// Sequences that may live at one time.
    pub fn max_sequences(&self) -> usize {
        self.sequences.len()
    }

    /// A new sequence without tokens.
    pub fn add(&mut self) -> Result<SequenceId> {
        let Some(slot) = self.sequences.iter().position(Option::is_none) else {
            let most = self.sequences.len();
            return Err(Error::argument(
                "kv_cache",
                "sequences",
                format!("at most {most} at a time"),
                most + 1,
            ));
        };
        let serial = self.next_serial;
        self.next_serial += 1;
        self.sequences[slot] = Some(Sequence { serial, pages: Vec::new(), len: 0 });
        Ok(SequenceId { slot, serial })
    }

    /// Ends a sequence and frees its pages.
    pub fn remove(&mut self, id: SequenceId) -> Result<()> {
        self.get(id)?;
        if let Some(sequence) = self.sequences[id.slot].take() {
            self.free.extend(sequence.pages.iter().rev());
        }
        Ok(())
    }

    /// Tokens of the sequence in the cache.
    pub fn len(&self, id: SequenceId) -> Result<usize> {
        Ok(self.get(id)?.len)
    }

    /// The pages of the sequence, in order; the last ones may be reserved and still empty.
    pub fn pages(&self, id: SequenceId) -> Result<&[i32]> {
        Ok(&self.get(id)?.pages)
    }

    /// The slot of token `position` of the sequence, which must be within its pages.
    pub fn slot(&self, id: SequenceId, position: usize) -> Result<i64> {
        let sequence = self.get(id)?;
        let page = sequence.pages.get(position / self.page_size).ok_or_else(|| {
            let reserved = sequence.pages.len() * self.page_size;
            Error::argument("kv_cache", "position", format!("below {reserved}"), position)
        })?;
        Ok(i64::from(*page) * self.page_size as i64 + (position % self.page_size) as i64)
    }

    /// Makes sure that each sequence has pages for as many more tokens as stands beside it. All get them, or none and
    /// [`Error::CacheFull`].
    pub fn reserve(&mut self, wanted: &[(SequenceId, usize)]) -> Result<()> {
        let mut missing = Vec::with_capacity(wanted.len());
        for &(id, tokens) in wanted {
            let sequence = self.get(id)?;
            missing
                .push((sequence.len + tokens).div_ceil(self.page_size).saturating_sub(sequence.pages.len()));
        }
        let needed = missing.iter().sum();
        if needed > self.free.len() {
            return Err(Error::CacheFull { needed, free: self.free.len(), page_size: self.page_size });
        }
        for (&(id, _), missing) in wanted.iter().zip(missing) {
            let pages = self.free.split_off(self.free.len() - missing);
            self.get_mut(id)?.pages.extend(pages.iter().rev());
        }
        Ok(())
    }

    /// Counts `tokens` reserved tokens of the sequence as written.
    pub fn advance(&mut self, id: SequenceId, tokens: usize) -> Result<()> {
        let page_size = self.page_size;
        let sequence = self.get_mut(id)?;
        let reserved = sequence.pages.len() * page_size;
        if sequence.len + tokens > reserved {
            let expected = format!("at most the {reserved} reserved");
            return Err(Error::argument("kv_cache", "tokens", expected, sequence.len + tokens));
        }
        sequence.len += tokens;
        Ok(())
    }

    /// Forgets the tokens from position `len` on, and frees the pages that are no longer needed.
    pub fn truncate(&mut self, id: SequenceId, len: usize) -> Result<()> {
        let page_size = self.page_size;
        let sequence = self.get_mut(id)?;
        sequence.len = sequence.len.min(len);
        let freed = sequence.pages.split_off(sequence.len.div_ceil(page_size));
        self.free.extend(freed.iter().rev());
        Ok(())
    }

    /// Hands free pages out in no order from now on.
    fn shuffle(&mut self, seed: u64) {
        SplitMix64(seed).shuffle(&mut self.free);
    }

    fn get(&self, id: SequenceId) -> Result<&Sequence> {
        let sequence = self.sequences.get(id.slot).and_then(Option::as_ref);
        sequence.filter(|s| s.serial == id.serial).ok_or_else(|| ended(id))
    }

    fn get_mut(&mut self, id: SequenceId) -> Result<&mut Sequence> {
        let sequence = self.sequences.get_mut(id.slot).and_then(Option::as_mut);
        sequence.filter(|s| s.serial == id.serial).ok_or_else(|| ended(id))
    }
}

fn ended(id: SequenceId) -> Error {
    Error::argument("kv_cache", "sequence", "one that was added and not removed", format!("{id:?}"))
}

/// Keys and values of every layer, and the pages' bookkeeping.
#[derive(Debug)]
pub struct KvCache<T> {
    /// Which page belongs to which sequence.
    pub table: PageTable,
    layers: Vec<(Tensor<T>, Tensor<T>)>,
}

impl<T> KvCache<T> {
    /// Allocates `[pages, page_size, num_kv_heads, head_dim]` keys and values for each layer.
    pub fn new<B: Backend<Buffer = T>>(
        backend: &mut B,
        table: PageTable,
        dtype: DType,
        num_layers: usize,
        num_kv_heads: usize,
        head_dim: usize,
    ) -> Result<Self> {
        let shape = [table.num_pages(), table.page_size(), num_kv_heads, head_dim];
        let layers = (0..num_layers)
            .map(|_| Ok((backend.alloc(dtype, &shape)?, backend.alloc(dtype, &shape)?)))
            .collect::<Result<_>>()?;
        Ok(KvCache { table, layers })
    }

    /// Fills all layers with random numbers, of mean 0 and deviation 1, and shuffles the pages. An error where there are
    /// sequences, whose tokens would be lost.
    pub fn scramble<B: Backend<Buffer = T>>(&mut self, backend: &mut B, seed: u64) -> Result<()> {
        let sequences = self.table.sequences.iter().flatten().count();
        if sequences > 0 {
            return Err(Error::argument("scramble_cache", "sequences", "none", sequences));
        }
        self.table.shuffle(seed);
        let num_pages = self.table.num_pages();
        let Some((k, _)) = self.layers.first() else { return Ok(()) };
        let (dtype, page_bytes) = (k.dtype(), k.num_bytes() / num_pages);
        let pages_at_once = (PATTERN_BYTES / page_bytes.max(1)).clamp(1, num_pages);
        // A page more, so that each copy may begin elsewhere: layers, keys and values differ.
        let mut pattern = vec![0; (pages_at_once + 1) * page_bytes];
        random::fill(&mut pattern, dtype, 0.0, 1.0, seed);
        let mut random = SplitMix64(seed);
        for tensor in self.layers.iter_mut().flat_map(|(k, v)| [k, v]) {
            for first in (0..num_pages).step_by(pages_at_once) {
                let end = (first + pages_at_once).min(num_pages);
                let start = random.next() as usize % (page_bytes + 1) / dtype.size() * dtype.size();
                let bytes = &pattern[start..start + (end - first) * page_bytes];
                backend.upload(tensor.view_mut().rows(first..end)?, bytes)?;
            }
        }
        Ok(())
    }

    /// Keys and values of one layer, to read.
    pub fn layer(&self, layer: usize) -> PagedCache<'_, T> {
        let (k, v) = &self.layers[layer];
        PagedCache { k: k.view(), v: v.view(), k_scale: 1.0, v_scale: 1.0 }
    }

    /// Keys and values of one layer, to write.
    pub fn layer_mut(&mut self, layer: usize) -> PagedCacheMut<'_, T> {
        let (k, v) = &mut self.layers[layer];
        PagedCacheMut { k: k.view_mut(), v: v.view_mut(), k_scale: 1.0, v_scale: 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> PageTable {
        PageTable::new(4, 16, 2).unwrap()
    }

    #[test]
    fn pages_come_in_order_and_go_back() {
        let mut table = table();
        let a = table.add().unwrap();
        table.reserve(&[(a, 17)]).unwrap();
        table.advance(a, 17).unwrap();
        assert_eq!(table.pages(a).unwrap(), [0, 1]);
        assert_eq!(table.slot(a, 16).unwrap(), 16);
        table.truncate(a, 16).unwrap();
        assert_eq!((table.len(a).unwrap(), table.free_pages()), (16, 3));
        table.remove(a).unwrap();
        assert_eq!(table.free_pages(), 4);
    }

    #[test]
    fn shuffled_pages_come_in_no_order_and_each_once() {
        let mut table = PageTable::new(1000, 16, 1).unwrap();
        table.shuffle(1);
        let a = table.add().unwrap();
        table.reserve(&[(a, 16_000)]).unwrap();
        let mut pages = table.pages(a).unwrap().to_vec();
        assert!(pages.windows(2).filter(|pair| pair[0] + 1 == pair[1]).count() < 10, "{pages:?}");
        pages.sort_unstable();
        assert!(pages.into_iter().eq(0..1000));
    }

    #[test]
    fn a_full_cache_refuses_and_loses_nothing() {
        let mut table = table();
        let (a, b) = (table.add().unwrap(), table.add().unwrap());
        table.reserve(&[(a, 20)]).unwrap();
        table.advance(a, 20).unwrap();
        let error = table.reserve(&[(a, 13), (b, 33)]).unwrap_err();
        assert_eq!(error.to_string(), "KV cache: 4 more pages of 16 tokens are needed, 2 are free");
        assert_eq!((table.pages(a).unwrap().len(), table.pages(b).unwrap().len()), (2, 0));
        table.reserve(&[(a, 12), (b, 32)]).unwrap();
        assert_eq!(table.free_pages(), 0);
    }

    #[test]
    fn an_ended_sequence_is_refused() {
        let mut table = table();
        let a = table.add().unwrap();
        table.remove(a).unwrap();
        let b = table.add().unwrap();
        assert_eq!(a.slot(), b.slot());
        for error in
            [table.len(a).unwrap_err(), table.remove(a).unwrap_err(), table.reserve(&[(a, 1)]).unwrap_err()]
        {
            assert!(
                error.to_string().starts_with("kv_cache: sequence: expected one that was added"),
                "{error}"
            );
        }
    }

    #[test]
    fn only_reserved_tokens_can_be_written() {
        let mut table = table();
        let a = table.add().unwrap();
        assert!(table.slot(a, 0).is_err());
        assert!(table.advance(a, 1).is_err());
        table.reserve(&[(a, 1)]).unwrap();
        assert!(table.advance(a, 17).is_err());
        table.advance(a, 16).unwrap();
    }

    #[test]
    fn limits_are_checked() {
        for (pages, page_size, sequences, arg) in [
            (4, 15, 1, "page_size"),
            (0, 16, 1, "num_pages"),
            (1 << 31, 16, 1, "num_pages"),
            (4, 16, 0, "max_sequences"),
            (4, 16, usize::MAX, "max_sequences"),
        ] {
            let error = PageTable::new(pages, page_size, sequences).unwrap_err().to_string();
            assert!(error.starts_with(&format!("kv_cache: {arg}: expected")), "{error}");
        }
        let mut table = table();
        table.add().unwrap();
        table.add().unwrap();
        assert!(table.add().unwrap_err().to_string().contains("at most 2 at a time, got 3"));
    }
}
