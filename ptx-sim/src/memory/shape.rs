//! What the addresses of an access have in common, found in one pass for all that want to know.

use super::WarpAccess;
use crate::program::LANES;
use crate::wide::wide_fn;

/// How addresses follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    /// Neighbouring lanes at neighbouring addresses, without gaps.
    Contiguous,
    /// All lanes at one address.
    Same,
    Other,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub pattern: Pattern,
    /// The first lane, and the number of lanes.
    pub first: usize,
    pub count: usize,
    /// The bits that are set in any address.
    pub union: u64,
    /// The greatest distance of an address from the base.
    pub greatest: u64,
    /// The banks of 4 bytes that the first bytes of the lanes lie in, one bit each.
    pub banks: u32,
}

impl Shape {
    /// Distances are measured from `base`, round the end of the address space.
    pub fn of(access: &WarpAccess<'_>, base: u64) -> Self {
        survey(access.addresses, access.mask, access.size as u64, base)
    }

    /// Whether all lanes lie in banks of their own: then no two are in one word.
    pub fn has_distinct_banks(&self) -> bool {
        self.banks.count_ones() as usize == self.count
    }
}

wide_fn! {
    fn survey(addresses: &[u64; LANES], mask: u32, size: u64, base: u64) -> Shape {
        let first = mask.trailing_zeros() as usize & (LANES - 1);
        let start = addresses[first];
        let count = mask.count_ones() as usize;
        let mut follow = (mask >> first).wrapping_add(1) & (mask >> first) == 0;
        let mut list = *addresses;
        if mask != u32::MAX {
            // The others count as if they named the first lane's address.
            for (lane, address) in list.iter_mut().enumerate() {
                let active = mask >> lane & 1 != 0;
                let place = start.wrapping_add((lane.wrapping_sub(first) as u64).wrapping_mul(size));
                follow &= !active | (*address == place);
                *address = if active { *address } else { start };
            }
        } else {
            let mut stray = 0;
            for lane in 1..LANES {
                stray |= list[lane].wrapping_sub(list[lane - 1]) ^ size;
            }
            follow = stray == 0;
        }
        const SIGN: u64 = 1 << 63;
        let (mut union, mut differ, mut banks, mut greatest) = (0, 0, 0, i64::MIN);
        for address in list {
            union |= address;
            differ |= address ^ start;
            banks |= 1u64 << (address >> 2 & 31);
            // There is no comparison of unsigned numbers among the vector instructions.
            greatest = greatest.max((address.wrapping_sub(base) ^ SIGN) as i64);
        }
        let pattern = match (follow, differ) {
            (true, _) => Pattern::Contiguous,
            (_, 0) => Pattern::Same,
            _ => Pattern::Other,
        };
        Shape { pattern, first, count, union, greatest: greatest as u64 ^ SIGN, banks: banks as u32 }
    }
}
