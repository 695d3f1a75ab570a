//! The corpus: what each kernel does wrong, and what its corrected twin computes.

use ptx_sim::ViolationKind::{self, *};

/// A kernel `bad` with one bug, and its twin `good`, which differs by the fix alone.
pub struct Case {
    /// The stem of its files in `corpus/`; begins with the violation's name.
    pub name: &'static str,
    /// What `bad` must be reported as.
    pub kind: ViolationKind,
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
    Case { name, kind, how, output }
}

/// Kinds of violation that code for Ampere cannot commit, each with the reason.
pub const NOT_ON_AMPERE: &[(ViolationKind, &str)] = &[];

/// The corpus, one line a kernel.
#[rustfmt::skip]
pub const CASES: &[Case] = &[
    case("out_of_bounds_global_end", OutOfBounds, "guard off by one: one element past the allocation", F32(double)),
    case("out_of_bounds_next_buffer", OutOfBounds, "array taken to begin where another one ends", F32(double)),
    case("out_of_bounds_before_start", OutOfBounds, "index -1", F32(|i| if i == 0 { 0.0 } else { (2 * i - 1) as f32 })),
    case("out_of_bounds_vector_tail", OutOfBounds, "vector that starts within the allocation and ends past it", F32(double)),
    case("out_of_bounds_cp_async", OutOfBounds, "asynchronous copy past the end of its source", F32(|i| if i < 250 { i as f32 } else { 0.0 })),
    case("out_of_bounds_dynamic_shared", OutOfBounds, "rows padded beyond the dynamic shared memory of the launch", F32(|i| (i % 4 * 32 + i / 4) as f32)),
    case("out_of_bounds_local", OutOfBounds, "index past a thread's own array", U32(|_| 2)),
    case("misaligned_vector_load", Misaligned, "vectors in rows whose pitch is no multiple of 16 bytes", F32(|i| (i / 32 * 36 + i % 32) as f32)),
    case("misaligned_shared_u64", Misaligned, "64-bit read in records of 12 bytes", U32(|i| ((i / 2) ^ 1) as u32)),
    case("misaligned_ldmatrix", Misaligned, "`ldmatrix` row at an address that is no multiple of 16", U32(fragment)),
    case("misaligned_cp_async", Misaligned, "asynchronous copy of 16 bytes from an address that is no multiple of 16", F32(|i| (i + 1) as f32)),
    case("use_after_free_reallocated", UseAfterFree, "read through the pointer from before a reallocation", F32(double)),
    case("use_after_free_page", UseAfterFree, "write to a released page that a struct still names", F32(same)),
    case("read_only_constant", ReadOnly, "store to a `__constant__` table through a `const_cast`", F32(|i| if i < 4 { i as f32 + 2.0 } else { 1.0 })),
    case("read_only_parameter", ReadOnly, "store to a `__grid_constant__` parameter", U32(|i| 7 + i as u32)),
    case("uninitialized_shared_halo", UninitializedShared, "halo of a stencil's tile never loaded", F32(sum_of_three)),
    case("uninitialized_shared_tail", UninitializedShared, "sum over the whole tile where the array fills a part", F32(|_| 4950.0)),
    case("uninitialized_shared_ldmatrix", UninitializedShared, "`ldmatrix` of rows behind the end of the problem", U32(|i| if i % 2 == 0 { fragment(i) } else { 0 })),
    case("uninitialized_shared_histogram", UninitializedShared, "atomic counting in bins that were not zeroed", U32(|_| 8)),
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
    case("async_copy_race_no_wait", AsyncCopyRace, "barrier in place of `cp.async.wait_group`", F32(|i| reversed(i, 256))),
    case("async_copy_race_one_thread_waits", AsyncCopyRace, "one thread waits for the copies of all", F32(|i| reversed(i, 256))),
    case("async_copy_race_no_commit", AsyncCopyRace, "copies never committed to the group that is waited for", F32(|i| reversed(i, 256))),
    case("async_copy_race_wait_too_few", AsyncCopyRace, "`cp.async.wait_group` with N one too high", F32(|i| reversed(i, 256))),
    case("async_copy_race_last_tile", AsyncCopyRace, "no empty group behind the last tile's", F32(|i| reversed(i, 256))),
    case("async_copy_race_overwritten", AsyncCopyRace, "store to bytes that a copy is writing", F32(|i| if i < 192 { i as f32 } else { 0.0 })),
    case("async_copy_race_stage_reused", AsyncCopyRace, "copy into a stage that another copy is writing", F32(|i| reversed(i, 256))),
    case("async_copy_race_source", AsyncCopyRace, "store to bytes that a copy is reading", F32(same)),
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
    case("instruction_limit_endless", InstructionLimit, "loop that does not end for one input", U32(|i| common_divisor(i as u32, 12))),
    case("trap_assert", Trap, "assertion that fails", U32(|i| i as u32)),
    case("trap_explicit", Trap, "`__trap()`", U32(|i| 2 * i as u32)),
    case("invalid_operand_copy_size", InvalidOperand, "`cp.async` whose source is larger than the copy", F32(same)),
    case("invalid_operand_local_atomic", InvalidOperand, "atomic operation on local memory", U32(|_| 4)),
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
