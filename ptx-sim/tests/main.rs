//! Tests of the simulator through its public interface.

mod calls;
mod control;
#[cfg(feature = "cli")]
mod corpus;
mod fences;
mod memory;
mod run;
mod unwritten;
mod warp;

#[cfg(feature = "cli")]
mod cli;
#[cfg(feature = "cli")]
mod golden;
#[cfg(feature = "cli")]
mod readme;
