//! Asynchronous copies that a warp has begun: `cp.async` and its groups, lane by lane.

use super::collective::lanes_of;
use crate::program::{LANES, Pc};

/// A `cp.async` of a warp that some lanes have not waited for.
#[derive(Clone, Debug)]
pub(crate) struct Copy {
    /// The lanes whose copy is pending.
    pub lanes: u32,
    pub pc: Pc,
    pub destination: [u64; LANES],
    pub source: [u64; LANES],
    /// Bytes written.
    pub bytes: u32,
    /// Bytes read, by lane.
    pub source_bytes: [u32; LANES],
    /// Whether the bytes have arrived already; if not, they arrive with the wait.
    pub arrived: bool,
}

/// The copies of a warp, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    /// Each with the group that each lane has committed it to.
    pending: Vec<(Copy, [u32; LANES])>,
    /// Groups that each lane has committed.
    committed: [u32; LANES],
}

impl Copies {
    /// The group of what has not been committed.
    const OPEN: u32 = u32::MAX;

    /// A new copy.
    pub fn begin(&mut self, copy: Copy) {
        self.pending.push((copy, [Self::OPEN; LANES]));
    }

    /// `cp.async.commit_group`: what the lanes have begun becomes a group.
    pub fn commit(&mut self, lanes: u32) {
        for (copy, group) in &mut self.pending {
            for (lane, (group, committed)) in group.iter_mut().zip(self.committed).enumerate() {
                if copy.lanes & lanes & 1 << lane != 0 && *group == Self::OPEN {
                    *group = committed;
                }
            }
        }
        for lane in 0..LANES {
            self.committed[lane] += lanes >> lane & 1;
        }
    }

    /// `cp.async.wait_group`: takes the copies that must be complete when at most `left` groups are pending; each with
    /// the lanes for which it is.
    pub fn take_waited(&mut self, lanes: u32, left: u32) -> Vec<Copy> {
        let mut done = Vec::new();
        for (copy, group) in &mut self.pending {
            let mut complete = 0;
            for (lane, (group, committed)) in group.iter().zip(self.committed).enumerate() {
                // What is open counts as later than every group.
                let waited = *group < committed.saturating_sub(left);
                complete |= u32::from(waited) << lane;
            }
            complete &= copy.lanes & lanes;
            if complete != 0 {
                done.push(Copy { lanes: complete, ..copy.clone() });
                copy.lanes &= !complete;
            }
        }
        self.pending.retain(|(copy, _)| copy.lanes != 0);
        done
    }

    /// Where a store meets bytes that a copy may still read: the lane that stores, the lane that copies, and the copy.
    pub fn reads(&self, addresses: &[u64; LANES], mask: u32, size: usize) -> Option<(usize, usize, Pc)> {
        self.pending.iter().find_map(|(copy, _)| {
            lanes_of(mask).find_map(|lane| {
                let (start, end) = (addresses[lane], addresses[lane].saturating_add(size as u64));
                let met = lanes_of(copy.lanes).find(|reader| {
                    let source = copy.source[*reader];
                    start < source.saturating_add(copy.source_bytes[*reader].into()) && source < end
                });
                met.map(|reader| (lane, reader, copy.pc))
            })
        })
    }

    /// Forgets the copies of lanes that exit.
    pub fn abandon(&mut self, lanes: u32) {
        self.pending.iter_mut().for_each(|(copy, _)| copy.lanes &= !lanes);
        self.pending.retain(|(copy, _)| copy.lanes != 0);
    }
}
