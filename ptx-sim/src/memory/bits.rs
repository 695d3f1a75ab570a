//! A set of bytes.

use std::ops::Range;

use super::runs::for_lanes;
use crate::program::LANES;
use crate::wide::wide_fn;

wide_fn! {
    fn has_words(bits: &[u64], words: &[u32; LANES], mask: u32) -> bool {
        let mut missing = 0;
        for_lanes(mask, |lane| missing |= !bits[words[lane] as usize / 16] >> (words[lane] % 16 * 4));
        missing & 0b1111 == 0
    }
}

/// One bit for each byte.
#[derive(Clone, Debug)]
pub(super) struct Bits {
    words: Box<[u64]>,
}

impl Bits {
    /// None of so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self { words: vec![0; bytes.div_ceil(64)].into() }
    }

    /// Adds a range of bytes, and says how many of them are new.
    #[inline]
    pub fn insert(&mut self, range: Range<usize>) -> u32 {
        let mut new = 0;
        each_word(range, |index, mask| {
            new += (mask & !self.words[index]).count_ones();
            self.words[index] |= mask;
            true
        });
        new
    }

    /// Adds an aligned word of four bytes.
    #[inline]
    pub fn insert_word(&mut self, word: usize) {
        self.words[word / 16] |= 0b1111 << (word % 16 * 4);
    }

    /// Whether the aligned words of four bytes of all lanes of a mask are there.
    pub fn has_words(&self, words: &[u32; LANES], mask: u32) -> bool {
        has_words(&self.words, words, mask)
    }

    /// Removes a range of bytes.
    pub fn remove(&mut self, range: Range<usize>) {
        each_word(range, |index, mask| {
            self.words[index] &= !mask;
            true
        });
    }

    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// The first byte of a range that is missing.
    #[inline]
    pub fn first_missing(&self, range: Range<usize>) -> Option<usize> {
        let mut first = None;
        each_word(range, |index, mask| {
            let missing = mask & !self.words[index];
            if missing != 0 {
                first = Some(index * 64 + missing.trailing_zeros() as usize);
            }
            missing == 0
        });
        first
    }
}

/// Calls a function with the index of each word of a range and the mask of the range within it, while it returns true.
#[inline(always)]
fn each_word(range: Range<usize>, mut each: impl FnMut(usize, u64) -> bool) {
    let mut start = range.start;
    while start < range.end {
        let index = start / 64;
        let end = range.end.min((index + 1) * 64);
        let mask = u64::MAX >> (64 - (end - start)) << (start % 64);
        if !each(index, mask) {
            return;
        }
        start = end;
    }
}
