//! Accesses that take the shorter ways: words far apart, readers in many blocks, memory that is used again.

use super::*;

/// Words in banks of their own, no two of them neighbours.
fn far(lane: u64) -> u64 {
    SHARED + 132 * lane
}

#[test]
fn words_far_apart_are_checked_like_neighbours() {
    let mut block = Block::new(2);
    assert_eq!(block.fault(0, Access::read(ALL, far)).kind, ViolationKind::UninitializedShared);
    block.ok(0, Access::write(ALL, far));
    let out = block.ok(0, Access::read(ALL, far));
    assert_eq!(out.map(|bytes| u32::from(bytes[0])), std::array::from_fn(|lane| lane as u32));
    block.races(1, Access::read(ALL, far));
    block.barrier(&[0, 1]);
    block.ok(1, Access::read(ALL, far));
    block.ok(0, Access::read(ALL, far));
    block.races(0, Access::write(ALL, far));
    block.barrier(&[0, 1]);
    block.ok(0, Access::write(ALL, far));
    assert_eq!(block.tally.shared_read.conflicts + block.tally.shared_written.conflicts, 0);
}

#[test]
fn one_word_is_missing_among_words_far_apart() {
    let mut block = Block::new(1);
    block.ok(0, Access::write(ALL & !(1 << 9), far));
    let fault = block.fault(0, Access::read(ALL, far));
    assert_eq!((fault.kind, fault.lane), (ViolationKind::UninitializedShared, 9));
    block.ok(0, Access::read(ALL & !(1 << 9), far));
}

#[test]
fn memory_that_is_used_again_is_as_new() {
    let write = Access::write(ALL, |lane| SHARED + 4 * lane);
    let mut block = Block::new(1);
    block.ok(0, write);
    block.shared.reset(1);
    block.clocks =
        BlockClocks::new(2, LANES, LaunchNumbers { first_block: 1, ordered_before: 1, cluster_size: 1 });
    let read = Access::read(ALL, |lane| SHARED + 4 * lane);
    assert_eq!(block.fault(0, read).kind, ViolationKind::UninitializedShared);
    block.ok(0, write);
    block.ok(0, read);
}

#[test]
fn halves_of_words_are_read_in_order_after_a_barrier() {
    let mut block = Block::new(2);
    block.ok(0, Access::write(ALL, |lane| SHARED + 2 * lane).size(2));
    let rows = Access::read(u32::MAX >> 28, |lane| SHARED + 16 * lane).size(16);
    block.races(1, rows);
    block.barrier(&[0, 1]);
    block.ok(1, rows);
    block.ok(1, rows);
    block.races(0, Access::write(1, |_| SHARED + 8));
}
