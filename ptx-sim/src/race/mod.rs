//! Happens-before: which accesses to memory are ordered, and which pairs of them race.
//!
//! Every access is stamped with its thread and with that warp's clock ([`stamp`]). What a thread knows to have
//! happened before it is a [`vector`] of such clocks, moved between threads by barriers, fences, releases and acquires
//! ([`clocks`], [`sync`]). The [`shadow`] of a memory keeps the stamps of the accesses that later ones may conflict with.
//!
//! Operations of the asynchronous proxy have stamps of their own ([`channel`]), and see writes of the generic proxy only
//! through a proxy fence.
//!
//! The rules are those of the PTX ISA's memory consistency model, with these deliberate differences:
//! - One `fence.sc` is ordered before another only where observation leaves no other order of the two: where it is an
//!   accident of one execution which comes first, a race that this hides is there in another.
//! - A failed compare-and-swap counts as a write.
//! - Strong accesses of different sizes to the same bytes are taken as morally strong.
//! - An observed value orders its write before what follows the observation; this is taken to extend to the earlier
//!   strong accesses of the same location that the write took the place of.
//! - A byte's unordered readers (or strong writers) beyond [`sets::CAPACITY`] warps and instructions are forgotten,
//!   oldest first.

mod accessor;
mod channel;
mod claim;
mod clocks;
mod glance;
mod granule;
mod sets;
mod shadow;
mod stamp;
mod sync;
mod vector;
mod visit;

#[cfg(test)]
mod tests;

pub(crate) use accessor::{Accessor, Conflict};
pub(crate) use channel::{Mark, Moment};
pub(crate) use clocks::{BlockClocks, LaunchNumbers};
pub(crate) use shadow::Shadow;
pub(crate) use stamp::MAX_BLOCKS;
pub(crate) use sync::{BarrierClock, SyncVariables};
pub(crate) use visit::{Visit, Visits};
