//! A simulated GPU for tests: it runs the PTX of CUDA kernels on the CPU, checks what they do, and counts what it costs.
//!
//! The API is that of a driver. A [`Device`] has memory, modules and streams; a [`Stream`] runs launches in order;
//! [`Stream::synchronize`] gives a [`Report`] of each launch, or the first [`Violation`].
//!
//! ```
//! use ptx_sim::{ComputeCapability, Device, DeviceProperties, Error, LaunchConfig, ViolationKind};
//!
//! # fn main() -> ptx_sim::Result<()> {
//! // out[i] = in[i + 1]
//! let ptx = "
//!     .version 8.0
//!     .target sm_80
//!     .address_size 64
//!     .visible .entry shift(.param .u64 out, .param .u64 in)
//!     {
//!         .reg .b32 %r<3>;
//!         .reg .b64 %rd<6>;
//!         ld.param.u64 %rd1, [out];
//!         ld.param.u64 %rd2, [in];
//!         mov.u32 %r1, %tid.x;
//!         mul.wide.u32 %rd3, %r1, 4;
//!         add.s64 %rd4, %rd1, %rd3;
//!         add.s64 %rd5, %rd2, %rd3;
//!         ld.global.u32 %r2, [%rd5+4];
//!         st.global.u32 [%rd4], %r2;
//!         ret;
//!     }";
//! let device = Device::new(DeviceProperties::of(ComputeCapability::Sm80));
//! let kernel = device.load_module(ptx)?.kernel("shift")?;
//! let stream = device.create_stream();
//! let config = LaunchConfig::new([1, 1, 1], [64, 1, 1]);
//!
//! let (out, input) = (device.allocate(256)?, device.allocate(260)?);
//! device.fill(input, 7, 260)?;
//! // The parameters as they lie in memory.
//! stream.launch(&kernel, &config, &[out.to_le_bytes(), input.to_le_bytes()].concat())?;
//! let reports = stream.synchronize()?;
//! assert_eq!(reports[0].counters.global_written.unique_bytes, 256);
//! let mut result = [0; 256];
//! device.read(out, &mut result)?;
//! assert_eq!(result, [7; 256]);
//!
//! // In place, threads read what others write, and nothing orders them.
//! stream.launch(&kernel, &config, &[input.to_le_bytes(), input.to_le_bytes()].concat())?;
//! let Err(Error::Violation(violation)) = stream.synchronize() else { panic!("not noticed") };
//! assert_eq!(violation.kind, ViolationKind::GlobalRace);
//! # Ok(())
//! # }
//! ```
//!
//! - What is checked: [`ViolationKind`]. What is counted: [`Counters`]. Both are on for every launch; [`RunOptions`] turns checks
//!   off, and has the seed of the scheduler.
//! - A kernel with instructions that are not executed does not load: [`Error::Unsupported`] names them. [`inspect`] lists them without a
//!   device.
//! - The README has the command line, and the rules behind the checks.
//!
//! Features: `cli` (default) is for the program; `serde` makes reports and violations serialisable.

mod alu;
mod config;
mod count;
mod device;
mod error;
mod exec;
mod launch;
mod memory;
mod module;
mod program;
mod ptx;
mod race;
mod report;
mod report_table;
mod tensor;
mod tensor_map;
mod violation;
mod wide;

pub use config::{Checks, ComputeCapability, DeviceProperties, RunOptions, TensorMode};
pub use device::{Device, Stream};
pub use error::{Error, Result, TensorMapError, Unsupported};
pub use launch::LaunchConfig;
pub use module::{Inspection, Kernel, KernelInfo, Module, inspect};
pub use program::Parameter;
pub use report::{
    BankConflicts, Counters, GlobalTraffic, InstructionClass, Report, SharedTraffic, SourceLocation, Totals,
};
pub use tensor_map::{TensorFill, TensorInterleave, TensorL2Promotion, TensorMap, TensorSwizzle, TensorType};
pub use violation::{AccessKind, PriorAccess, ThreadLocation, Violation, ViolationKind};

/// Reads PTX and forgets it: the fuzz target's way in.
#[doc(hidden)]
pub fn fuzz_parse(text: &str) -> Result<()> {
    ptx::parse(text).map(drop)
}

/// The README's code is tested with the crate.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
