//! What blocks of a cluster share: `barrier.cluster`, and each other's shared memory.

use super::collective::lanes_of;
use super::fault::Fail;
use super::warp::{State, Warp};
use super::{Block, Engine};
use crate::memory::windows;
use crate::program::{ClusterBarrierKind, ClusterOp, LANES, Op, Pc};
use crate::race::{BarrierClock, Visit};
use crate::violation::ViolationKind;

/// The barrier of a cluster, in its present phase.
#[derive(Debug, Default)]
pub(super) struct ClusterBarrier {
    /// Phases that have completed.
    phase: u64,
    /// For each block its warps that have arrived, one bit each.
    arrived: Vec<u64>,
    /// Warps that wait: rank of the block, and index.
    waiting: Vec<(usize, usize)>,
    clock: BarrierClock,
    /// What was released into the last phase that completed.
    completed: BarrierClock,
}

impl ClusterBarrier {
    pub fn new(blocks: usize) -> Self {
        Self { arrived: vec![0; blocks], ..Self::default() }
    }

    /// The warps of the block of a rank that have not arrived, where others of the cluster have; for reports.
    pub fn describe(&self, block: &Block) -> Option<String> {
        if self.arrived.iter().all(|arrived| *arrived == 0) {
            return None;
        }
        let absent = block.live_warps & !self.arrived[block.rank()];
        let absent: Vec<String> =
            (0..block.warps.len()).filter(|w| absent >> w & 1 != 0).map(|w| w.to_string()).collect();
        match absent.as_slice() {
            [] => Some("barrier.cluster: all warps have arrived".into()),
            absent => Some(format!("barrier.cluster: warps {} have not arrived", absent.join(", "))),
        }
    }
}

/// The lanes of a mask whose addresses lie in the shared memory of one block of the cluster, and their addresses there.
/// `None` is the executing block's own.
pub(super) type ClusterPart = (Option<usize>, u32, [u64; LANES]);

/// The parts of addresses of `shared::cluster` by block.
pub(super) fn split_by_block(addresses: &[u64; LANES], mask: u32) -> Vec<ClusterPart> {
    let mut parts: Vec<ClusterPart> = Vec::new();
    for lane in lanes_of(mask) {
        let (rank, local) = windows::split_cluster(addresses[lane]);
        let index = parts.iter().position(|part| part.0 == rank).unwrap_or_else(|| {
            parts.push((rank, 0, [0; LANES]));
            parts.len() - 1
        });
        parts[index].1 |= 1 << lane;
        parts[index].2[lane] = local;
    }
    parts
}

impl Engine<'_> {
    /// Lanes of the warp have reached `barrier.cluster`. They are parked until all lanes of the warp are there.
    pub(super) fn cluster_barrier(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        pc: Pc,
        active: u32,
    ) -> Result<(), Fail> {
        warp.put(pc, active, State::Parked);
        self.release_cluster_barrier(block, warp)
    }

    /// Lets the warp arrive or wait where all its lanes are there to do so.
    pub(super) fn release_cluster_barrier(&mut self, block: &mut Block, warp: &mut Warp) -> Result<(), Fail> {
        let program = self.launch.program;
        let mut here = 0;
        let mut groups: Vec<(Pc, ClusterOp)> = Vec::new();
        for group in warp.groups.iter().filter(|group| group.state == State::Parked) {
            if let Op::Cluster(op) = &program.instructions[group.pc as usize].op {
                here |= group.mask;
                groups.push((group.pc, *op));
            }
        }
        let Some(&(pc, op)) = groups.first() else { return Ok(()) };
        if here != warp.live {
            return Ok(());
        }
        let apart = |(other_pc, other): &(Pc, ClusterOp)| {
            (op.aligned || other.aligned) && *other_pc != pc || other.kind != op.kind
        };
        if groups.iter().any(apart) {
            let lane = warp.live.trailing_zeros() as usize & 31;
            let message =
                format!("lanes of one warp are at different barriers: {}", self.describe_lanes(warp));
            return Err(self.fail(block, warp, pc, lane, ViolationKind::DivergentWarp, message));
        }
        match op.kind {
            ClusterBarrierKind::Arrive { releases } => self.cluster_arrive(block, warp, pc, releases),
            ClusterBarrierKind::Wait => self.cluster_wait(block, warp, pc),
        }
    }

    fn cluster_arrive(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        pc: Pc,
        releases: bool,
    ) -> Result<(), Fail> {
        if warp.cluster_phase.is_some() {
            let lane = warp.live.trailing_zeros() as usize & 31;
            let message = "the warp arrives at barrier.cluster again: barrier.cluster.wait is missing".into();
            return Err(self.fail(block, warp, pc, lane, ViolationKind::BarrierMismatch, message));
        }
        self.tally.barriers += 1;
        let barrier = self.live.barrier(block.place);
        warp.cluster_phase = Some(barrier.phase);
        barrier.arrived[block.rank()] |= 1 << warp.index;
        if releases {
            block.clocks.barrier_arrive(&mut barrier.clock, warp.index, warp.live);
        } else {
            block.clocks.cluster_arrive_relaxed(&mut barrier.clock, warp.index, warp.live);
        }
        warp.go_on();
        self.complete_cluster_barrier(block);
        Ok(())
    }

    fn cluster_wait(&mut self, block: &mut Block, warp: &mut Warp, pc: Pc) -> Result<(), Fail> {
        let Some(phase) = warp.cluster_phase else {
            let lane = warp.live.trailing_zeros() as usize & 31;
            let message = "the warp waits at barrier.cluster without having arrived there".into();
            return Err(self.fail(block, warp, pc, lane, ViolationKind::BarrierMismatch, message));
        };
        let barrier = self.live.barrier(block.place);
        if barrier.phase > phase {
            block.clocks.barrier_leave(&barrier.completed, warp.index, warp.live);
            warp.cluster_phase = None;
            warp.go_on();
        } else {
            barrier.waiting.push((block.rank(), warp.index));
            warp.groups.iter_mut().for_each(|group| group.state = State::Barrier);
            self.tally.waits += 1;
        }
        Ok(())
    }

    /// Completes the phase if all warps of the cluster that have not exited have arrived, and lets those go on that wait
    /// for it: none of them is the warp that runs.
    pub(super) fn complete_cluster_barrier(&mut self, block: &mut Block) {
        let cluster = self.live.cluster(block.place);
        let barrier = &mut cluster.barrier;
        let others = cluster.blocks.iter().flatten().map(|other| &**other);
        let missing = |block: &Block| block.live_warps & !barrier.arrived[block.rank()] != 0;
        let arrived = barrier.arrived.iter().any(|arrived| *arrived != 0);
        if !arrived || missing(block) || others.into_iter().any(missing) {
            return;
        }
        barrier.phase += 1;
        barrier.arrived.fill(0);
        barrier.completed = std::mem::take(&mut barrier.clock);
        self.progress += 1;
        for (rank, index) in std::mem::take(&mut barrier.waiting) {
            let own = rank == block.rank();
            let block = if own { Some(&mut *block) } else { cluster.blocks[rank].as_deref_mut() };
            let Some(Block { warps, clocks, .. }) = block else { continue };
            let Some(warp) = &mut warps[index] else { continue };
            clocks.barrier_leave(&cluster.barrier.completed, index, warp.live);
            warp.cluster_phase = None;
            warp.go_on();
        }
    }

    /// Lanes of the warp are to access the shared memory of the block of a rank, which may be their own: it must be
    /// there, from before the access until after it.
    pub(super) fn visit(
        &mut self,
        block: &mut Block,
        warp: &Warp,
        pc: Pc,
        lanes: u32,
        rank: usize,
    ) -> Result<(), Fail> {
        self.check_there(block, warp, pc, lanes, rank)?;
        if rank != block.rank()
            && self.launch.options.checks.races
            && let Some(host) = self.live.peer(block.place, rank)
        {
            host.visits.add(&block.clocks, warp.index, lanes, pc);
        }
        Ok(())
    }

    /// Lanes of the warp are to access the shared memory of the block of a rank, which may be their own: it must be
    /// there.
    pub(super) fn check_there(
        &self,
        block: &Block,
        warp: &Warp,
        pc: Pc,
        lanes: u32,
        rank: usize,
    ) -> Result<(), Fail> {
        if rank == block.rank() {
            return Ok(());
        }
        let lane = lanes.trailing_zeros() as usize & 31;
        let size = self.launch.cluster_size();
        if rank as u64 >= size {
            let message = format!("shared memory of the block of rank {rank}, in a cluster of {size} blocks");
            return Err(self.fail(block, warp, pc, lane, ViolationKind::OutOfBounds, message));
        }
        let who = self.name_of_rank(block, rank);
        let gone = |message: String| self.fail(block, warp, pc, lane, ViolationKind::BlockGone, message);
        let Some(host) = self.live.peer_ref(block.place, rank) else {
            return Err(gone(format!(
                "shared memory of {who}, which has exited: it has to wait for this access, at barrier.cluster"
            )));
        };
        if !self.launch.options.checks.races {
            return Ok(());
        }
        if !block.clocks.knows_block(warp.index, lanes, host.clocks.block()) {
            return Err(gone(format!(
                "shared memory of {who}, which need not have started: barrier.cluster is missing before the access"
            )));
        }
        Ok(())
    }

    /// All threads of a block have exited: every access by others to its shared memory must be known to have happened.
    pub(super) fn check_visits(&self, block: &Block, warp: &Warp, pc: Pc, lane: usize) -> Result<(), Fail> {
        let Some(Visit { block: visitor, warp: visitor_warp, lane: visitor_lane, pc: at }) =
            block.visits.missed(&block.clocks)
        else {
            return Ok(());
        };
        let ordinal = u64::from(visitor.saturating_sub(self.launch.numbers.first_block));
        let thread = self.launch.thread(self.launch.index_of(ordinal), visitor_warp, visitor_lane);
        let place = self.launch.program.location(at).map_or_else(String::new, |place| format!(" at {place}"));
        let message = format!(
            "the block exits, and nothing says that it has waited for the access to its shared memory by {thread}{place}: \
             barrier.cluster is missing before the exit"
        );
        Err(self.fail(block, warp, pc, lane, ViolationKind::BlockGone, message))
    }

    /// The block of a rank in the cluster of another, for reports.
    pub(super) fn name_of_rank(&self, block: &Block, rank: usize) -> String {
        let first = block.ordinal - block.rank() as u64;
        let index = self.launch.index_of(first + rank as u64);
        let [x, y, z] = super::fault::coordinates(index, self.launch.config.grid);
        format!("block ({x}, {y}, {z}), of rank {rank} in the cluster")
    }
}
