//! A warp's access as few runs of bytes: lanes that follow each other, and lanes that share an address.

use super::WarpAccess;
use super::shape::{Pattern, Shape};
use crate::program::LANES;

/// Bytes of a page of global memory. Runs do not cross its borders.
pub(super) const PAGE: u64 = 4096;

/// Consecutive lanes at consecutive addresses, or any lanes at one address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    pub address: u64,
    /// The first lane.
    pub first: usize,
    /// Lanes from the first on; 1 where lanes share the address.
    pub count: usize,
    /// Where the run is one address: the lanes that name it, and the lanes that access it. Else 0.
    pub same: u32,
    pub by: u32,
}

impl Run {
    pub fn lanes(&self) -> std::ops::Range<usize> {
        self.first..self.first + self.count
    }

    /// The lanes that access it.
    pub fn mask(&self) -> u32 {
        if self.same != 0 { self.by } else { self.lanes().fold(0, |mask, lane| mask | 1 << lane) }
    }
}

/// All runs of an access.
pub(super) struct Runs {
    /// The only one, or the first.
    one: Run,
    /// All, where there are several.
    many: Vec<Run>,
    len: usize,
    /// The lanes wait for each other before they access memory together.
    pub collective: bool,
}

impl Runs {
    /// All active lanes, each in exactly one run; runs in the order of their first lanes.
    pub fn new(access: &WarpAccess<'_>, shape: &Shape) -> Self {
        let size = access.size as u64;
        let mut runs = Self::empty();
        let (first, count) = (shape.first, shape.count);
        let address = access.addresses[first];
        match shape.pattern {
            _ if access.mask == 0 => return runs,
            Pattern::Contiguous if address % PAGE + count as u64 * size <= PAGE => {
                runs.push(Run { address, first, count, same: 0, by: 0 });
                return runs;
            }
            Pattern::Same => {
                runs.push(Run { address, first, count: 1, same: access.mask, by: access.mask });
                return runs;
            }
            _ => {}
        }
        let mut remaining = access.mask;
        let mut ascending = true;
        let mut previous = None;
        while remaining != 0 {
            let lane = remaining.trailing_zeros() as usize;
            remaining &= remaining - 1;
            let address = access.addresses[lane];
            ascending &= previous.is_none_or(|previous| previous < address);
            previous = Some(address);
            if let Some(last) = runs.last_mut()
                && last.first + last.count == lane
                && last.address.wrapping_add(last.count as u64 * size) == address
                && !address.is_multiple_of(PAGE)
            {
                last.count += 1;
            } else {
                runs.push(Run { address, first: lane, count: 1, same: 0, by: 0 });
            }
        }
        if !ascending {
            runs.merge(access);
        }
        runs
    }

    /// Every lane on its own behalf of all lanes of `by`: rows of a matrix that a warp reads together.
    pub fn rows(access: &WarpAccess<'_>, by: u32) -> Self {
        let mut runs = Self { collective: true, ..Self::empty() };
        for lane in (0..LANES).filter(|lane| access.mask >> lane & 1 != 0) {
            runs.push(Run { address: access.addresses[lane], first: lane, count: 1, same: 1 << lane, by });
        }
        runs
    }

    fn empty() -> Self {
        Self { one: Run::default(), many: Vec::new(), len: 0, collective: false }
    }

    fn push(&mut self, run: Run) {
        match self.len {
            0 => self.one = run,
            1 => {
                self.many.reserve(LANES);
                self.many.extend([self.one, run]);
            }
            _ => self.many.push(run),
        }
        self.len += 1;
    }

    fn last_mut(&mut self) -> Option<&mut Run> {
        match self.len {
            0 => None,
            1 => Some(&mut self.one),
            _ => self.many.last_mut(),
        }
    }

    /// Addresses may occur several times: one run for each address.
    fn merge(&mut self, access: &WarpAccess<'_>) {
        let mut merged = Self::empty();
        merged.merge_all(access);
        // Where no address occurs twice the runs found before are as good and fewer.
        if merged.as_slice().iter().any(|run| run.same != 0) {
            *self = merged;
        }
    }

    fn merge_all(&mut self, access: &WarpAccess<'_>) {
        let mut remaining = access.mask;
        while remaining != 0 {
            let first = remaining.trailing_zeros() as usize;
            let address = access.addresses[first];
            let equal = (0..LANES)
                .fold(0, |equal, lane| equal | u32::from(access.addresses[lane] == address) << lane);
            let lanes = equal & remaining;
            remaining &= !lanes;
            let same = if lanes.is_power_of_two() { 0 } else { lanes };
            self.push(Run { address, first, count: 1, same, by: same });
        }
    }

    /// A run for each address, whether or not other lanes follow.
    pub fn addresses(access: &WarpAccess<'_>) -> Self {
        let mut runs = Self::empty();
        runs.merge_all(access);
        runs
    }

    pub fn as_slice(&self) -> &[Run] {
        if self.len == 1 { std::slice::from_ref(&self.one) } else { &self.many }
    }
}

/// Calls a function with each lane of a mask, in order.
#[inline(always)]
pub(crate) fn for_lanes(mask: u32, each: impl FnMut(usize)) {
    if mask == u32::MAX {
        // Nearly always; and without looking for bits the compiler unrolls it.
        (0..LANES).for_each(each);
    } else {
        lanes_of(mask).for_each(each);
    }
}

/// The lanes of a mask, in order.
pub(crate) fn lanes_of(mut mask: u32) -> impl Iterator<Item = usize> + Clone {
    std::iter::from_fn(move || {
        (mask != 0).then(|| {
            let lane = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            lane
        })
    })
}
