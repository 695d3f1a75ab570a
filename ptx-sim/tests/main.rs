//! Tests of the simulator through its public interface.

mod bulk;
mod calls;
mod cluster;
mod control;
#[cfg(feature = "cli")]
mod corpus;
mod dependents;
mod fences;
mod mbarrier;
mod memory;
mod run;
mod unwritten;
mod warp;
mod wgmma;

#[cfg(feature = "cli")]
mod cli;
#[cfg(feature = "cli")]
mod golden;
#[cfg(feature = "cli")]
mod readme;
