//! Who accessed, when and how, in 64 + 32 bits.

use super::sync::Reach;
use crate::memory::{Scope, Strength};
use crate::program::Pc;
use crate::violation::AccessKind;

const LANE_BITS: u32 = 5;
const WARP_BITS: u32 = 8;
const THREAD_BITS: u32 = LANE_BITS + WARP_BITS;
const CLOCK_BITS: u32 = 24;
const BLOCK_SHIFT: u32 = THREAD_BITS + CLOCK_BITS;

/// Blocks that can be numbered before all shadows must be dropped. The highest number marks a set.
pub(crate) const MAX_BLOCKS: u32 = (1 << 27) - 1;

/// The first number of a channel: lower ones are warps.
pub(super) const FIRST_CHANNEL: usize = 32;
/// Channels of a block.
pub(super) const CHANNELS: usize = (1 << WARP_BITS) - FIRST_CHANNEL;

/// Block (27 bits; 0 is nobody), clock (24 bits), warp or channel (8 bits) and lane (5 bits), the block highest, so that
/// all stamps of one block before a clock are a range of numbers. The clocks of channels begin above those of warps:
/// none of them is in such a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Stamp(pub u64);

impl Stamp {
    pub const NOBODY: Self = Self(0);
    /// A warp's clock stands still from here on; what comes later then looks as if it had come before.
    pub const MAX_CLOCK: u32 = Self::FIRST_CHANNEL_CLOCK - 1;
    /// Where the clocks of channels begin, and where they stand still.
    pub const FIRST_CHANNEL_CLOCK: u32 = 1 << (CLOCK_BITS - 1);
    pub const MAX_CHANNEL_CLOCK: u32 = (1 << CLOCK_BITS) - 3;
    /// In place of a clock: readers of several blocks that no later access is ordered after.
    const SEVERAL_BLOCKS: u32 = (1 << CLOCK_BITS) - 2;
    /// In place of a clock: an asynchronous copy that has not completed.
    const PENDING: u32 = (1 << CLOCK_BITS) - 1;

    pub fn new(block: u32, clock: u32, warp: usize, lane: usize) -> Self {
        let thread = (warp << LANE_BITS | lane) as u64;
        Self(u64::from(block) << BLOCK_SHIFT | u64::from(clock) << THREAD_BITS | thread)
    }

    pub fn several_blocks(first_block: u32) -> Self {
        Self::new(first_block, Self::SEVERAL_BLOCKS, 0, 0)
    }

    pub fn pending(block: u32, warp: usize, lane: usize) -> Self {
        Self::new(block, Self::PENDING, warp, lane)
    }

    /// An operation in a channel.
    pub fn channel(block: u32, clock: u32, channel: usize) -> Self {
        Self::new(block, clock, FIRST_CHANNEL + channel, 0)
    }

    /// Stands for the set of this number.
    pub fn set(id: usize) -> Self {
        Self(u64::from(MAX_BLOCKS) << BLOCK_SHIFT | id as u64)
    }

    pub fn set_id(self) -> Option<usize> {
        (self.block() == MAX_BLOCKS).then_some((self.0 & ((1 << BLOCK_SHIFT) - 1)) as usize)
    }

    #[inline(always)]
    pub fn block(self) -> u32 {
        (self.0 >> BLOCK_SHIFT) as u32
    }

    #[inline(always)]
    pub fn clock(self) -> u32 {
        (self.0 >> THREAD_BITS) as u32 & ((1 << CLOCK_BITS) - 1)
    }

    #[inline(always)]
    pub fn warp(self) -> usize {
        (self.0 >> LANE_BITS) as usize & ((1 << WARP_BITS) - 1)
    }

    #[inline(always)]
    pub fn lane(self) -> usize {
        self.0 as usize & 31
    }

    pub fn is_pending(self) -> bool {
        self.clock() == Self::PENDING && self.block() != MAX_BLOCKS
    }

    pub fn is_several_blocks(self) -> bool {
        self.clock() == Self::SEVERAL_BLOCKS && self.block() != MAX_BLOCKS
    }

    /// Whether it stands for a moment of one thread or channel, not for one of the markers above.
    #[inline(always)]
    pub fn is_moment(self) -> bool {
        self.clock() <= Self::MAX_CHANNEL_CLOCK
    }

    /// Whether it stands for an operation of the asynchronous proxy.
    pub fn is_channel(self) -> bool {
        (Self::FIRST_CHANNEL_CLOCK..=Self::MAX_CHANNEL_CLOCK).contains(&self.clock())
    }

    /// What all stamps of a block are added to.
    #[inline(always)]
    pub fn of_block(block: u32) -> u64 {
        u64::from(block) << BLOCK_SHIFT
    }

    /// What a clock adds to a stamp.
    #[inline(always)]
    pub fn of_clock(clock: u32) -> u64 {
        u64::from(clock) << THREAD_BITS
    }
}

/// Instruction (24 bits), strength (2 bits) and kind (3 bits) of an access.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Note(pub u32);

impl Note {
    const PC_BITS: u32 = 24;
    const UNKNOWN_PC: u32 = (1 << Self::PC_BITS) - 1;

    pub fn new(pc: Pc, strength: Strength, kind: AccessKind) -> Self {
        let strength = match strength {
            Strength::Weak => 0,
            Strength::Strong(Scope::Cta) => 1,
            Strength::Strong(Scope::Cluster) => 2,
            Strength::Strong(Scope::Gpu | Scope::System) => 3,
        };
        let kind = match kind {
            AccessKind::Read => 0,
            AccessKind::Write => 1,
            AccessKind::Atomic => 2,
            AccessKind::AsyncWrite => 3,
            AccessKind::AsyncRead => 4,
            AccessKind::ProxyRead => 5,
            AccessKind::ProxyWrite => 6,
        };
        Self(pc.min(Self::UNKNOWN_PC) | strength << Self::PC_BITS | kind << (Self::PC_BITS + 2))
    }

    /// Of any weak write.
    pub fn of_write() -> Self {
        Self::new(Self::UNKNOWN_PC, Strength::Weak, AccessKind::Write)
    }

    pub fn pc(self) -> Option<Pc> {
        let pc = self.0 & Self::UNKNOWN_PC;
        (pc != Self::UNKNOWN_PC).then_some(pc)
    }

    pub fn kind(self) -> AccessKind {
        match self.0 >> (Self::PC_BITS + 2) {
            0 => AccessKind::Read,
            1 => AccessKind::Write,
            2 => AccessKind::Atomic,
            3 => AccessKind::AsyncWrite,
            4 => AccessKind::AsyncRead,
            5 => AccessKind::ProxyRead,
            _ => AccessKind::ProxyWrite,
        }
    }

    #[inline(always)]
    fn level(self) -> u32 {
        self.0 >> Self::PC_BITS & 3
    }

    #[inline(always)]
    pub fn is_weak(self) -> bool {
        self.level() == 0
    }

    /// Whether two strong accesses name scopes that include each other's thread, which must reach as far as `apart`.
    pub fn morally_strong(self, other: Self, apart: Reach) -> bool {
        self.level().min(other.level())
            >= match apart {
                Reach::Block => 1,
                Reach::Cluster => 2,
                Reach::Device => 3,
            }
    }

    /// Whether whatever races with an earlier access of the same block, ordered before this one, also races with this
    /// one or is ordered after it: then the earlier need not be kept.
    pub fn replaces(self, earlier: Self) -> bool {
        self.is_weak() || earlier.level() >= self.level()
    }

    /// Whether its scope is the device's.
    pub fn is_device_wide(self) -> bool {
        self.level() == 3
    }
}
