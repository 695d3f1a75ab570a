//! Where the state spaces lie among generic addresses. Global and constant memory are their own generic addresses,
//! below all windows.

/// Shared memory of the executing block.
pub(crate) const SHARED: u64 = 0x7000_0000_0000;
/// Local memory of the executing thread.
pub(crate) const LOCAL: u64 = 0x7001_0000_0000;
/// The kernel's parameters.
pub(crate) const PARAMETERS: u64 = 0x7002_0000_0000;
/// Of each window.
pub(crate) const SIZE: u64 = 1 << 32;

/// The address at which a block's own shared memory starts: below lies what the system takes of each block.
pub(crate) const SHARED_BASE: u64 = 1 << 10;
