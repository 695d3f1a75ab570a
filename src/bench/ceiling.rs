//! The kernels that do one thing alone: what a device reaches. They are no operations that anybody calls, so they stand in
//! no row; [`Ceilings`](super::Ceilings) times them.

use super::{Call, Memory, Work};
use crate::Result;
use crate::cost::Cost;
use crate::gpu::{TensorMut, TensorRef};
use crate::ops::{self, CEILING_MMA, CEILING_WGMMA, CeilingShape, CeilingTensor};
use crate::plan::{self, Limits, Plan};
use crate::tensor::DType;

/// Bytes of what the reading and the copying kernel take at a time.
const VECTOR_BYTES: u64 = 16;
/// Words of it.
const VECTOR_WORDS: usize = 4;
/// Bytes that memory is read and written in.
const SECTOR_BYTES: u64 = 32;

/// `ceiling_read`: reads memory and does next to nothing with it.
#[derive(Clone, Copy, Debug)]
pub struct CeilingRead {
    /// Vectors of 16 bytes.
    pub vectors: usize,
    /// Blocks at most; with fewer than a block for each 16 KB they stay and take them in turns.
    pub most_blocks: usize,
}

impl CeilingRead {
    fn blocks(&self) -> u64 {
        let plan = plan::ceiling_read(self.vectors, self.most_blocks).ok().flatten();
        plan.map_or(0, |plan| u64::from(plan.launch.grid[0]))
    }
}

impl Work for CeilingRead {
    fn op(&self) -> &'static str {
        "ceiling_read"
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        vec![("vectors", self.vectors), ("blocks", self.blocks() as usize)]
    }

    fn cost(&self) -> Cost {
        let written = 4 * self.blocks();
        Cost { flops: 0, bytes: self.vectors as u64 * VECTOR_BYTES + written, written }
    }

    fn plans(&self, _: DType, _: &Limits) -> Result<Vec<Plan>> {
        Ok(plan::ceiling_read(self.vectors, self.most_blocks)?.into_iter().collect())
    }

    fn issued_bytes(&self, _: &[Plan]) -> u64 {
        // A block's word takes a sector.
        self.vectors as u64 * VECTOR_BYTES + SECTOR_BYTES * self.blocks()
    }

    fn prepare(&self, _: DType, memory: &mut Memory) -> Result<Call> {
        let source = memory.random(DType::F32, &[VECTOR_WORDS * self.vectors])?;
        let mut out = memory.output(DType::U32, &[self.blocks() as usize])?;
        let most_blocks = self.most_blocks;
        Ok(Box::new(move |stream| {
            let (source, out) = (TensorRef::new(source.view())?, TensorMut::new(out.view_mut())?);
            ops::ceiling_read(stream, &source, &out, most_blocks)
        }))
    }
}

/// `ceiling_copy`: copies memory.
#[derive(Clone, Copy, Debug)]
pub struct CeilingCopy {
    /// Vectors of 16 bytes.
    pub vectors: usize,
    /// Blocks at most; with fewer than a block for each 16 KB they stay and take them in turns.
    pub most_blocks: usize,
}

impl CeilingCopy {
    fn blocks(&self) -> u64 {
        let plan = plan::ceiling_copy(self.vectors, self.most_blocks).ok().flatten();
        plan.map_or(0, |plan| u64::from(plan.launch.grid[0]))
    }
}

impl Work for CeilingCopy {
    fn op(&self) -> &'static str {
        "ceiling_copy"
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        vec![("vectors", self.vectors), ("blocks", self.blocks() as usize)]
    }

    fn cost(&self) -> Cost {
        let written = self.vectors as u64 * VECTOR_BYTES;
        Cost { flops: 0, bytes: 2 * written, written }
    }

    fn plans(&self, _: DType, _: &Limits) -> Result<Vec<Plan>> {
        Ok(plan::ceiling_copy(self.vectors, self.most_blocks)?.into_iter().collect())
    }

    fn prepare(&self, _: DType, memory: &mut Memory) -> Result<Call> {
        let source = memory.random(DType::F32, &[VECTOR_WORDS * self.vectors])?;
        let mut out = memory.output(DType::F32, &[VECTOR_WORDS * self.vectors])?;
        let most_blocks = self.most_blocks;
        Ok(Box::new(move |stream| {
            let (source, out) = (TensorRef::new(source.view())?, TensorMut::new(out.view_mut())?);
            ops::ceiling_copy(stream, &source, &out, most_blocks)
        }))
    }
}

/// `ceiling_mma`: the tensor cores by `mma.sync`, in bf16 or f16 with f32 sums, on registers.
#[derive(Clone, Copy, Debug)]
pub struct CeilingMma {
    /// Blocks of 8 warps.
    pub blocks: usize,
    /// Times that each warp adds its 64 x 32 x 16 product: a multiple of 4.
    pub rounds: usize,
}

/// `ceiling_wgmma`: the tensor cores by `wgmma`, in bf16 or f16 with f32 sums, on shared memory: on compute capability 9.0
/// alone.
#[derive(Clone, Copy, Debug)]
pub struct CeilingWgmma {
    /// Blocks of two warpgroups.
    pub blocks: usize,
    /// Times that each adds its 128 x 256 x 64 product.
    pub rounds: usize,
}

/// What a launch of so many products costs.
fn tensor_cost(shape: CeilingShape, blocks: usize, rounds: usize) -> Cost {
    let CeilingShape { m, n, k, products } = shape;
    let products = (products * blocks) as u64;
    let written = 4 * products * (m * n) as u64;
    Cost {
        flops: 2 * products * (m * n * k) as u64 * rounds as u64,
        bytes: 2 * ((m + n) * k) as u64 + written,
        written,
    }
}

/// The operands of a launch of so many products, and one of the operations on them.
fn tensor_call(
    shape: CeilingShape,
    [blocks, rounds]: [usize; 2],
    dtype: DType,
    memory: &mut Memory,
    op: fn(&crate::gpu::Stream, &CeilingTensor<'_>) -> Result<()>,
) -> Result<Call> {
    let CeilingShape { m, n, k, products } = shape;
    let (a, b) = (memory.random(dtype, &[m * k])?, memory.random(dtype, &[n * k])?);
    let mut out = memory.output(DType::F32, &[products * blocks * m * n])?;
    Ok(Box::new(move |stream| {
        let (a, b) = (TensorRef::new(a.view())?, TensorRef::new(b.view())?);
        op(stream, &CeilingTensor { a, b, out: TensorMut::new(out.view_mut())?, rounds })
    }))
}

impl Work for CeilingMma {
    fn op(&self) -> &'static str {
        "ceiling_mma"
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        vec![("blocks", self.blocks), ("rounds", self.rounds)]
    }

    fn cost(&self) -> Cost {
        tensor_cost(CEILING_MMA, self.blocks, self.rounds)
    }

    fn plans(&self, dtype: DType, _: &Limits) -> Result<Vec<Plan>> {
        Ok(plan::ceiling_mma(dtype, self.blocks, self.rounds)?.into_iter().collect())
    }

    fn issued_bytes(&self, _: &[Plan]) -> u64 {
        // Each warp loads operands for itself: of eight rows at a time half a sector.
        let CeilingShape { m, n, k, products } = CEILING_MMA;
        let operands = 2 * 2 * ((m + n) * k) as u64;
        self.cost().written + operands * (products * self.blocks) as u64
    }

    fn prepare(&self, dtype: DType, memory: &mut Memory) -> Result<Call> {
        tensor_call(CEILING_MMA, [self.blocks, self.rounds], dtype, memory, ops::ceiling_mma)
    }
}

impl Work for CeilingWgmma {
    fn op(&self) -> &'static str {
        "ceiling_wgmma"
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        vec![("blocks", self.blocks), ("rounds", self.rounds)]
    }

    fn cost(&self) -> Cost {
        tensor_cost(CEILING_WGMMA, self.blocks, self.rounds)
    }

    fn plans(&self, dtype: DType, _: &Limits) -> Result<Vec<Plan>> {
        Ok(plan::ceiling_wgmma(dtype, self.blocks, self.rounds)?.into_iter().collect())
    }

    fn issued_bytes(&self, _: &[Plan]) -> u64 {
        let CeilingShape { m, n, k, .. } = CEILING_WGMMA;
        self.cost().written + 2 * ((m + n) * k * self.blocks) as u64
    }

    fn prepare(&self, dtype: DType, memory: &mut Memory) -> Result<Call> {
        tensor_call(CEILING_WGMMA, [self.blocks, self.rounds], dtype, memory, ops::ceiling_wgmma)
    }
}

/// `ceiling_empty`: a launch and nothing else.
#[derive(Clone, Copy, Debug)]
pub struct CeilingEmpty;

impl Work for CeilingEmpty {
    fn op(&self) -> &'static str {
        "ceiling_empty"
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        Vec::new()
    }

    fn cost(&self) -> Cost {
        Cost::default()
    }

    fn plans(&self, _: DType, _: &Limits) -> Result<Vec<Plan>> {
        Ok(vec![plan::ceiling_empty()])
    }

    fn prepare(&self, _: DType, _: &mut Memory) -> Result<Call> {
        Ok(Box::new(ops::ceiling_empty))
    }
}

/// The kernels that do one thing alone, in sizes that a device of these limits is measured with: reading and copying `bytes`
/// in several grids, of which the fastest counts.
pub fn ceiling_works(bytes: u64, limits: &Limits) -> Vec<Box<dyn Work>> {
    let vectors = (bytes / VECTOR_BYTES) as usize;
    let sms = limits.num_sms as usize;
    // A block for each tile; and blocks that stay, as many as run at a time or some more.
    let grids = [usize::MAX, 8 * sms, 32 * sms];
    let mut works: Vec<Box<dyn Work>> = Vec::new();
    for most_blocks in grids {
        works.push(Box::new(CeilingRead { vectors, most_blocks }));
    }
    for most_blocks in grids {
        works.push(Box::new(CeilingCopy { vectors: vectors / 2, most_blocks }));
    }
    // Two blocks fit a multiprocessor. A quarter of one does a product of m16n8k16 in 4 to 16 cycles, so 64 of them for each
    // round of its 4 warps: some milliseconds.
    works.push(Box::new(CeilingMma { blocks: 2 * sms, rounds: 8192 }));
    // One block fits, and does a round in 1024 cycles.
    works.push(Box::new(CeilingWgmma { blocks: sms, rounds: 4096 }));
    works.push(Box::new(CeilingEmpty));
    works
}
