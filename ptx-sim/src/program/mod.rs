//! What a kernel is decoded to: instructions whose operands are rows of a warp's register file.

mod bulk;
mod cluster;
mod control;
mod decoder;
mod function;
mod grid;
mod lanes;
mod mbarrier;
mod memory;
mod registers;
mod synchronization;
mod wgmma;

pub(crate) use bulk::{
    BulkLoad, BulkOp, BulkReduction, BulkSend, BulkStore, BulkWait, GlobalSide, MapAddress, RemoteOp,
    exists_bulk_reduction,
};
pub(crate) use cluster::{ClusterBarrierKind, ClusterOp};
pub(crate) use decoder::{Allocation, Decoder, Prefilled, Special, Symbols, operands};
pub(crate) use function::{Builder, Context};
pub(crate) use grid::GridOp;
pub(crate) use lanes::{LANES, Lanes, Row, Slot};
pub(crate) use mbarrier::{ArriveOp, MbarrierKind, MbarrierOp, WaitedPhase};
pub(crate) use registers::RegisterUse;
pub(crate) use wgmma::{MatrixA, MultiplyOp, WgmmaOp};

use std::sync::Arc;

use crate::alu::AluFn;
use crate::alu::atomics::Atomic;
use crate::memory::{Scope, Strength};
use crate::ptx::ast::{self, Space, Type};
use crate::report::InstructionClass;
use crate::tensor::MmaOp;

/// Index of an instruction in its program.
pub(crate) type Pc = u32;

/// The operands of an arithmetic instruction. What each means is the instruction's own matter.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Operands {
    /// Destinations.
    pub dst: [Slot; 4],
    /// Sources.
    pub src: [Slot; 4],
    /// A small number that belongs to the instruction: a truth table, a shift mode.
    pub aux: u32,
}

impl Operands {
    /// With these destinations and sources, in order.
    pub fn new(dst: &[Slot], src: &[Slot]) -> Self {
        let mut operands = Self::default();
        operands.dst[..dst.len()].copy_from_slice(dst);
        operands.src[..src.len()].copy_from_slice(src);
        operands
    }

    /// The same with a small number.
    pub fn with_aux(self, aux: u32) -> Self {
        Self { aux, ..self }
    }
}

/// What a decoder of a family of instructions makes of one of them.
pub(crate) struct Decoded {
    /// What to do.
    pub op: Op,
    /// On which rows.
    pub operands: Operands,
    /// What it is counted as.
    pub class: InstructionClass,
}

/// Why an instruction is not executed: the reason that [`crate::error::Unsupported`] gives.
pub(crate) type Reject = String;

/// One decoded instruction.
pub(crate) struct Inst {
    /// What to do.
    pub op: Op,
    /// On which rows.
    pub operands: Operands,
    /// The predicate under which lanes execute it.
    pub guard: Slot,
    /// What it is counted as.
    pub class: InstructionClass,
    /// `selp`: its first or second source, as its third says.
    pub selects: bool,
    /// `mov` of a whole register.
    pub moves: bool,
    /// Its number among the instructions that touch registers of `wgmma`, from 1; 0 for those that do not.
    pub touches: u32,
}

/// What an instruction does.
pub(crate) enum Op {
    /// Arithmetic on registers.
    Alu(AluFn),
    /// A tensor-core multiplication.
    Mma(Box<MmaOp>),
    /// Nothing that a functional model could see: a prefetch, a hint.
    Nothing,
    /// To an instruction.
    Branch(Pc),
    /// To the instruction that `src[0]` chooses.
    BranchTable(Box<[Pc]>),
    /// The end of a thread.
    Exit,
    /// `trap` or `brkpt`.
    Trap(&'static str),
    /// The clock into `dst[0]`, 64 bits wide or 32.
    Clock {
        /// 64 bits.
        wide: bool,
    },
    /// `ld`.
    Load(Box<MemoryOp>),
    /// `st`.
    Store(Box<MemoryOp>),
    /// `atom` and `red`.
    Atomic(Box<AtomicOp>),
    /// `fence`, `membar`.
    Fence(FenceOp),
    /// A `.sync` instruction with a member mask.
    Collective(Box<CollectiveOp>),
    /// `activemask`.
    ActiveMask,
    /// `bar`, `barrier`.
    Barrier(Box<BarrierOp>),
    /// `cp.async`.
    CopyAsync(Box<CopyAsyncOp>),
    /// `cp.async.commit_group`.
    CopyCommit,
    /// `cp.async.wait_group n`; `None` is `wait_all`.
    CopyWait(Option<u32>),
    /// `ldmatrix`.
    LoadMatrix(Box<MatrixOp>),
    /// `stmatrix`.
    StoreMatrix(Box<MatrixOp>),
    /// `movmatrix`.
    MoveMatrix,
    /// `mbarrier` and `cp.async.mbarrier.arrive`.
    Mbarrier(Box<MbarrierOp>),
    /// `cp.async.bulk`, `cp.reduce.async.bulk`, `st.async`, `red.async`, their groups and waits.
    Bulk(Box<BulkOp>),
    /// `wgmma`, its fence, groups and waits; `setmaxnreg`.
    Wgmma(Box<WgmmaOp>),
    /// `barrier.cluster`.
    Cluster(ClusterOp),
    /// `griddepcontrol`.
    Grid(GridOp),
    /// `fence.proxy.async` and `fence.mbarrier_init`.
    ProxyFence(ProxyFence),
    /// `nanosleep`: lets others run.
    Sleep,
    /// `__assertfail`: addresses of message, file and function, and the line, in `src`.
    AssertFail,
    /// `vprintf`: addresses of the format and of the arguments in `src`, the number of arguments into `dst[0]`.
    Print,
}

/// The address of a memory operand: a register, if any, and an offset.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    /// The register, and whether it is 64 bits wide.
    pub base: Option<(Slot, bool)>,
    /// What is added.
    pub offset: i64,
}

/// A register that a memory instruction loads or stores.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element {
    /// Where it lies.
    pub slot: Slot,
    /// Its width: 16, 32 or 64.
    pub bits: u32,
}

impl Element {
    /// Two rows.
    pub fn wide(&self) -> bool {
        self.bits > 32
    }
}

/// `ld` or `st`.
#[derive(Debug)]
pub(crate) struct MemoryOp {
    pub space: Space,
    /// The type of each element.
    pub ty: Type,
    pub elements: Vec<Element>,
    pub address: Address,
    pub strength: Strength,
    /// An acquire (of a load) or a release (of a store).
    pub synchronizes: bool,
}

/// `atom` or `red`.
#[derive(Debug)]
pub(crate) struct AtomicOp {
    pub space: Space,
    pub operation: Atomic,
    /// Where the old value goes, if it is wanted.
    pub old: Option<Element>,
    /// `red`, which cannot acquire.
    pub reduction: bool,
    /// Operands `b` and `c`.
    pub sources: [Element; 2],
    pub address: Address,
    pub scope: Scope,
    pub acquire: bool,
    pub release: bool,
}

/// `fence` and `membar`.
#[derive(Debug)]
pub(crate) struct FenceOp {
    pub scope: Scope,
    pub order: FenceOrder,
}

/// A fence between the generic proxy and the asynchronous one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyFence {
    /// `fence.proxy.async`, of the state space that is named or all.
    Async,
    /// `fence.mbarrier_init.release.cluster`.
    MbarrierInit,
}

/// What a fence orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FenceOrder {
    pub acquire: bool,
    pub release: bool,
    /// Takes part in the Fence-SC order.
    pub sc: bool,
}

/// `cp.async`.
#[derive(Debug)]
pub(crate) struct CopyAsyncOp {
    pub destination: Address,
    pub source: Address,
    /// Bytes written to shared memory: 4, 8 or 16.
    pub bytes: u32,
    /// Bytes read from global memory, the rest being zeros.
    pub source_bytes: Option<Slot>,
    /// A predicate under which nothing is read and all bytes are zeros.
    pub ignore_source: Option<Slot>,
}

/// `ldmatrix` or `stmatrix`: registers are in the operands.
#[derive(Debug)]
pub(crate) struct MatrixOp {
    pub address: Address,
    pub space: Space,
    pub registers: Vec<Slot>,
    pub transpose: bool,
}

/// `bar` or `barrier`.
#[derive(Debug)]
pub(crate) struct BarrierOp {
    pub kind: BarrierKind,
    /// All threads execute the same instruction.
    pub aligned: bool,
    pub id: Slot,
    pub count: Option<Slot>,
    /// The predicate that `red` combines, and where the result goes.
    pub reduced: Option<(Slot, Slot)>,
}

/// What a barrier instruction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BarrierKind {
    Sync,
    Arrive,
    Popc,
    And,
    Or,
}

/// A `.sync` instruction with a member mask.
#[derive(Debug)]
pub(crate) struct CollectiveOp {
    pub kind: CollectiveKind,
    /// The member mask.
    pub members: Slot,
}

/// What a `.sync` instruction does. Sources and destinations are the instruction's operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CollectiveKind {
    /// `bar.warp.sync`.
    Barrier,
    /// `shfl.sync`: value, lane, clamp; the result, and a predicate of whether the source lane was in range.
    Shuffle(ShuffleMode, Option<Slot>),
    /// `vote.sync`: a predicate; a predicate or a ballot.
    VoteAll,
    VoteAny,
    VoteUniform,
    VoteBallot,
    /// `match.any.sync`, on 64 bits or 32.
    MatchAny {
        wide: bool,
    },
    /// `match.all.sync`, and the predicate that tells whether all were equal.
    MatchAll {
        wide: bool,
        predicate: Option<Slot>,
    },
    /// `redux.sync`.
    Reduce(Atomic),
    /// `elect.sync`: the leader's lane and a predicate.
    Elect {
        predicate: Slot,
    },
}

/// The source lane of a shuffle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShuffleMode {
    Up,
    Down,
    Butterfly,
    Index,
}

/// A kernel's parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its first byte within the packed parameters.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
    /// What its address must be a multiple of.
    pub align: u32,
}

/// Where an instruction stands.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub line: u32,
    pub source: Option<ast::SourceLine>,
    pub opcode: Box<str>,
}

/// A kernel, decoded.
pub(crate) struct Program {
    pub name: String,
    pub instructions: Vec<Inst>,
    /// What the instructions that touch registers of `wgmma` touch.
    pub register_uses: Vec<RegisterUse>,
    pub places: Vec<Place>,
    /// Paths of source files by number.
    pub files: Arc<[(u32, String)]>,
    pub rows: usize,
    pub predicates: usize,
    pub constants: Arc<[Row]>,
    pub specials: Vec<Prefilled>,
    pub parameters: Vec<Parameter>,
    pub parameter_bytes: u32,
    /// Bytes of static shared memory, as a multiple of what dynamic shared memory is aligned to.
    pub static_shared_bytes: u32,
    /// Bytes of local memory of each thread.
    pub local_bytes: u32,
    pub directives: ast::Directives,
    /// Whether blocks can order their accesses to global memory, or see each other's results, while they run.
    pub inter_block_sync: bool,
    /// Whether the order of blocks can change results: floating-point reductions, clocks, what is printed.
    pub order_dependent: bool,
    /// Whether mbarriers may track its `cp.async` copies.
    pub tracks_copies: bool,
}
