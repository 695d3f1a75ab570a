//! The shape of a launch.

/// Arguments of one launch at most: our kernels take one struct, others a few pointers.
pub const MAX_ARGUMENTS: usize = 8;

/// How many blocks and threads a launch has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Blocks in x, y and z.
    pub blocks: [u32; 3],
    /// Threads of a block in x, y and z.
    pub threads: [u32; 3],
    /// Bytes of shared memory of a block beside what the kernel declares.
    pub dynamic_shared_bytes: u32,
}
