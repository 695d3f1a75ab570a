//! The common cases of race checks, judged at a glance: for many granules at once, by comparing numbers.

use super::stamp::Stamp;
use crate::memory::for_lanes;
use crate::program::LANES;
use crate::wide::wide_fn;

/// What tells of a stamp, without looking at anything else, that it is ordered before an access.
#[derive(Clone, Copy, Debug)]
pub(super) struct Glance {
    /// Stamps less than `ordered` are ordered, and so are those less than `floor` above `own`.
    pub ordered: u64,
    pub own: u64,
    pub floor: u64,
    /// The stamp of readers in several blocks, where these are all that is remembered of readers.
    pub several_blocks: Option<u64>,
}

impl Glance {
    #[inline(always)]
    pub fn is_ordered(self, stamp: u64) -> bool {
        (stamp.wrapping_sub(self.own) < self.floor) | (stamp < self.ordered)
    }

    /// Whether a stamp, not ordered, is that of readers in other blocks.
    #[inline(always)]
    fn is_foreign(self, stamp: u64, several: u64) -> bool {
        let elsewhere = stamp.wrapping_sub(self.own) >= Stamp::of_block(1);
        (stamp < Stamp::set(0).0) & (elsewhere | (stamp == several))
    }
}

wide_fn! {
    /// Weak reads of granules by lanes, `2^shift` granules each; `first` is the first lane's stamp. False where not all
    /// can be judged at a glance: then nothing has been changed.
    pub(super) fn claim_reads(glance: Glance, writes: &[u64], reads: &mut [u64], first: u64, shift: u32) -> bool {
        let own = |index: usize| first.wrapping_add(index as u64 >> shift);
        let mut hidden = 0u64;
        let Some(several) = glance.several_blocks else {
            for (index, (write, read)) in writes.iter().zip(&*reads).enumerate() {
                let mine = own(index);
                let write = glance.is_ordered(*write) | (*write == mine);
                hidden |= u64::from(!(write & (glance.is_ordered(*read) | (*read == mine))));
            }
            if hidden == 0 {
                reads.iter_mut().enumerate().for_each(|(index, read)| *read = own(index));
            }
            return hidden == 0;
        };
        for (index, (write, read)) in writes.iter().zip(&*reads).enumerate() {
            let mine = own(index);
            let write = glance.is_ordered(*write) | (*write == mine);
            let read = glance.is_ordered(*read) | (*read == mine) | glance.is_foreign(*read, several);
            hidden |= u64::from(!(write & read));
        }
        if hidden == 0 {
            for (index, read) in reads.iter_mut().enumerate() {
                let mine = own(index);
                let keep = glance.is_ordered(*read) | (*read == mine);
                *read = if keep { mine } else { several };
            }
        }
        hidden == 0
    }
}

wide_fn! {
    /// The same for weak writes.
    pub(super) fn claim_writes(
        glance: Glance,
        writes: &mut [u64],
        reads: &mut [u64],
        first: u64,
        shift: u32,
    ) -> bool {
        let own = |index: usize| first.wrapping_add(index as u64 >> shift);
        let mut hidden = 0u64;
        for (index, (write, read)) in writes.iter().zip(&*reads).enumerate() {
            let mine = own(index);
            let write = glance.is_ordered(*write) | (*write == mine);
            hidden |= u64::from(!(write & (glance.is_ordered(*read) | (*read == mine))));
        }
        if hidden == 0 {
            writes.iter_mut().enumerate().for_each(|(index, write)| *write = own(index));
            reads.fill(0);
        }
        hidden == 0
    }
}

wide_fn! {
    /// Whether earlier accesses to granules, one of each lane, are ordered or the lane's own. `first` is the stamp of
    /// lane 0.
    pub(super) fn are_words_plain(
        glance: Glance,
        writes: &[u64],
        reads: &[u64],
        granules: &[u32; LANES],
        mask: u32,
        first: u64,
    ) -> bool {
        let (mut write, mut read) = ([0; LANES], [0; LANES]);
        for_lanes(mask, |lane| {
            write[lane] = writes[granules[lane] as usize];
            read[lane] = reads[granules[lane] as usize];
        });
        let mut hidden = 0u64;
        for lane in 0..LANES {
            let mine = first.wrapping_add(lane as u64);
            let write = glance.is_ordered(write[lane]) | (write[lane] == mine);
            hidden |= u64::from(!(write & (glance.is_ordered(read[lane]) | (read[lane] == mine))));
        }
        hidden == 0
    }
}
