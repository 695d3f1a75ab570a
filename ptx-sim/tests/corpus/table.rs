//! The corpus: what each kernel does wrong, and what its corrected twin computes.

use ptx_sim::ViolationKind::{self, *};

/// A kernel `bad` with one bug, and its twin `good`, which differs by the fix alone.
pub struct Case {
    /// The stem of its files in `corpus/`; begins with the violation's name, or `wrong_output`.
    pub name: &'static str,
    /// What `bad` must be reported as; without it no rule is broken, and its output must be wrong.
    pub kind: Option<ViolationKind>,
    /// What it is reported as under other schedules.
    pub or: Option<ViolationKind>,
    /// What is wrong with it, in a few words.
    pub how: &'static str,
    /// What `good` writes.
    pub output: Output,
}

/// The right contents of a launch's output, element by element.
#[derive(Clone, Copy)]
pub enum Output {
    F32(fn(usize) -> f32),
    U32(fn(usize) -> u32),
}

use Output::{F32, U32};

const fn case(name: &'static str, kind: ViolationKind, how: &'static str, output: Output) -> Case {
    Case { name, kind: Some(kind), or: None, how, output }
}

/// A bug that the schedule lets come out in one of two ways, such as two accesses of which the later one is reported.
const fn either(
    name: &'static str,
    kind: ViolationKind,
    or: ViolationKind,
    how: &'static str,
    output: Output,
) -> Case {
    Case { name, kind: Some(kind), or: Some(or), how, output }
}

/// A bug that breaks no rule.
const fn wrong_output(name: &'static str, how: &'static str, output: Output) -> Case {
    Case { name, kind: None, or: None, how, output }
}

/// The corpus, one line a kernel.
#[rustfmt::skip]
pub const CASES: &[Case] = &[
    case("out_of_bounds_global_end", OutOfBounds, "guard off by one: one element past the allocation", F32(double)),
    case("out_of_bounds_next_buffer", OutOfBounds, "array taken to begin where another one ends", F32(double)),
    case("out_of_bounds_before_start", OutOfBounds, "index -1", F32(|i| if i == 0 { 0.0 } else { (2 * i - 1) as f32 })),
    case("out_of_bounds_vector_tail", OutOfBounds, "vector that starts within the allocation and ends past it", F32(double)),
    case("out_of_bounds_cp_async", OutOfBounds, "asynchronous copy past the end of its source", F32(|i| if i < 250 { i as f32 } else { 0.0 })),
    case("out_of_bounds_bulk_copy", OutOfBounds, "bulk copy past the end of its source", F32(same)),
    case("out_of_bounds_dynamic_shared", OutOfBounds, "rows padded beyond the dynamic shared memory of the launch", F32(|i| (i % 4 * 32 + i / 4) as f32)),
    case("out_of_bounds_local", OutOfBounds, "index past a thread's own array", U32(|_| 2)),
    case("misaligned_vector_load", Misaligned, "vectors in rows whose pitch is no multiple of 16 bytes", F32(|i| (i / 32 * 36 + i % 32) as f32)),
    case("misaligned_shared_u64", Misaligned, "64-bit read in records of 12 bytes", U32(|i| ((i / 2) ^ 1) as u32)),
    case("misaligned_ldmatrix", Misaligned, "`ldmatrix` row at an address that is no multiple of 16", U32(fragment)),
    case("misaligned_cp_async", Misaligned, "asynchronous copy of 16 bytes from an address that is no multiple of 16", F32(|i| (i + 1) as f32)),
    case("misaligned_bulk_copy", Misaligned, "bulk copy from an address that is no multiple of 16", F32(|i| (131 - i) as f32)),
    case("use_after_free_reallocated", UseAfterFree, "read through the pointer from before a reallocation", F32(double)),
    case("use_after_free_page", UseAfterFree, "write to a released page that a struct still names", F32(same)),
    case("read_only_constant", ReadOnly, "store to a `__constant__` table through a `const_cast`", F32(|i| if i < 4 { i as f32 + 2.0 } else { 1.0 })),
    case("read_only_parameter", ReadOnly, "store to a `__grid_constant__` parameter", U32(|i| 7 + i as u32)),
    case("uninitialized_shared_halo", UninitializedShared, "halo of a stencil's tile never loaded", F32(sum_of_three)),
    case("uninitialized_shared_tail", UninitializedShared, "sum over the whole tile where the array fills a part", F32(|_| 4950.0)),
    case("uninitialized_shared_ldmatrix", UninitializedShared, "`ldmatrix` of rows behind the end of the problem", U32(|i| if i % 2 == 0 { fragment(i) } else { 0 })),
    case("uninitialized_shared_histogram", UninitializedShared, "atomic counting in bins that were not zeroed", U32(|_| 8)),
    case("uninitialized_shared_wgmma", UninitializedShared, "columns of a `wgmma` operand behind the end of the problem", F32(|i| 12.0 * (i % 8) as f32)),
    case("uninitialized_global_workspace", UninitializedGlobal, "accumulation into a workspace that was not zeroed", F32(|i| (2 * i + 128) as f32)),
    case("uninitialized_global_compaction", UninitializedGlobal, "more elements read back than were written", U32(|i| 2 * i as u32 + 1)),
    case("uninitialized_local_stack", UninitializedLocal, "top of an empty stack", U32(|i| if i % 2 == 1 { 7 * i as u32 } else { 0 })),
    case("uninitialized_local_table", UninitializedLocal, "last entry of a table never stored", U32(|i| (i % 16 * (i % 16)) as u32)),
    case("shared_race_missing_barrier", SharedRace, "no barrier between the stores of a tile and its reads", F32(|i| (i % 32 * 32 + i / 32) as f32)),
    case("shared_race_second_barrier", SharedRace, "no barrier between the reads of a tile and the next one's stores", F32(|i| reversed(i, 128))),
    case("shared_race_double_buffer", SharedRace, "next tile stored into the buffer that is read", F32(|i| reversed(i, 128))),
    case("shared_race_two_writers", SharedRace, "two warps store into one element", F32(|_| 8128.0)),
    case("shared_race_missing_syncwarp", SharedRace, "no `__syncwarp` in an exchange between lanes", F32(|i| (i ^ 31) as f32)),
    case("shared_race_shuffle_is_no_fence", SharedRace, "shuffle taken for a `__syncwarp`", F32(|i| (i ^ 31) as f32)),
    case("shared_race_warp_barrier", SharedRace, "`__syncwarp` in place of `__syncthreads`", F32(|i| (i % 16 * 16 + i / 16) as f32)),
    case("shared_race_named_barrier", SharedRace, "named barrier that brings the wrong warps together", F32(|i| (i ^ 64) as f32)),
    case("shared_race_arrive", SharedRace, "`bar.arrive` where the consumer must wait", F32(same)),
    case("shared_race_empty_barrier", SharedRace, "buffer declared empty before it has been read", F32(same)),
    case("shared_race_ldmatrix", SharedRace, "no barrier before `ldmatrix`", F32(|_| 0.0)),
    case("shared_race_cp_async_visibility", SharedRace, "copy waited for by the lane that started it, read by another", F32(|i| reversed(i, 128))),
    case("shared_race_flag_without_fence", SharedRace, "volatile flag without fences", F32(same)),
    case("shared_race_histogram", SharedRace, "counting that is not atomic", U32(|_| 4)),
    case("shared_race_mixed_atomic", SharedRace, "plain read beside atomic additions", U32(|_| 64)),
    case("shared_race_work_queue", SharedRace, "next tile's number stored before all warps have read this one's", U32(|i| i as u32 / 64)),
    case("shared_race_cluster", SharedRace, "`__syncthreads` in place of a barrier of the cluster", F32(|i| (i ^ 32) as f32)),
    case("shared_race_relaxed_arrive", SharedRace, "relaxed arrival at another block's mbarrier after stores to its memory", F32(|i| reversed(i, 32))),
    case("global_race_overlapping_blocks", GlobalRace, "blocks' ranges overlap", U32(|i| i as u32 / 128)),
    case("global_race_last_block_no_release", GlobalRace, "last-block sum: no fence before the ticket", F32(|_| 496.0)),
    case("global_race_last_block_no_acquire", GlobalRace, "last-block sum: no fence after the ticket", F32(|_| 496.0)),
    case("global_race_last_block_scope", GlobalRace, "last-block sum: `__threadfence_block` towards other blocks", F32(|_| 496.0)),
    case("global_race_flag_plain", GlobalRace, "flag between blocks by plain load and store", F32(double)),
    case("global_race_flag_no_acquire", GlobalRace, "flag between blocks read without acquire", F32(|i| (2 * i + 128) as f32)),
    case("global_race_signal_too_early", GlobalRace, "thread 0 signals before the other threads of its block have stored", F32(double)),
    case("global_race_grid_barrier", GlobalRace, "grid barrier that only thread 0 waits for", F32(|i| ((i + 128) % 512) as f32)),
    case("global_race_mixed_atomic", GlobalRace, "plain read beside other blocks' atomic additions", U32(|_| 1)),
    case("global_race_block_scope_atomic", GlobalRace, "atomic additions of block scope from several blocks", U32(|_| 8128)),
    case("global_race_lost_update", GlobalRace, "addition that is not atomic", U32(|_| 28)),
    case("global_race_stencil_in_place", GlobalRace, "stencil in place: neighbours' elements replaced before other blocks read them", F32(|i| if i == 511 { 511.0 } else { double(i) + 1.0 })),
    case("global_race_missing_barrier", GlobalRace, "no barrier in an exchange through global memory within a block", F32(|i| reversed(i, 128))),
    case("global_race_unlock_no_fence", GlobalRace, "lock given back without a fence", U32(|_| 8128)),
    case("global_race_no_grid_wait", GlobalRace, "results of the grid before read without `griddepcontrol.wait`", F32(|i| double(i) + 1.0)),
    case("global_race_before_grid_wait", GlobalRace, "results of the grid before read ahead of `griddepcontrol.wait`", F32(|i| double(i) + 1.0)),
    case("global_race_grid_wait_one_thread", GlobalRace, "`griddepcontrol.wait` by one thread of a block", F32(|i| double(i) + 1.0)),
    case("global_race_grid_overwrites", GlobalRace, "what the grid before reads is overwritten ahead of `griddepcontrol.wait`", F32(double)),
    case("async_copy_race_no_wait", AsyncCopyRace, "barrier in place of `cp.async.wait_group`", F32(|i| reversed(i, 256))),
    case("async_copy_race_one_thread_waits", AsyncCopyRace, "one thread waits for the copies of all", F32(|i| reversed(i, 256))),
    case("async_copy_race_no_commit", AsyncCopyRace, "copies never committed to the group that is waited for", F32(|i| reversed(i, 256))),
    case("async_copy_race_wait_too_few", AsyncCopyRace, "`cp.async.wait_group` with N one too high", F32(|i| reversed(i, 256))),
    case("async_copy_race_last_tile", AsyncCopyRace, "no empty group behind the last tile's", F32(|i| reversed(i, 256))),
    case("async_copy_race_overwritten", AsyncCopyRace, "store to bytes that a copy is writing", F32(|i| if i < 192 { i as f32 } else { 0.0 })),
    case("async_copy_race_stage_reused", AsyncCopyRace, "copy into a stage that another copy is writing", F32(|i| reversed(i, 256))),
    case("async_copy_race_source", AsyncCopyRace, "store to bytes that a copy is reading", F32(same)),
    case("async_copy_race_cp_async_arrive", AsyncCopyRace, "ordinary arrival at an mbarrier in place of `cp.async.mbarrier.arrive`", F32(|i| reversed(i, 512))),
    case("async_copy_race_expect_too_small", AsyncCopyRace, "mbarrier told of fewer bytes than are copied", F32(|i| reversed(i, 128))),
    either("async_copy_race_first_parity", AsyncCopyRace, Deadlock, "first wait for the wrong parity", F32(|i| reversed(i, 128))),
    case("async_copy_race_other_thread_waits", AsyncCopyRace, "barrier behind a wait for one of two bulk copies", F32(|i| reversed(i, 128))),
    either("async_copy_race_no_empty_wait", AsyncCopyRace, MbarrierMisuse, "producer that does not wait until its stage is empty", F32(same)),
    either("async_copy_race_empty_too_early", AsyncCopyRace, SharedRace, "stage declared empty before it has been read", F32(same)),
    either("async_copy_race_one_lane_arrives", AsyncCopyRace, SharedRace, "stage declared empty by one lane, while others have yet to read", F32(same)),
    case("async_copy_race_wgmma_stage", AsyncCopyRace, "stage declared empty while a `wgmma` may still read it", F32(|i| 2.0 * core_tile(i % 8, i / 8 % 16) as f32 + 128.0)),
    case("async_copy_race_wgmma_reads", AsyncCopyRace, "store to a tile that a `wgmma` is reading", F32(|i| picked(i) + 1.0)),
    case("async_copy_race_bulk_store_source", AsyncCopyRace, "store to a tile that a bulk store is reading", F32(double)),
    case("async_copy_race_bulk_store_read_back", AsyncCopyRace, "result of a bulk store read after `wait_group.read`", F32(|i| reversed(i, 128))),
    case("async_copy_race_bulk_store_unwaited", AsyncCopyRace, "bulk reductions never committed to the group that is waited for", F32(|i| (4 * i + 192) as f32)),
    case("async_copy_race_store_async", AsyncCopyRace, "barrier of the cluster in place of the mbarrier that `st.async` signals", F32(|i| reversed(i, 32))),
    case("async_copy_race_red_async", AsyncCopyRace, "mbarrier told of one block's `red.async` where two add", U32(|i| 2 * (32 - i as u32))),
    case("async_copy_race_cluster_copy", AsyncCopyRace, "store to a tile that a copy to another block is reading", F32(|i| (i ^ 32) as f32 + 1.0)),
    case("async_copy_race_multicast_other_barrier", AsyncCopyRace, "tile of a multicast read after another block has waited for its own", F32(|i| reversed(i % 32, 32))),
    case("missing_proxy_fence_wgmma", MissingProxyFence, "no `fence.proxy.async` between stores and the `wgmma` that reads them", F32(picked)),
    case("missing_proxy_fence_bulk_store", MissingProxyFence, "no `fence.proxy.async` between stores and the bulk store that reads them", F32(|i| reversed(i, 128))),
    case("missing_proxy_fence_one_thread", MissingProxyFence, "`fence.proxy.async` by one of the threads that have stored", F32(|i| same(i) + 1.0)),
    case("missing_proxy_fence_zeroed_tile", MissingProxyFence, "no `fence.proxy.async` between stores and a bulk copy over them", F32(|i| if i < 32 { 0.0 } else { reversed(i, 128) })),
    case("missing_proxy_fence_global", MissingProxyFence, "no `fence.proxy.async` between stores to global memory and a bulk copy from there", F32(|i| double(127 - i))),
    case("missing_proxy_fence_mbarrier_init", MissingProxyFence, "no `fence.mbarrier_init` before a bulk copy signals a new mbarrier", F32(|i| reversed(i, 128))),
    case("wgmma_registers_no_wait", WgmmaRegisters, "accumulators read before `wgmma.wait_group`", F32(picked)),
    case("wgmma_registers_wait_too_few", WgmmaRegisters, "`wgmma.wait_group` with N one too high", F32(|i| 2.0 * picked(i))),
    case("wgmma_registers_no_fence", WgmmaRegisters, "accumulators changed without `wgmma.fence` before the next `wgmma`", F32(|i| 3.0 * picked(i))),
    case("wgmma_registers_operand_changed", WgmmaRegisters, "operand in registers changed while a `wgmma` reads it", F32(|i| 3.0 * (16 * (16 * (i % 8)) + 120) as f32)),
    case("mbarrier_misuse_not_initialised", MbarrierMisuse, "mbarrier that nothing has initialised", F32(|i| reversed(i, 128))),
    case("mbarrier_misuse_init_twice", MbarrierMisuse, "mbarrier initialised anew for each tile", F32(|i| reversed(i, 128))),
    case("mbarrier_misuse_no_inval", MbarrierMisuse, "memory of an mbarrier used again without `mbarrier.inval`", F32(|i| reversed(i, 128) + 1.0)),
    case("mbarrier_misuse_too_many_arrivals", MbarrierMisuse, "more arrivals than an mbarrier waits for", F32(|i| reversed(i, 128))),
    case("mbarrier_misuse_tx_count", MbarrierMisuse, "more bytes announced than an mbarrier can count", F32(|i| reversed(i, 128))),
    case("mbarrier_misuse_phase_gone", MbarrierMisuse, "wait for an arrival of two phases ago", F32(same)),
    case("block_gone_multicast", BlockGone, "multicast to a block that has exited", F32(|i| reversed(i, 32))),
    case("block_gone_start", BlockGone, "store to another block's shared memory before it is sure to have started", F32(|i| (i ^ 32) as f32)),
    case("block_gone_exit", BlockGone, "no barrier of the cluster between reads of another block's memory and its exit", F32(|i| (i ^ 32) as f32)),
    case("block_gone_reader_stays", BlockGone, "read from a block that has exited", F32(|i| (i ^ 32) as f32)),
    case("lane_outside_mask_shuffle", LaneOutsideMask, "mask of the other half of the warp", F32(|i| if i < 16 { i as f32 } else { (i + (i ^ 8)) as f32 })),
    case("lane_outside_mask_syncwarp", LaneOutsideMask, "`__syncwarp` of half a warp, executed by all of it", F32(|i| reversed(i, 32))),
    case("lane_outside_mask_ballot", LaneOutsideMask, "mask with as many bits as lanes, but other ones", U32(|i| if i % 2 == 1 { 0xaaaa_a800 } else { 0 })),
    case("divergent_mask_prefix", DivergentMask, "each lane names itself and the lanes below", F32(|i| (i / 32 * 32..=i).sum::<usize>() as f32)),
    case("divergent_mask_halves", DivergentMask, "half a warp names itself, the other half names all", F32(|i| if i < 16 { 120.0 } else { 376.0 })),
    case("absent_lane_two_votes", AbsentLane, "full mask at two votes, in two branches", U32(|i| if i < 16 { 0xf800 } else { 0xffe0_0000 })),
    case("absent_lane_other_branch", AbsentLane, "mask that names lanes which wait behind the branch", F32(|_| 120.0)),
    case("absent_lane_loop", AbsentLane, "full mask in a loop that lanes leave at different turns", U32(|_| 20)),
    case("divergent_warp_mma", DivergentWarp, "`mma` under a condition on the lane", F32(|_| 16.0)),
    case("divergent_warp_ldmatrix", DivergentWarp, "`ldmatrix` under a condition on the lane", U32(fragment)),
    case("divergent_warp_wgmma", DivergentWarp, "`wgmma.fence` under a condition on the lane", F32(|i| if i < 128 && i % 64 < 32 { picked(i) } else { 0.0 })),
    case("divergent_warp_syncthreads", DivergentWarp, "`__syncthreads` under a condition on the lane", F32(|i| if i < 48 { reversed(i, 48) } else { 0.0 })),
    case("inactive_source_width", InactiveSource, "shuffle wider than the lanes that take part", F32(|_| 120.0)),
    case("inactive_source_exited", InactiveSource, "shuffle from lanes that have left", F32(|i| [496.0, 1520.0, 2544.0, 390.0][i])),
    case("inactive_source_last", InactiveSource, "shuffle from the last lane, which takes no part", F32(|_| 19.0)),
    case("barrier_mismatch_branches", BarrierMismatch, "warps at different `__syncthreads`", F32(|i| reversed(i, 32))),
    case("barrier_mismatch_trip_count", BarrierMismatch, "`__syncthreads` in a loop that warps turn differently often", F32(|i| tile_sum(63 - i))),
    case("barrier_mismatch_counts", BarrierMismatch, "different thread counts at one barrier", F32(|i| ((i + 32) % 96) as f32)),
    case("barrier_mismatch_not_whole_warps", BarrierMismatch, "thread count that is no multiple of 32", F32(|i| reversed(i, 48))),
    case("barrier_mismatch_number", BarrierMismatch, "barrier 16", F32(|i| (i ^ 31) as f32)),
    case("deadlock_crossed_barriers", Deadlock, "two warps take two named barriers in opposite order", F32(|i| (i ^ 32) as f32)),
    case("deadlock_barrier_too_large", Deadlock, "barrier that waits for more warps than come", F32(|i| (i ^ 32) as f32)),
    case("deadlock_lock_kept", Deadlock, "lock not given back on one path", U32(|_| 4)),
    case("deadlock_residency", Deadlock, "grid barrier of more blocks than the device holds", U32(|_| 109)),
    case("deadlock_flag_never_set", Deadlock, "flag within a block that one path does not set", U32(|_| u32::MAX)),
    case("deadlock_expect_too_large", Deadlock, "mbarrier told of more bytes than are copied", F32(same)),
    case("deadlock_box_rows", Deadlock, "mbarrier told of more rows than the box of the tensor map has", F32(|i| (i + 256) as f32)),
    case("deadlock_producer_parity", Deadlock, "producer whose first wait is for a phase that the consumer ends", F32(same)),
    case("deadlock_multicast_expect", Deadlock, "mbarrier of another block not told of the bytes of a multicast", F32(|i| reversed(i % 32, 32))),
    case("deadlock_cp_async_arrive", Deadlock, "`cp.async.mbarrier.arrive` without `.noinc` taken for an arrival", F32(|i| reversed(i, 512))),
    case("deadlock_setmaxnreg", Deadlock, "`setmaxnreg.inc` of registers that nobody gives up", F32(same)),
    case("instruction_limit_endless", InstructionLimit, "loop that does not end for one input", U32(|i| common_divisor(i as u32, 12))),
    case("trap_assert", Trap, "assertion that fails", U32(|i| i as u32)),
    case("trap_explicit", Trap, "`__trap()`", U32(|i| 2 * i as u32)),
    case("invalid_operand_copy_size", InvalidOperand, "`cp.async` whose source is larger than the copy", F32(same)),
    case("invalid_operand_local_atomic", InvalidOperand, "atomic operation on local memory", U32(|_| 4)),
    wrong_output("wrong_output_swizzle", "swizzle of the tensor map and of the descriptor differ", F32(|i| (64 * (i % 8) + i / 8 % 16 * 2 + 16) as f32)),
    wrong_output("wrong_output_swizzled_reads", "tile loaded with a swizzle, read without", F32(same)),
    wrong_output("wrong_output_descriptor", "leading and stride offset of a descriptor exchanged", F32(picked)),
    wrong_output("wrong_output_overlapping_boxes", "boxes overlap by a row", F32(same)),
];

fn same(i: usize) -> f32 {
    i as f32
}

fn double(i: usize) -> f32 {
    2.0 * i as f32
}

/// The numbers from 0, each tile of `n` in reverse.
fn reversed(i: usize, n: usize) -> f32 {
    (i / n * n + n - 1 - i % n) as f32
}

/// Each number from 0 to 127 with its neighbours.
fn sum_of_three(i: usize) -> f32 {
    let last = if i == 127 { 128 } else { 0 };
    ((i.max(1) - 1) + i + (i + 1) - last) as f32
}

/// Element `i` of tiles of 64 numbers added up: four tiles for the first warp, three for the second.
fn tile_sum(i: usize) -> f32 {
    (0..4 - i / 32).map(|tile| 64 * tile + i).sum::<usize>() as f32
}

/// The greatest number that divides both.
fn common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

/// Registers of `ldmatrix.x4`, lane after lane, where word c of row r is `8 * r + c`: the matrices are the upper left,
/// lower left, upper right and lower right quarter, and a lane has word `lane % 4` of row `lane / 4` of each.
fn fragment(i: usize) -> u32 {
    let (lane, matrix) = (i / 4, i % 4);
    ((lane / 4 + 8 * (matrix % 2)) * 8 + lane % 4 + 4 * (matrix / 2)) as u32
}

/// Element `i` of the product [64, 8] of the tiles that `fill_tiles` makes.
fn picked(i: usize) -> f32 {
    (16 * (i % 8) + i / 8 % 16) as f32
}

/// Where element (row, k) of a tile of 8 rows of 16 numbers lies, counted in numbers, as `tile_byte` has it.
fn core_tile(row: usize, k: usize) -> usize {
    k / 8 * 64 + row * 8 + k % 8
}
