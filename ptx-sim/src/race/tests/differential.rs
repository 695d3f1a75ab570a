//! Random programs: the engine must find a race exactly where the oracle does.

use super::oracle::{Access, BLOCKS, LANES, LaneAccess, Oracle, WARPS, What, thread};
use crate::config::Checks;
use crate::count::Tally;
use crate::memory::{AtomicOrder, GlobalMemory, PageCache, Scope, Strength, SyncSemantics, WarpAccess};
use crate::program::FenceOrder;
use crate::race::{BarrierClock, BlockClocks};
use crate::violation::{AccessKind, ViolationKind};

/// Words that a program uses.
const WORDS: usize = 3;
const ALL: u32 = (1 << LANES) - 1;

#[derive(Clone, Debug)]
enum Op {
    Access(Access),
    Fence {
        block: usize,
        warp: usize,
        lanes: u32,
        scope: Scope,
        acquire: bool,
        release: bool,
    },
    SyncWarp {
        block: usize,
        warp: usize,
        lanes: u32,
    },
    /// Warps that arrive, and those of them that wait.
    Barrier {
        block: usize,
        arriving: Vec<usize>,
        waiting: Vec<usize>,
    },
    Exit {
        block: usize,
        warp: usize,
        lanes: u32,
    },
}

/// Xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % n
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn scope(&mut self) -> Scope {
        [Scope::Cta, Scope::Gpu, Scope::Gpu, Scope::System][self.below(4)]
    }

    fn lanes(&mut self) -> u32 {
        match self.below(4) {
            0 | 1 => ALL,
            2 => 1 << self.below(LANES),
            _ => 1 + self.below(ALL as usize) as u32,
        }
    }

    fn access(&mut self, block: usize, warp: usize, live: u32) -> Access {
        let strong = self.chance(50);
        let what = match self.below(6) {
            0 | 1 => What::Load,
            2 | 3 => What::Store,
            4 if strong => What::Atomic,
            5 if strong => What::Reduction,
            _ => What::Load,
        };
        let size = if strong { 4 } else { [1, 2, 4, 4, 8][self.below(5)] };
        let base = self.below(WORDS * 4);
        let same = self.chance(30);
        let lanes = self.lanes() & live;
        let lanes = (0..LANES).filter(|lane| lanes >> lane & 1 != 0);
        let lanes = lanes.map(|lane| {
            let byte = if same {
                base
            } else if size < 4 {
                lane * size + base
            } else {
                self.below(WORDS * 4)
            };
            LaneAccess { lane, byte: (byte % (WORDS * 4)) / size * size }
        });
        let lanes: Vec<_> = lanes.filter(|lane| lane.byte + size <= WORDS * 4).collect();
        Access {
            block,
            warp,
            what,
            strength: if strong { Strength::Strong(self.scope()) } else { Strength::Weak },
            lanes,
            acquire: strong && matches!(what, What::Load | What::Atomic) && self.chance(30),
            release: strong && what != What::Load && self.chance(30),
            size,
        }
    }

    fn op(&mut self, live: &[[u32; WARPS]; BLOCKS]) -> Op {
        let (block, warp) = (self.below(BLOCKS), self.below(WARPS));
        let lanes = self.lanes() & live[block][warp];
        match self.below(20) {
            0..12 => Op::Access(self.access(block, warp, live[block][warp])),
            12..15 => {
                let (acquire, release) =
                    [(true, true), (true, true), (true, false), (false, true)][self.below(4)];
                Op::Fence { block, warp, lanes, scope: self.scope(), acquire, release }
            }
            15..17 => Op::SyncWarp { block, warp, lanes },
            17..19 => {
                let both = self.chance(70);
                let waiting = if both { vec![0, 1] } else { vec![warp] };
                Op::Barrier { block, arriving: vec![0, 1], waiting }
            }
            _ if self.chance(20) => {
                Op::Exit { block, warp, lanes: 1 << self.below(LANES) & live[block][warp] }
            }
            _ => Op::SyncWarp { block, warp, lanes: live[block][warp] },
        }
    }
}

fn threads(block: usize, warp: usize, lanes: u32) -> impl Iterator<Item = usize> {
    (0..LANES).filter(move |lane| lanes >> lane & 1 != 0).map(move |lane| thread(block, warp, lane))
}

struct Both {
    oracle: Oracle,
    memory: GlobalMemory,
    cache: PageCache,
    clocks: Vec<BlockClocks>,
    live: [[u32; WARPS]; BLOCKS],
    address: u64,
    /// Races that the engine may miss, and did.
    missed: usize,
}

impl Both {
    fn new(exit_unused: bool) -> Self {
        let memory = GlobalMemory::new(0);
        let address = memory.allocate(64).expect("room");
        let launch = memory.begin_launch(BLOCKS as u64, 1).expect("numbers");
        let checks = Checks { initialization: false, ..Checks::default() };
        let clocks = (0..BLOCKS as u32).map(|block| {
            let mut clocks = BlockClocks::new(launch.first_block + block, 32 * WARPS, launch);
            for warp in 0..WARPS {
                if exit_unused {
                    clocks.exit(warp, !ALL);
                }
            }
            clocks
        });
        Self {
            oracle: Oracle::new(),
            cache: PageCache::new(checks, true),
            clocks: clocks.collect(),
            live: [[ALL; WARPS]; BLOCKS],
            memory,
            address,
            missed: 0,
        }
    }

    /// The lanes that race by the oracle, and the lane that the engine reports.
    fn step(&mut self, op: &Op) -> (Vec<usize>, Option<usize>) {
        match op {
            Op::Access(access) => {
                let mut races = self.oracle.races(access);
                let found = self.access(access);
                if found.is_none() && self.oracle.may_miss(access) {
                    self.missed += usize::from(!races.is_empty());
                    races.clear();
                }
                if races.is_empty() {
                    self.oracle.access(access);
                }
                return (races, found);
            }
            Op::Fence { block, warp, lanes, scope, acquire, release } => {
                let lanes = lanes & self.live[*block][*warp];
                threads(*block, *warp, lanes)
                    .for_each(|one| self.oracle.fence(one, *scope, *acquire, *release));
                let order = FenceOrder { acquire: *acquire, release: *release, sc: false };
                self.clocks[*block].fence(*warp, lanes, *scope, order);
            }
            Op::SyncWarp { block, warp, lanes } => {
                let lanes = lanes & self.live[*block][*warp];
                self.oracle.sync(&threads(*block, *warp, lanes).collect::<Vec<_>>());
                self.clocks[*block].sync_warp(*warp, lanes);
            }
            Op::Barrier { block, arriving, waiting } => {
                let live = self.live[*block];
                let of = |warps: &[usize]| -> Vec<usize> {
                    warps.iter().flat_map(|warp| threads(*block, *warp, live[*warp])).collect()
                };
                self.oracle.barrier(&of(arriving), &of(waiting));
                let clocks = &mut self.clocks[*block];
                let mut barrier = BarrierClock::default();
                arriving.iter().for_each(|warp| clocks.barrier_arrive(&mut barrier, *warp, live[*warp]));
                waiting.iter().for_each(|warp| clocks.barrier_leave(&barrier, *warp, live[*warp]));
            }
            Op::Exit { block, warp, lanes } => {
                self.live[*block][*warp] &= !lanes;
                self.clocks[*block].exit(*warp, *lanes);
            }
        }
        (Vec::new(), None)
    }

    fn access(&mut self, access: &Access) -> Option<usize> {
        let mut addresses = [0; 32];
        let mut mask = 0;
        for lane in &access.lanes {
            addresses[lane.lane] = self.address + lane.byte as u64;
            mask |= 1 << lane.lane;
        }
        let order = SyncSemantics { acquire: access.acquire, release: access.release };
        let kind = match access.what {
            What::Load => AccessKind::Read,
            What::Store => AccessKind::Write,
            What::Atomic | What::Reduction => AccessKind::Atomic,
        };
        let warp_access = WarpAccess {
            kind,
            strength: access.strength,
            order,
            size: access.size,
            align: access.size as u64,
            addresses: &addresses,
            mask,
            pc: 1,
            reads_unwritten: false,
            moment: None,
        };
        let (cache, clocks, tally) = (&mut self.cache, &mut self.clocks[access.block], &mut Tally::default());
        let result = match access.what {
            What::Load => {
                self.memory.load(cache, clocks, access.warp, &warp_access, &mut [[0; 16]; 32], tally)
            }
            What::Store => self.memory.store(cache, clocks, access.warp, &warp_access, &[[0; 16]; 32], tally),
            What::Atomic | What::Reduction => {
                let (acquire, release) = (access.acquire, access.release);
                let order = AtomicOrder { acquire, release, reduction: access.what == What::Reduction };
                let update = &mut |_: usize, old: u64| old + 1;
                let old = &mut [0; 32];
                self.memory.atomic(cache, clocks, access.warp, &warp_access, order, update, old, tally)
            }
        };
        let fault = result.err()?;
        assert_eq!(fault.kind, ViolationKind::GlobalRace, "{fault:?}");
        assert!(fault.prior.is_some());
        Some(fault.lane)
    }
}

fn agree(races: &[usize], found: Option<usize>) -> bool {
    found.map_or(races.is_empty(), |lane| races.contains(&lane))
}

/// Whether engine and oracle disagree somewhere in a program.
fn disagrees(ops: &[Op], exit_unused: bool) -> bool {
    let mut both = Both::new(exit_unused);
    for op in ops {
        let (races, found) = both.step(op);
        if !agree(&races, found) {
            return true;
        }
        if !races.is_empty() {
            return false;
        }
    }
    false
}

fn minimize(mut ops: Vec<Op>, exit_unused: bool) -> Vec<Op> {
    let mut index = 0;
    while index < ops.len() {
        let mut fewer = ops.clone();
        fewer.remove(index);
        if disagrees(&fewer, exit_unused) {
            ops = fewer;
            index = 0;
        } else {
            index += 1;
        }
    }
    ops
}

#[test]
fn random_programs() {
    let programs = std::env::var("PTX_SIM_RACE_PROGRAMS").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000);
    let (mut races, mut accesses, mut missed) = (0, 0, 0);
    for program in 0..programs {
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (program + 1));
        (0..8).for_each(|_| _ = random.below(2));
        let exit_unused = random.chance(50);
        let mut both = Both::new(exit_unused);
        let mut ops = Vec::new();
        for _ in 0..80 {
            let op = random.op(&both.live);
            if let Op::Access(access) = &op {
                // Most programs should get far.
                if access.lanes.is_empty() || !both.oracle.races(access).is_empty() && !random.chance(15) {
                    continue;
                }
                accesses += 1;
            }
            ops.push(op);
            let (expected, found) = both.step(&ops[ops.len() - 1]);
            if !agree(&expected, found) {
                let least: Vec<_> = minimize(ops, exit_unused).iter().map(|op| format!("{op:?}\n")).collect();
                panic!(
                    "program {program}:\n{}lanes that race: {expected:?}, found: {found:?}",
                    least.concat()
                );
            }
            if !expected.is_empty() {
                races += 1;
                break;
            }
        }
        missed += both.missed as u64;
    }
    assert!(missed * 1000 < programs, "{missed} races missed in {programs} programs");
    assert!(races > programs / 4, "{races} of {programs} programs race");
    assert!(accesses > 5 * programs, "{accesses} accesses in {programs} programs");
}
