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

/// Bits of an offset in one block's part of the window of a cluster.
const BLOCK_BITS: u32 = 24;
/// Of the executing block's own part of the window.
pub(crate) const BLOCK_SIZE: u64 = 1 << BLOCK_BITS;
/// Ranks above this one, which no cluster has, are not told apart.
const MAX_RANK: u64 = (SIZE >> BLOCK_BITS) - 2;

/// The address in the shared memory of a cluster of what has the address `local` in the block of `rank`. A block's own
/// addresses are addresses of the cluster, too, and mean its own memory.
pub fn of_block(local: u64, rank: usize) -> u64 {
    local & (BLOCK_SIZE - 1) | ((rank as u64).min(MAX_RANK) + 1) << BLOCK_BITS
}

/// The rank of the block that an address in the shared memory of a cluster belongs to (`None` is the executing block's
/// own), and the address there.
pub fn split_cluster(address: u64) -> (Option<usize>, u64) {
    let local = address & (BLOCK_SIZE - 1);
    ((address >> BLOCK_BITS).checked_sub(1).map(|rank| rank as usize), local)
}
