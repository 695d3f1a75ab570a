//! Asynchronous copies that a warp has begun: `cp.async` and its groups, lane by lane.

use super::collective::lanes_of;
use crate::program::{LANES, Pc};
use crate::race::Moment;

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
    /// Those that mbarriers track, and that their own lanes have not waited for.
    tracked: Vec<Tracked>,
    /// Groups that each lane has committed.
    committed: [u32; LANES],
}

/// Copies that an mbarrier tracks: when they happen, and the first group of each lane's.
#[derive(Debug)]
struct Tracked {
    lanes: u32,
    moment: Moment,
    groups: [u32; LANES],
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
        let pending = self.pending.iter_mut().map(|(copy, groups)| (copy.lanes, groups));
        let tracked = self.tracked.iter_mut().map(|tracked| (tracked.lanes, &mut tracked.groups));
        for (active, groups) in pending.chain(tracked) {
            for (lane, (group, committed)) in groups.iter_mut().zip(self.committed).enumerate() {
                if active & lanes & 1 << lane != 0 && *group == Self::OPEN {
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
            let complete = waited(group, &self.committed, left) & copy.lanes & lanes;
            if complete != 0 {
                done.push(Copy { lanes: complete, ..copy.clone() });
                copy.lanes &= !complete;
            }
        }
        self.pending.retain(|(copy, _)| copy.lanes != 0);
        done
    }

    /// Likewise for copies that mbarriers track: when they happen, and lanes that have waited for that.
    pub fn take_tracked_waited(&mut self, lanes: u32, left: u32) -> Vec<(Moment, u32)> {
        let mut done = Vec::new();
        for tracked in &mut self.tracked {
            let complete = waited(&tracked.groups, &self.committed, left) & tracked.lanes & lanes;
            if complete != 0 {
                done.push((tracked.moment, complete));
                tracked.lanes &= !complete;
            }
        }
        self.tracked.retain(|tracked| tracked.lanes != 0);
        done
    }

    /// `cp.async.mbarrier.arrive`: takes what lanes have begun. It happens at a moment, which their later waits learn.
    pub fn track(&mut self, lanes: u32, moment: Moment) -> Vec<Copy> {
        let mut taken = Vec::new();
        let mut groups = [Self::OPEN; LANES];
        let mut all = 0;
        for (copy, group) in &mut self.pending {
            let tracked = copy.lanes & lanes;
            if tracked != 0 {
                lanes_of(tracked).for_each(|lane| groups[lane] = groups[lane].min(group[lane]));
                taken.push(Copy { lanes: tracked, ..copy.clone() });
                copy.lanes &= !tracked;
                all |= tracked;
            }
        }
        self.pending.retain(|(copy, _)| copy.lanes != 0);
        if all != 0 {
            // Who knows a moment knows the earlier ones of its channel.
            self.tracked.retain(|tracked| !(tracked.moment.is_before(moment) && tracked.lanes & !all == 0));
            self.tracked.push(Tracked { lanes: all, moment, groups });
        }
        taken
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
        self.tracked.iter_mut().for_each(|tracked| tracked.lanes &= !lanes);
        self.tracked.retain(|tracked| tracked.lanes != 0);
    }
}

/// The lanes whose group is complete when at most `left` later ones are pending.
fn waited(groups: &[u32; LANES], committed: &[u32; LANES], left: u32) -> u32 {
    groups.iter().zip(committed).enumerate().fold(0, |mask, (lane, (group, committed))| {
        // What is open counts as later than every group.
        mask | u32::from(*group < committed.saturating_sub(left)) << lane
    })
}
