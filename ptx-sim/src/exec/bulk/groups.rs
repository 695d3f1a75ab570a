//! Copies to global memory that the lanes of a warp have issued, in groups.

use std::collections::VecDeque;

use super::super::arrivals::Issuer;
use super::global_side::Global;
use crate::alu::atomics::Atomic;
use crate::race::Moment;

/// Copies of a lane that are remembered after their bytes have gone, for later waits.
const REMEMBERED: usize = 256;

/// How far a copy has come.
#[derive(Debug)]
pub(super) enum Progress {
    /// Nothing has happened.
    Issued,
    /// The source has been read.
    Read(Vec<u8>),
    Written,
}

/// A copy to global memory.
#[derive(Debug)]
pub(in crate::exec) struct Store {
    pub issuer: Issuer,
    /// In the shared memory of its block.
    pub source: u64,
    pub destination: Global,
    pub reduction: Option<Atomic>,
    pub(super) progress: Progress,
    /// When the source is read, and when global memory is written. All copies of a lane are in two channels of their
    /// own, one for each: their groups complete in order.
    pub reads: Moment,
    pub writes: Moment,
    /// `None` until it is committed.
    group: Option<u32>,
}

impl Store {
    pub fn new(
        issuer: Issuer,
        source: u64,
        destination: Global,
        reduction: Option<Atomic>,
        [reads, writes]: [Moment; 2],
    ) -> Self {
        Self {
            issuer,
            source,
            destination,
            reduction,
            progress: Progress::Issued,
            reads,
            writes,
            group: None,
        }
    }
}

/// Those of one lane, oldest first.
#[derive(Debug, Default)]
struct LaneStores {
    stores: VecDeque<Store>,
    /// Groups that the lane has committed since its first copy.
    committed: u32,
    /// The moments of the last copy.
    latest: Option<[Moment; 2]>,
}

/// Those of a warp.
#[derive(Debug, Default)]
pub(in crate::exec) struct Stores {
    /// Of the lanes that have issued any.
    lanes: Vec<(usize, LaneStores)>,
}

impl Stores {
    fn lane(&mut self, lane: usize) -> Option<&mut LaneStores> {
        self.lanes.iter_mut().find(|(known, _)| *known == lane).map(|(_, stores)| stores)
    }

    /// The moments of a lane's last copy.
    pub fn latest(&mut self, lane: usize) -> Option<[Moment; 2]> {
        self.lane(lane)?.latest
    }

    /// A new copy.
    pub fn push(&mut self, store: Store) {
        let lane = store.issuer.lane;
        if self.lane(lane).is_none() {
            self.lanes.push((lane, LaneStores::default()));
        }
        let Some(stores) = self.lane(lane) else { return };
        stores.latest = Some([store.reads, store.writes]);
        stores.stores.push_back(store);
        while stores.stores.len() > REMEMBERED
            && stores.stores.front().is_some_and(|store| matches!(store.progress, Progress::Written))
        {
            stores.stores.pop_front();
        }
    }

    /// `commit_group`.
    pub fn commit(&mut self, lanes: u32) {
        for (_, stores) in self.lanes.iter_mut().filter(|(lane, _)| lanes >> lane & 1 != 0) {
            let open = stores.stores.iter_mut().rev().take_while(|store| store.group.is_none());
            open.for_each(|store| store.group = Some(stores.committed));
            stores.committed = stores.committed.saturating_add(1);
        }
    }

    /// The copies of a lane that are complete when at most `left` groups are pending, and those whose sources have been
    /// read.
    pub fn waited(&mut self, lane: usize, left: u32) -> impl Iterator<Item = &mut Store> {
        let stores = self.lane(lane);
        let before = stores.as_ref().map_or(0, |stores| stores.committed.saturating_sub(left));
        let all = stores.into_iter().flat_map(|stores| stores.stores.iter_mut());
        all.take_while(move |store| store.group.is_some_and(|group| group < before))
    }

    /// Forgets the copies of a lane that have been waited for. Gives the moments of the last one where none is left.
    pub fn forget(&mut self, lane: usize, left: u32) -> Option<[Moment; 2]> {
        let count = self.waited(lane, left).count();
        let stores = self.lane(lane)?;
        stores.stores.drain(..count);
        if stores.stores.is_empty() { stores.latest.take() } else { None }
    }

    /// Takes the copies of lanes that exit.
    pub fn take(&mut self, lanes: u32) -> Vec<Store> {
        let mut taken = Vec::new();
        for (_, stores) in self.lanes.iter_mut().filter(|(lane, _)| lanes >> lane & 1 != 0) {
            taken.extend(stores.stores.drain(..));
        }
        taken.retain(|store| !matches!(store.progress, Progress::Written));
        taken
    }
}
