//! Happens-before, naively: a vector clock for each thread, the whole history of each byte, nothing forgotten, nothing
//! compressed.

use std::collections::{BTreeMap, BTreeSet};

use crate::memory::{Scope, Strength};

pub(super) const LANES: usize = 4;
pub(super) const WARPS: usize = 2;
pub(super) const BLOCKS: usize = 3;
const THREADS: usize = BLOCKS * WARPS * LANES;

type Clocks = [u32; THREADS];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Load,
    Store,
    Atomic,
    Reduction,
}

/// One lane's access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LaneAccess {
    pub lane: usize,
    pub byte: usize,
}

/// One warp's access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Access {
    pub block: usize,
    pub warp: usize,
    pub what: What,
    pub strength: Strength,
    pub acquire: bool,
    pub release: bool,
    pub size: usize,
    pub lanes: Vec<LaneAccess>,
}

/// An access of one lane to one byte.
#[derive(Clone, Debug)]
struct Event {
    thread: usize,
    clock: u32,
    write: bool,
    strength: Strength,
    /// Events of this byte that are before all that comes after this one.
    past: BTreeSet<usize>,
    /// A strong write has taken its place: it races no more.
    gone: bool,
    /// A strong read that is before a strong write of its block.
    absorbed: bool,
    /// The events of the same instruction on this byte: the last write is all of them.
    instruction: usize,
}

#[derive(Clone, Debug)]
struct Release {
    scope: Scope,
    block: usize,
    clocks: Clocks,
}

#[derive(Clone, Debug)]
struct Pending {
    word: usize,
    release: Release,
    read_scope: Scope,
}

#[derive(Clone, Debug)]
struct Thread {
    clocks: Clocks,
    fences: Vec<(Scope, Clocks)>,
    pending: Vec<Pending>,
    /// Release operations by word.
    released: Vec<(usize, Release)>,
}

pub(super) struct Oracle {
    threads: Vec<Thread>,
    bytes: BTreeMap<usize, Vec<Event>>,
    words: BTreeMap<usize, Vec<Release>>,
    instructions: usize,
}

pub(super) fn thread(block: usize, warp: usize, lane: usize) -> usize {
    (block * WARPS + warp) * LANES + lane
}

fn block_of(thread: usize) -> usize {
    thread / (WARPS * LANES)
}

fn join(into: &mut Clocks, from: &Clocks) {
    into.iter_mut().zip(from).for_each(|(into, from)| *into = (*into).max(*from));
}

/// Whether a scope at `block` includes the threads of `other`.
fn includes(scope: Scope, block: usize, other: usize) -> bool {
    block == other || scope >= Scope::Gpu
}

fn level(strength: Strength) -> u32 {
    match strength {
        Strength::Weak => 0,
        Strength::Strong(Scope::Cta | Scope::Cluster) => 1,
        Strength::Strong(_) => 2,
    }
}

fn morally_strong(one: Strength, other: Strength, same_block: bool) -> bool {
    level(one).min(level(other)) >= if same_block { 1 } else { 2 }
}

impl Oracle {
    pub fn new() -> Self {
        let thread = Thread { clocks: [0; THREADS], fences: vec![], pending: vec![], released: vec![] };
        let mut threads = vec![thread; THREADS];
        threads.iter_mut().enumerate().for_each(|(index, thread)| thread.clocks[index] = 1);
        Self { threads, bytes: BTreeMap::new(), words: BTreeMap::new(), instructions: 0 }
    }

    fn tick(&mut self, thread: usize) {
        self.threads[thread].clocks[thread] += 1;
    }

    /// All of these threads synchronise with each other.
    pub fn sync(&mut self, threads: &[usize]) {
        self.barrier(threads, threads);
    }

    /// Threads arrive; others, or some of them, wait.
    pub fn barrier(&mut self, arriving: &[usize], waiting: &[usize]) {
        let mut all = [0; THREADS];
        arriving.iter().for_each(|thread| join(&mut all, &self.threads[*thread].clocks));
        waiting.iter().for_each(|thread| join(&mut self.threads[*thread].clocks, &all));
        arriving.iter().chain(waiting).for_each(|thread| self.tick(*thread));
    }

    pub fn fence(&mut self, thread: usize, scope: Scope, acquire: bool, release: bool) {
        if acquire {
            self.acquire_pending(thread, scope, None);
        }
        if release {
            let clocks = self.threads[thread].clocks;
            self.threads[thread].fences.push((scope, clocks));
            self.tick(thread);
        }
    }

    fn acquire_pending(&mut self, thread: usize, scope: Scope, word: Option<usize>) {
        let state = &mut self.threads[thread];
        for pending in &state.pending {
            let scope = scope.min(pending.read_scope);
            if word.is_none_or(|word| word == pending.word) && synchronizes(&pending.release, thread, scope) {
                join(&mut state.clocks, &pending.release.clocks);
            }
        }
    }

    fn is_ordered(&self, event: &Event, thread: usize) -> bool {
        self.threads[thread].clocks[event.thread] >= event.clock
    }

    /// Whether an event is before a thread's next access to the byte: by order, or because its value was observed.
    fn is_before(&self, history: &[Event], index: usize, thread: usize) -> bool {
        self.is_ordered(&history[index], thread)
            || history.iter().any(|event| event.past.contains(&index) && self.is_ordered(event, thread))
    }

    /// The lanes whose accesses race with earlier ones.
    pub fn races(&self, access: &Access) -> Vec<usize> {
        self.races_with(access, |_| true)
    }

    /// Whether an access races only with strong reads that were before a strong write of their block: the engine
    /// forgets these with that write, and may take them for ordered where only the write's value was observed.
    pub fn may_miss(&self, access: &Access) -> bool {
        self.races_with(access, |event| !event.absorbed).is_empty()
    }

    fn races_with(&self, access: &Access, counts: impl Fn(&Event) -> bool) -> Vec<usize> {
        let writes = access.what != What::Load;
        let racing = |lane: &&LaneAccess| {
            let thread = thread(access.block, access.warp, lane.lane);
            (lane.byte..lane.byte + access.size).any(|byte| {
                let history = self.bytes.get(&byte).map_or(&[][..], Vec::as_slice);
                (0..history.len()).any(|index| {
                    let event = &history[index];
                    (event.write || writes)
                        && !event.gone
                        && counts(event)
                        && !morally_strong(
                            event.strength,
                            access.strength,
                            block_of(event.thread) == access.block,
                        )
                        && !self.is_before(history, index, thread)
                })
            })
        };
        access.lanes.iter().filter(racing).map(|lane| lane.lane).collect()
    }

    /// An access that does not race.
    pub fn access(&mut self, access: &Access) {
        self.instructions += 1;
        let mut new = Vec::new();
        for lane in &access.lanes {
            let thread = thread(access.block, access.warp, lane.lane);
            for byte in lane.byte..lane.byte + access.size {
                new.push((byte, self.event(access, thread, byte)));
            }
        }
        for (byte, (event, gone)) in new {
            let history = self.bytes.entry(byte).or_default();
            for index in gone {
                let event = &mut history[index];
                *if event.write { &mut event.gone } else { &mut event.absorbed } = true;
            }
            history.push(event);
        }
        for lane in &access.lanes {
            self.synchronize(access, lane);
        }
        for lane in &access.lanes {
            self.tick(thread(access.block, access.warp, lane.lane));
        }
    }

    /// The event of an access, and those that it takes the place of.
    fn event(&self, access: &Access, thread: usize, byte: usize) -> (Event, Vec<usize>) {
        let history = self.bytes.get(&byte).map_or(&[][..], Vec::as_slice);
        let same_block = |event: &Event| block_of(event.thread) == access.block;
        let mut past = BTreeSet::new();
        if access.what != What::Store
            && let Some(last) = history.iter().rfind(|event| event.write)
            && morally_strong(last.strength, access.strength, same_block(last))
        {
            // Lanes that wrote together are observed together, as one write.
            for (index, event) in history.iter().enumerate() {
                if event.write && event.instruction == last.instruction {
                    past.insert(index);
                    past.extend(&event.past);
                }
            }
        }
        let together =
            access.lanes.iter().filter(|lane| (lane.byte..lane.byte + access.size).contains(&byte));
        let together: Vec<_> =
            together.map(|lane| super::oracle::thread(access.block, access.warp, lane.lane)).collect();
        let mut gone = Vec::new();
        for (index, event) in history.iter().enumerate() {
            // A strong write takes the place of an earlier one of the same reach that is before all its lanes.
            let before = past.contains(&index)
                || together.iter().all(|thread| self.is_before(history, index, *thread));
            let superseded = level(event.strength) >= level(access.strength)
                && (same_block(event) || level(event.strength) == 2);
            if before
                && superseded
                && (event.write || same_block(event))
                && access.what != What::Load
                && level(access.strength) != 0
            {
                gone.push(index);
            }
        }
        let event = Event {
            thread,
            clock: self.threads[thread].clocks[thread],
            write: access.what != What::Load,
            strength: access.strength,
            past,
            gone: false,
            absorbed: false,
            instruction: self.instructions,
        };
        (event, gone)
    }

    fn synchronize(&mut self, access: &Access, lane: &LaneAccess) {
        let me = thread(access.block, access.warp, lane.lane);
        let words = lane.byte / 4..(lane.byte + access.size).div_ceil(4);
        let Strength::Strong(scope) = access.strength else {
            if access.what == What::Store {
                words.for_each(|word| drop(self.words.remove(&word)));
            }
            return;
        };
        for word in words {
            let released = self.words.get(&word).cloned().unwrap_or_default();
            if matches!(access.what, What::Load | What::Atomic) {
                for release in &released {
                    if access.acquire && synchronizes(release, me, scope) {
                        join(&mut self.threads[me].clocks, &release.clocks);
                    }
                    let pending = Pending { word, release: release.clone(), read_scope: scope };
                    self.threads[me].pending.push(pending);
                }
                if access.acquire {
                    self.acquire_pending(me, scope, Some(word));
                }
            }
            if access.what == What::Load {
                continue;
            }
            let state = &self.threads[me];
            let own = |release_scope: Scope, clocks: Clocks| Release {
                scope: release_scope.min(scope),
                block: access.block,
                clocks,
            };
            let mut releases: Vec<Release> = if access.what == What::Store { vec![] } else { released };
            releases.extend(state.fences.iter().map(|(fence_scope, clocks)| own(*fence_scope, *clocks)));
            let earlier = state.released.iter().filter(|(known, _)| *known == word);
            releases.extend(earlier.map(|(_, release)| own(release.scope, release.clocks)));
            if access.release {
                let release = own(scope, state.clocks);
                releases.push(release.clone());
                self.threads[me].released.push((word, release));
            }
            self.words.insert(word, releases);
        }
    }
}

/// Whether a release reaches an acquire of a scope by a thread, and the other way round.
fn synchronizes(release: &Release, thread: usize, scope: Scope) -> bool {
    let block = block_of(thread);
    includes(release.scope, release.block, block) && includes(scope, block, release.block)
}
