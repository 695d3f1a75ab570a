//! What a thread knows to have happened before it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::channel::Moment;
use super::stamp::FIRST_CHANNEL;
use crate::program::LANES;

type Row = [u32; LANES];

/// For each lane of each warp of one block: its accesses stamped with a clock below this number are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Vector {
    /// For each warp the least of its lanes.
    base: Vec<u32>,
    /// The lanes of the warps whose lanes differ, by warp. Few warps have parted lanes at any time.
    parted: Vec<(usize, Box<Row>)>,
    /// For each channel, as far as any is known.
    channels: Vec<u32>,
}

impl Vector {
    /// Nothing known: clocks start at 1.
    pub fn new(warps: usize) -> Self {
        Self { base: vec![1; warps], parted: Vec::new(), channels: Vec::new() }
    }

    /// Whether the accesses of all `lanes` at `clock` are known.
    #[inline(always)]
    pub fn knows(&self, warp: usize, clock: u32, lanes: u32) -> bool {
        match self.base.get(warp) {
            Some(base) if *base > clock => true,
            _ if warp >= FIRST_CHANNEL => {
                self.channels.get(warp - FIRST_CHANNEL).is_some_and(|known| *known > clock)
            }
            _ if self.parted.is_empty() => lanes == 0,
            _ => self
                .parted(warp)
                .map_or(lanes == 0, |row| (0..LANES).all(|lane| lanes >> lane & 1 == 0 || row[lane] > clock)),
        }
    }

    /// The least clock of any lane that is not known.
    pub fn floor(&self) -> u32 {
        self.base.iter().copied().min().unwrap_or(1)
    }

    fn parted(&self, warp: usize) -> Option<&Row> {
        self.parted.iter().find(|(parted, _)| *parted == warp).map(|(_, row)| &**row)
    }

    fn row(&self, warp: usize) -> Row {
        self.parted(warp).copied().unwrap_or([self.base[warp]; LANES])
    }

    fn set_row(&mut self, warp: usize, row: &Row) {
        let least = row.iter().copied().min().unwrap_or(1);
        self.base[warp] = least;
        self.parted.retain(|(parted, _)| *parted != warp);
        if row.iter().any(|clock| *clock != least) {
            self.parted.push((warp, Box::new(*row)));
        }
    }

    /// Learns the operations of a channel below `clock`.
    fn learn_channel(&mut self, channel: usize, clock: u32) {
        if self.channels.len() <= channel {
            self.channels.resize(channel + 1, 0);
        }
        self.channels[channel] = self.channels[channel].max(clock);
    }

    /// Learns the accesses of `lanes` below `clock`.
    pub fn learn(&mut self, warp: usize, lanes: u32, clock: u32) {
        if lanes == u32::MAX && self.parted.is_empty() {
            self.base[warp] = self.base[warp].max(clock);
            return;
        }
        let mut row = self.row(warp);
        for (lane, known) in row.iter_mut().enumerate() {
            if lanes >> lane & 1 != 0 {
                *known = (*known).max(clock);
            }
        }
        self.set_row(warp, &row);
    }

    /// Learns all that another vector of the same block knows.
    pub fn join(&mut self, other: &Self) {
        if self.base.len() < other.base.len() {
            self.base.resize(other.base.len(), 1);
        }
        if self.channels.len() < other.channels.len() {
            self.channels.resize(other.channels.len(), 0);
        }
        self.channels.iter_mut().zip(&other.channels).for_each(|(known, more)| *known = (*known).max(*more));
        if !self.parted.is_empty() || !other.parted.is_empty() {
            let mut warps: Vec<usize> =
                self.parted.iter().chain(&other.parted).map(|(warp, _)| *warp).collect();
            warps.sort_unstable();
            warps.dedup();
            for warp in warps {
                let mut row = self.row(warp);
                if warp < other.base.len() {
                    row.iter_mut().zip(other.row(warp)).for_each(|(known, more)| *known = (*known).max(more));
                }
                self.set_row(warp, &row);
            }
        }
        // A joined row's least is at least either's, so this changes nothing for the warps above.
        self.base.iter_mut().zip(&other.base).for_each(|(known, more)| *known = (*known).max(*more));
    }

    /// Whether it knows all that another of the same block does. May say no where the answer is yes.
    fn surely_covers(&self, other: &Self) -> bool {
        other.parted.is_empty()
            && other.base.len() <= self.base.len()
            && self.base.iter().zip(&other.base).all(|(known, more)| known >= more)
            && other.channels.len() <= self.channels.len()
            && self.channels.iter().zip(&other.channels).all(|(known, more)| known >= more)
    }
}

type Foreign = BTreeMap<u32, Arc<Vector>>;

/// What a thread knows of its own block, and of other blocks that it has synchronised with.
#[derive(Clone, Debug)]
pub(super) struct Knowledge {
    block: u32,
    own: Vector,
    floor: u32,
    /// All that blocks with lower numbers did is known.
    ordered_before: u32,
    foreign: Option<Arc<Foreign>>,
    /// What was known at device-wide `fence.sc` operations that are known: all of it precedes each later one in the
    /// Fence-SC order, which orders them both.
    fenced: Option<Arc<Knowledge>>,
    /// What was known at the `fence.sc` operations before strong writes whose values are known to have been read. These
    /// cannot come after the next `fence.sc` in the Fence-SC order, so they synchronize with it.
    observed: Option<Arc<Knowledge>>,
    /// What was known at the proxy fences that are known: the asynchronous proxy sees it.
    proxied: Option<Arc<Knowledge>>,
    /// What was known to those who have issued operations together that are known to be complete: its reads are over.
    over: Option<Arc<Knowledge>>,
}

impl Knowledge {
    pub fn new(block: u32, warps: usize) -> Self {
        let own = Vector::new(warps);
        Self {
            block,
            floor: own.floor(),
            ordered_before: 0,
            own,
            foreign: None,
            fenced: None,
            observed: None,
            proxied: None,
            over: None,
        }
    }

    /// The block whose thread knows it, or which it was taken from.
    pub fn block(&self) -> u32 {
        self.block
    }

    /// Of one operation of the asynchronous proxy, and of those before it in its channel.
    pub fn of_moment(moment: Moment) -> Self {
        let mut knowledge = Self::new(moment.block, 0);
        knowledge.own.learn_channel(moment.channel, moment.clock + 1);
        knowledge
    }

    /// All that blocks with lower numbers did is known.
    pub fn ordered_before(&self) -> u32 {
        self.ordered_before
    }

    /// Learns all that blocks with numbers below this one did.
    pub fn learn_before(&mut self, block: u32) {
        self.ordered_before = self.ordered_before.max(block);
    }

    /// Whether an operation of the asynchronous proxy is known.
    pub fn knows_moment(&self, moment: Moment) -> bool {
        self.knows_any(moment.block, FIRST_CHANNEL + moment.channel, moment.clock, 1)
    }

    /// Whether accesses of any block are known.
    pub fn knows_any(&self, block: u32, warp: usize, clock: u32, lanes: u32) -> bool {
        if block == self.block {
            self.own.knows(warp, clock, lanes)
        } else {
            self.knows_foreign(block, warp, clock, lanes)
        }
    }

    /// Whether anything of a block is known.
    pub fn knows_of(&self, block: u32) -> bool {
        block == self.block || self.foreign.as_ref().is_some_and(|foreign| foreign.contains_key(&block))
    }

    /// What was known at proxy fences.
    pub fn proxied(&self) -> Option<&Self> {
        self.proxied.as_deref()
    }

    /// What is known of reads alone.
    pub fn over(&self) -> Option<&Arc<Self>> {
        self.over.as_ref()
    }

    /// Remembers that reads are over.
    pub fn remember_over(&mut self, reads: &Arc<Self>) {
        join_fences(&mut self.over, Some(&Arc::new(Self::clone(reads).without_fences())));
    }

    /// Remembers a proxy fence at which `seen` was known.
    pub fn remember_proxy_fence(&mut self, seen: Self) {
        join_fences(&mut self.proxied, Some(&Arc::new(seen.without_fences())));
    }

    pub fn own(&self) -> &Vector {
        &self.own
    }

    /// The least clock of any thread of the own block that is not known.
    #[inline(always)]
    pub fn floor(&self) -> u32 {
        self.floor
    }

    /// Learns the accesses of lanes of the own block.
    pub fn learn(&mut self, warp: usize, lanes: u32, clock: u32) {
        self.own.learn(warp, lanes, clock);
        self.floor = self.own.floor();
    }

    /// Whether accesses of another block are known.
    pub fn knows_foreign(&self, block: u32, warp: usize, clock: u32, lanes: u32) -> bool {
        let vector = self.foreign.as_ref().and_then(|foreign| foreign.get(&block));
        vector.is_some_and(|vector| vector.knows(warp, clock, lanes))
    }

    /// Learns all that another knows, whichever block's it is.
    pub fn join(&mut self, other: &Self) {
        if other.block == self.block {
            self.own.join(&other.own);
        } else {
            let known = self.foreign.as_ref().and_then(|foreign| foreign.get(&other.block));
            if known.is_none_or(|known| !known.surely_covers(&other.own)) {
                join_foreign(self.foreign_mut(), other.block, &Arc::new(other.own.clone()));
            }
        }
        self.join_others(other);
        self.ordered_before = self.ordered_before.max(other.ordered_before);
        join_fences(&mut self.fenced, other.fenced.as_ref());
        join_fences(&mut self.observed, other.observed.as_ref());
        join_fences(&mut self.proxied, other.proxied.as_ref());
        join_fences(&mut self.over, other.over.as_ref());
        self.floor = self.own.floor();
    }

    /// What was known at the `fence.sc` operations that are known.
    pub fn fenced(&self) -> Option<&Arc<Self>> {
        self.fenced.as_ref()
    }

    /// What the next `fence.sc` acquires, besides what is known.
    pub fn observed(&self) -> Option<&Arc<Self>> {
        self.observed.as_ref()
    }

    /// Remembers a `fence.sc` at which `fenced` was known.
    pub fn remember_fence(&mut self, fenced: Self) {
        join_fences(&mut self.fenced, Some(&Arc::new(fenced.without_fences())));
    }

    /// The same without what concerns fences: it is part of what concerns a fence itself.
    pub fn without_fences(self) -> Self {
        Self { fenced: None, observed: None, proxied: None, over: None, ..self }
    }

    /// Remembers that a value was read whose writer knew of `fence.sc` operations.
    pub fn remember_observed(&mut self, fenced: &Arc<Self>) {
        join_fences(&mut self.observed, Some(fenced));
    }

    fn join_others(&mut self, other: &Self) {
        let Some(theirs) = &other.foreign else {
            return;
        };
        if other.block == self.block && self.foreign.is_none() {
            self.foreign = Some(Arc::clone(theirs));
            return;
        }
        if self.foreign.as_ref().is_some_and(|ours| Arc::ptr_eq(ours, theirs)) {
            return;
        }
        for (block, vector) in theirs.iter() {
            if *block == self.block {
                self.own.join(vector);
            } else {
                let known = self.foreign.as_ref().and_then(|foreign| foreign.get(block));
                if known.is_none_or(|known| !Arc::ptr_eq(known, vector) && !known.surely_covers(vector)) {
                    join_foreign(self.foreign_mut(), *block, vector);
                }
            }
        }
    }

    fn foreign_mut(&mut self) -> &mut Foreign {
        Arc::make_mut(self.foreign.get_or_insert_default())
    }

    /// Whether it knows all that another does. May say no where the answer is yes.
    pub fn surely_covers(&self, other: &Self) -> bool {
        let covers_own = if other.block == self.block {
            self.own.surely_covers(&other.own)
        } else {
            self.covers_foreign(other.block, &other.own)
        };
        covers_own
            && self.ordered_before >= other.ordered_before
            && match (&self.foreign, &other.foreign) {
                (_, None) => true,
                (Some(ours), Some(theirs)) if Arc::ptr_eq(ours, theirs) => true,
                (_, Some(theirs)) => theirs.iter().all(|(block, vector)| {
                    if *block == self.block {
                        self.own.surely_covers(vector)
                    } else {
                        self.covers_foreign(*block, vector)
                    }
                }),
            }
            && covers_fences(self.fenced.as_ref(), other.fenced.as_ref())
            && covers_fences(self.observed.as_ref(), other.observed.as_ref())
            && covers_fences(self.proxied.as_ref(), other.proxied.as_ref())
            && covers_fences(self.over.as_ref(), other.over.as_ref())
    }

    fn covers_foreign(&self, block: u32, vector: &Vector) -> bool {
        let known = self.foreign.as_ref().and_then(|foreign| foreign.get(&block));
        known.is_some_and(|known| known.surely_covers(vector))
    }
}

fn covers_fences(known: Option<&Arc<Knowledge>>, more: Option<&Arc<Knowledge>>) -> bool {
    more.is_none_or(|more| known.is_some_and(|known| Arc::ptr_eq(known, more) || known.surely_covers(more)))
}

fn join_fences(sum: &mut Option<Arc<Knowledge>>, more: Option<&Arc<Knowledge>>) {
    if let Some(more) = more {
        super::sync::add(sum, more);
    }
}

fn join_foreign(foreign: &mut Foreign, block: u32, vector: &Arc<Vector>) {
    match foreign.entry(block) {
        std::collections::btree_map::Entry::Vacant(entry) => {
            entry.insert(Arc::clone(vector));
        }
        std::collections::btree_map::Entry::Occupied(mut entry) => {
            Arc::make_mut(entry.get_mut()).join(vector);
        }
    }
}
