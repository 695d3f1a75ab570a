//! What releases leave behind for acquires: at a location in memory, or at a barrier.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::channel::Moment;
use super::vector::Knowledge;
use crate::memory::Scope;

/// Blocks, and threads, whose own releases a location remembers apart.
const REMEMBERED: usize = 64;

/// How far a release or acquire reaches: what of its scope matters to whether two threads' scopes include each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// The threads of its block.
    Block,
    /// Those of its cluster.
    Cluster,
    /// All threads.
    Device,
}

impl From<Scope> for Reach {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Cta => Self::Block,
            Scope::Cluster => Self::Cluster,
            Scope::Gpu | Scope::System => Self::Device,
        }
    }
}

/// Where a thread belongs: its block and its cluster, by their numbers. A cluster has that of its first block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Home {
    pub block: u32,
    pub cluster: u32,
    /// The cluster has other blocks.
    pub in_cluster: bool,
}

/// What one thread released, and how far.
#[derive(Clone, Debug)]
pub(super) struct Release {
    pub reach: Reach,
    pub knowledge: Arc<Knowledge>,
}

/// A location that threads synchronise through: what a strong read of its present value may acquire.
#[derive(Debug, Default)]
pub(crate) struct SyncVariable {
    /// Its address: an acquire of this location completes earlier strong reads of it.
    pub(super) address: u64,
    /// What all blocks released to the whole device.
    wide: Option<Arc<Knowledge>>,
    /// What its writers' `fence.sc` operations, and those before them, were after.
    fenced: Option<Arc<Knowledge>>,
    /// What each block released, to its own threads at least. Oldest first, bounded.
    by_block: Vec<(u32, Arc<Knowledge>)>,
    /// What the blocks of each cluster released, to the threads of their cluster at least. Likewise.
    by_cluster: Vec<(u32, Arc<Knowledge>)>,
    /// The last release operation on this location of each thread: its later strong writes here carry it on
    /// (PTX ISA, "Release and Acquire Patterns"). Oldest first, bounded.
    by_thread: Vec<((u32, usize, usize), Release)>,
}

impl SyncVariable {
    pub fn new(address: u64) -> Self {
        Self { address, ..Self::default() }
    }

    /// A strong write's releases take the place of what was there, or are added to it in a read-modify-write.
    pub(super) fn write(&mut self, home: Home, releases: &[Release], read_modify_write: bool) {
        if !read_modify_write {
            self.wide = None;
            self.fenced = None;
            self.by_block.clear();
            self.by_cluster.clear();
        }
        for release in releases {
            if release.reach == Reach::Device {
                add(&mut self.wide, &release.knowledge);
            }
            add_of(&mut self.by_block, home.block, &release.knowledge);
            if release.reach >= Reach::Cluster && home.in_cluster {
                add_of(&mut self.by_cluster, home.cluster, &release.knowledge);
            }
        }
    }

    /// Adds what a device-wide strong write knows of `fence.sc` operations.
    pub(super) fn write_fenced(&mut self, fenced: &Arc<Knowledge>) {
        add(&mut self.fenced, fenced);
    }

    /// What a device-wide strong read observes of `fence.sc` operations.
    pub(super) fn fenced(&self) -> Option<&Arc<Knowledge>> {
        self.fenced.as_ref()
    }

    /// Remembers a release operation of a thread.
    pub(super) fn remember(&mut self, thread: (u32, usize, usize), release: Release) {
        self.by_thread.retain(|(known, earlier)| *known != thread || earlier.reach > release.reach);
        push_bounded(&mut self.by_thread, (thread, release));
    }

    /// The release operations here of a thread.
    pub(super) fn remembered(&self, thread: (u32, usize, usize)) -> impl Iterator<Item = &Release> {
        self.by_thread.iter().filter(move |(known, _)| *known == thread).map(|(_, release)| release)
    }

    /// What a read by a thread can acquire, and how far the read's fence must reach for it.
    pub(super) fn acquirable(
        &self,
        home: Home,
        reach: Reach,
    ) -> impl Iterator<Item = (Reach, &Arc<Knowledge>)> {
        let wide = self.wide.iter().filter(move |_| reach == Reach::Device);
        let near = self
            .by_cluster
            .iter()
            .filter(move |(known, _)| reach >= Reach::Cluster && *known == home.cluster);
        let own = self.by_block.iter().filter(move |(known, _)| *known == home.block);
        wide.map(|knowledge| (Reach::Device, knowledge))
            .chain(near.map(|(_, knowledge)| (Reach::Cluster, knowledge)))
            .chain(own.map(|(_, knowledge)| (Reach::Block, knowledge)))
    }

    /// Whether nothing was ever released here.
    pub(super) fn is_empty(&self) -> bool {
        self.wide.is_none() && self.fenced.is_none() && self.by_block.is_empty() && self.by_thread.is_empty()
    }
}

fn add_of(list: &mut Vec<(u32, Arc<Knowledge>)>, whose: u32, knowledge: &Arc<Knowledge>) {
    match list.iter_mut().find(|(known, _)| *known == whose) {
        Some((_, sum)) => join(sum, knowledge),
        None => push_bounded(list, (whose, Arc::clone(knowledge))),
    }
}

fn push_bounded<T>(list: &mut Vec<T>, item: T) {
    if list.len() == REMEMBERED {
        list.remove(0);
    }
    list.push(item);
}

pub(super) fn add(sum: &mut Option<Arc<Knowledge>>, knowledge: &Arc<Knowledge>) {
    match sum {
        Some(sum) => join(sum, knowledge),
        None => *sum = Some(Arc::clone(knowledge)),
    }
}

fn join(sum: &mut Arc<Knowledge>, knowledge: &Arc<Knowledge>) {
    if !Arc::ptr_eq(sum, knowledge) && !sum.surely_covers(knowledge) {
        if knowledge.surely_covers(sum) {
            *sum = Arc::clone(knowledge);
        } else {
            Arc::make_mut(sum).join(knowledge);
        }
    }
}

/// The locations of one memory, or of one page of it, that threads synchronise through.
#[derive(Debug, Default)]
pub(crate) struct SyncVariables {
    variables: BTreeMap<u64, SyncVariable>,
}

impl SyncVariables {
    /// The locations of an access: four bytes each, or the address itself where it is narrower.
    pub fn keys(address: u64, size: usize) -> impl Iterator<Item = u64> {
        (0..size.div_ceil(4) as u64).map(move |word| address.wrapping_add(4 * word))
    }

    pub fn get(&self, address: u64) -> Option<&SyncVariable> {
        self.variables.get(&address)
    }

    /// The location that a strong write goes to; `None` where it neither releases nor takes the place of a release.
    pub fn writable(&mut self, address: u64, releases: bool) -> Option<&mut SyncVariable> {
        if releases {
            Some(self.variables.entry(address).or_insert_with(|| SyncVariable::new(address)))
        } else {
            self.variables.get_mut(&address)
        }
    }

    /// A weak write: a read of its value acquires nothing.
    pub fn overwrite(&mut self, address: u64, size: usize) {
        if !self.variables.is_empty() {
            let end = address.saturating_add(size as u64);
            self.variables.retain(|key, _| *key >= end || key.saturating_add(4) <= address & !3);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.variables.is_empty()
    }

    pub fn clear(&mut self) {
        self.variables.clear();
    }
}

/// What has been released into a barrier in its present phase. Each phase starts with a new one.
#[derive(Clone, Debug, Default)]
pub(crate) struct BarrierClock {
    released: Option<Arc<Knowledge>>,
}

impl BarrierClock {
    pub(super) fn add(&mut self, knowledge: &Arc<Knowledge>) {
        add(&mut self.released, knowledge);
    }

    /// An operation of the asynchronous proxy has completed into the phase: who waits for the phase knows it.
    pub fn add_async(&mut self, moment: Moment) {
        add(&mut self.released, &Arc::new(Knowledge::of_moment(moment)));
    }

    /// Adds all of another.
    pub fn join(&mut self, other: &Self) {
        if let Some(released) = &other.released {
            self.add(released);
        }
    }

    pub(super) fn released(&self) -> Option<&Arc<Knowledge>> {
        self.released.as_ref()
    }
}
