//! The start of blocks and warps.

use super::bulk::Stores;
use super::copies::Copies;
use super::fault::coordinates;
use super::warp::{State, Warp};
use super::{Block, Launch, Place, Random};
use crate::memory::{LocalMemory, SharedMemory, windows};
use crate::program::{LANES, Lanes, Special};
use crate::race::BlockClocks;

impl Launch<'_> {
    /// Starts the block with an ordinal. `spare` is shared memory of a block that has ended.
    pub(super) fn start_block(&self, ordinal: u64, place: Place, spare: Option<SharedMemory>) -> Block {
        let launch = self;
        let index = launch.index_of(ordinal);
        let threads = launch.threads();
        let warps = threads.div_ceil(LANES);
        let garbage = Random::new(launch.options.seed ^ index.rotate_left(32)).next();
        let shared = match spare {
            Some(mut shared) => {
                shared.reset(garbage);
                shared
            }
            None => {
                let checks = launch.options.checks;
                SharedMemory::new(launch.shared_bytes, windows::SHARED_BASE, checks, garbage)
            }
        };
        let number = launch.numbers.first_block.wrapping_add(ordinal as u32);
        Block {
            index,
            ordinal,
            place,
            grid: 0,
            lets_start: false,
            known_before: 0,
            warps: (0..warps).map(|warp| Some(Box::new(start_warp(launch, index, warp, garbage)))).collect(),
            live_warps: if warps >= 64 { u64::MAX } else { (1 << warps) - 1 },
            shared,
            clocks: BlockClocks::new(number, threads, launch.numbers),
            barriers: Default::default(),
            mbarriers: Default::default(),
            arrivals: Vec::new(),
            sending: Vec::new(),
            left: Vec::new(),
            tracked: Vec::new(),
            garbage: Default::default(),
            visits: Default::default(),
            warpgroups: Vec::new(),
            registers: None,
        }
    }
}

fn start_warp(launch: &Launch<'_>, block: u64, index: usize, garbage: u64) -> Warp {
    let program = launch.program;
    let left = launch.threads() - index * LANES;
    let started = if left >= LANES { u32::MAX } else { (1 << left) - 1 };
    let mut lanes =
        Lanes::new(program.rows, program.predicates, program.constants.clone(), garbage as u32 | 0x7fc0_0000);
    for prefilled in &program.specials {
        let values = special_values(launch, block, index, prefilled.special);
        if prefilled.slot.is_predicate() {
            let bits = values.iter().enumerate().fold(0, |bits, (lane, value)| bits | (value & 1) << lane);
            lanes.set_predicate(prefilled.slot, bits, u32::MAX);
        } else if prefilled.wide {
            lanes.set64(prefilled.slot, &values.map(u64::from), u32::MAX);
        } else {
            lanes.set32(prefilled.slot, &values, u32::MAX);
        }
    }
    let mut warp = Warp {
        index,
        lanes,
        started,
        live: started,
        groups: Vec::new(),
        local: LocalMemory::new(program.local_bytes, 0, launch.options.checks, garbage),
        copies: Copies::default(),
        stores: Stores::default(),
        taint: None,
        cluster_phase: None,
        wgmma: None,
        may_spin: false,
        spins: false,
    };
    warp.put(0, started, State::Ready);
    warp
}

/// A special register in the lanes of a warp (PTX ISA, chapter "Special Registers").
fn special_values(launch: &Launch<'_>, block: u64, warp: usize, special: Special) -> [u32; LANES] {
    use Special::*;
    let config = &launch.config;
    let [ctaid_x, ctaid_y, ctaid_z] = coordinates(block, config.grid);
    let [cluster_x, cluster_y, cluster_z] = config.cluster.map(|n| n.max(1));
    let thread = |lane: usize| coordinates((warp * LANES + lane) as u64, config.block);
    let per_lane = |value: &dyn Fn(usize) -> u32| std::array::from_fn(value);
    let same = |value: u32| [value; LANES];
    let reserved = launch.properties.reserved_shared_memory_per_block;
    match special {
        TidX => per_lane(&|lane| thread(lane)[0]),
        TidY => per_lane(&|lane| thread(lane)[1]),
        TidZ => per_lane(&|lane| thread(lane)[2]),
        NtidX => same(config.block[0]),
        NtidY => same(config.block[1]),
        NtidZ => same(config.block[2]),
        CtaidX => same(ctaid_x),
        CtaidY => same(ctaid_y),
        CtaidZ => same(ctaid_z),
        NctaidX => same(config.grid[0]),
        NctaidY => same(config.grid[1]),
        NctaidZ => same(config.grid[2]),
        LaneId => per_lane(&|lane| lane as u32),
        WarpId => same(warp as u32),
        NWarpId => same(launch.properties.max_threads_per_sm / 32),
        SmId => same((block % u64::from(launch.properties.sm_count.max(1))) as u32),
        NSmId => same(launch.properties.sm_count),
        GridId => same(launch.grid_id as u32),
        LanemaskEq => per_lane(&|lane| 1 << lane),
        LanemaskLt => per_lane(&|lane| (1 << lane) - 1),
        LanemaskLe => per_lane(&|lane| u32::MAX >> (31 - lane)),
        LanemaskGt => per_lane(&|lane| !(u32::MAX >> (31 - lane))),
        LanemaskGe => per_lane(&|lane| u32::MAX << lane),
        DynamicSmemSize => same(config.dynamic_shared_bytes),
        TotalSmemSize | AggrSmemSize => same(launch.shared_bytes),
        ReservedSmemBegin => same(0),
        ReservedSmemEnd | ReservedSmemCap => same(reserved),
        // Without clusters every block is a cluster of its own.
        ClusteridX => same(ctaid_x / cluster_x),
        ClusteridY => same(ctaid_y / cluster_y),
        ClusteridZ => same(ctaid_z / cluster_z),
        NclusteridX => same(config.grid[0] / cluster_x),
        NclusteridY => same(config.grid[1] / cluster_y),
        NclusteridZ => same(config.grid[2] / cluster_z),
        ClusterCtaidX => same(ctaid_x % cluster_x),
        ClusterCtaidY => same(ctaid_y % cluster_y),
        ClusterCtaidZ => same(ctaid_z % cluster_z),
        ClusterCtarank => {
            same(ctaid_x % cluster_x + cluster_x * (ctaid_y % cluster_y + cluster_y * (ctaid_z % cluster_z)))
        }
        ClusterNctaidX => same(cluster_x),
        ClusterNctaidY => same(cluster_y),
        ClusterNctaidZ => same(cluster_z),
        ClusterNctarank => same(launch.cluster_size() as u32),
        IsExplicitCluster => {
            let directives = &launch.program.directives;
            same((config.cluster != [1; 3] || directives.required_cluster.is_some()).into())
        }
        Zero => same(0),
        WarpSize => same(LANES as u32),
    }
}
