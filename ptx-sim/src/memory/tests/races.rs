//! Each rule of happens-before as a pair: the scenario that races, and its twin that is ordered.

use super::*;
use crate::program::FenceOrder;

/// Lane `lane`'s own word.
fn own(lane: u64) -> u64 {
    SHARED + 4 * lane
}

/// The word of the next lane.
fn next(lane: u64) -> u64 {
    SHARED + 4 * ((lane + 1) % 32)
}

#[test]
fn a_barrier_orders_warps() {
    let mut block = Block::new(2);
    block.ok(0, Access::write(ALL, own).pc(3));
    let fault = block.races(1, Access::read(ALL, own));
    let prior = fault.prior.expect("the write");
    assert_eq!(
        (prior.kind, prior.thread, prior.pc, prior.block),
        (AccessKind::Write, Some((0, 0)), Some(3), Some(0))
    );
    assert_eq!((fault.lane, fault.address), (0, SHARED));

    let mut block = Block::new(2);
    block.ok(0, Access::write(ALL, own));
    block.barrier(&[0, 1]);
    let out = block.ok(1, Access::read(ALL, own));
    assert_eq!(out[5][..4], [5, 0, 0, 0]);
    // And back: the next write is ordered after the read only by another barrier.
    let fault = block.races(0, Access::write(ALL, own));
    assert_eq!(fault.prior.expect("the read").kind, AccessKind::Read);
    let mut block = Block::new(2);
    block.ok(0, Access::write(ALL, own));
    block.barrier(&[0, 1]);
    block.ok(1, Access::read(ALL, own));
    block.barrier(&[0, 1]);
    block.ok(0, Access::write(ALL, own));
}

#[test]
fn lanes_of_a_warp_race_without_syncwarp() {
    let mut block = Block::new(1);
    block.ok(0, Access::write(ALL, own));
    block.ok(0, Access::read(ALL, own));
    let fault = block.races(0, Access::read(ALL, next));
    assert_eq!((fault.lane, fault.prior.and_then(|prior| prior.thread)), (0, Some((0, 1))));

    let mut block = Block::new(1);
    block.ok(0, Access::write(ALL, own));
    block.clocks.sync_warp(0, ALL);
    block.ok(0, Access::read(ALL, next));
    block.races(0, Access::write(ALL, own));
}

#[test]
fn an_arrival_releases_and_does_not_acquire() {
    let scenario = |waits: bool| {
        let mut block = Block::new(2);
        block.ok(0, Access::write(ALL, own));
        block.ok(1, Access::write(ALL, |lane| own(lane + 32)));
        let mut barrier = BarrierClock::default();
        block.clocks.barrier_arrive(&mut barrier, 0, ALL);
        // What the producer does after its arrival is not released.
        block.ok(0, Access::write(ALL, |lane| own(lane + 64)));
        block.clocks.barrier_arrive(&mut barrier, 1, ALL);
        block.clocks.barrier_leave(&barrier, 1, ALL);
        if waits {
            block.clocks.barrier_leave(&barrier, 0, ALL);
        }
        block.ok(1, Access::read(ALL, own));
        block
    };
    scenario(false).races(0, Access::read(ALL, |lane| own(lane + 32)));
    scenario(false).races(1, Access::read(ALL, |lane| own(lane + 64)));
    scenario(true).ok(0, Access::read(ALL, |lane| own(lane + 32)));
}

#[test]
fn a_mask_orders_its_lanes_alone() {
    let mut block = Block::new(1);
    block.ok(0, Access::write(ALL, own));
    block.clocks.sync_warp(0, 0xffff);
    block.ok(0, Access::read(0x7fff, |lane| own(lane + 1)));
    block.races(0, Access::read(1, |_| own(16)));
    // Repeated elections: the lane's accesses of several clocks are known, the others' are not.
    let mut block = Block::new(2);
    block.ok(0, Access::write(0b11, own));
    let mut barrier = BarrierClock::default();
    for _ in 0..3 {
        block.ok(0, Access::write(1, own));
        block.clocks.barrier_arrive(&mut barrier, 0, 1);
    }
    block.clocks.barrier_leave(&barrier, 1, ALL);
    block.ok(1, Access::read(1, own));
    block.races(1, Access::read(1, |_| own(1)));
}

#[test]
fn exited_lanes_synchronise_no_more() {
    let mut block = Block::new(2);
    block.ok(0, Access::write(ALL, own));
    block.clocks.exit(0, 0xffff_0000);
    block.barrier(&[0, 1]);
    block.ok(1, Access::read(0xffff, own));
    let fault = block.races(1, Access::read(ALL, own));
    assert_eq!(fault.lane, 16);
}

/// A flag is set by one thread and polled by another: with the given halves of the pattern.
fn message(release: impl Fn(&mut Block), acquire: impl Fn(&mut Block)) -> Block {
    let mut block = Block::new(2);
    block.ok(0, Access::write(1, own));
    release(&mut block);
    acquire(&mut block);
    block
}

fn flag() -> Access {
    Access::write(1, |_| own(40))
}

fn poll() -> Access {
    Access::read(1, |_| own(40))
}

#[test]
fn message_passing() {
    let fence = |block: &mut Block, warp: usize| {
        block.clocks.fence(warp, 1, Scope::Cta, FenceOrder { acquire: true, release: true, sc: false });
    };
    let strong = |block: &mut Block, access: Access, warp: usize| {
        block.ok(warp, access.strong(Scope::System));
    };
    let prepare = |block: &mut Block| block.shared.initialize(own(40), &[0; 4]);

    // Volatile and fences, `st.release` and `ld.acquire`, and mixtures.
    let by_fence = |block: &mut Block| {
        prepare(block);
        fence(block, 0);
        strong(block, flag(), 0);
    };
    let by_release = |block: &mut Block| {
        prepare(block);
        strong(block, flag().release(), 0);
    };
    let to_fence = |block: &mut Block| {
        strong(block, poll(), 1);
        fence(block, 1);
    };
    let to_acquire = |block: &mut Block| strong(block, poll().acquire(), 1);
    let data = Access::read(1, own);
    message(by_fence, to_fence).ok(1, data);
    message(by_release, to_fence).ok(1, data);
    message(by_fence, to_acquire).ok(1, data);
    message(by_release, to_acquire).ok(1, data);

    // Each half missing, and in the wrong order.
    let without_fence = |block: &mut Block| {
        prepare(block);
        strong(block, flag(), 0);
    };
    message(without_fence, to_acquire).races(1, data);
    message(by_release, |block| strong(block, poll(), 1)).races(1, data);
    let late_fence = |block: &mut Block| {
        prepare(block);
        strong(block, flag(), 0);
        fence(block, 0);
    };
    message(late_fence, to_acquire).races(1, data);
    let early_fence = |block: &mut Block| {
        fence(block, 1);
        strong(block, poll(), 1);
    };
    message(by_release, early_fence).races(1, data);
    // Another lane than the one that acquired.
    message(by_release, to_acquire).races(1, Access::read(0b10, |_| own(0)));
    // A weak flag is a race itself.
    message(by_release, |_| ()).races(1, poll());
    // What comes after the release is not released.
    let mut block = message(by_release, |_| ());
    block.ok(0, Access::write(1, |_| own(1)));
    block.ok(1, poll().strong(Scope::Cta).acquire());
    block.races(1, Access::read(1, |_| own(1)));
}

#[test]
fn what_an_elected_lane_acquires_is_shared_by_syncwarp() {
    let scenario = |sync: u32| {
        let mut block = Block::new(2);
        block.ok(0, Access::write(1, own));
        block.ok(0, flag().strong(Scope::Gpu).release());
        block.ok(1, poll().strong(Scope::Gpu).acquire());
        block.clocks.sync_warp(1, sync);
        block
    };
    scenario(ALL).ok(1, Access::read(ALL, |_| own(0)));
    scenario(0).races(1, Access::read(ALL, |_| own(0)));
    scenario(0b1111).ok(1, Access::read(0b1111, |_| own(0)));
    assert_eq!(scenario(0b1111).races(1, Access::read(ALL, |_| own(0))).lane, 4);
}

#[test]
fn read_modify_writes_carry_a_release_on_and_stores_end_it() {
    let scenario = |middle: Access| {
        let mut block = Block::new(3);
        block.shared.initialize(own(40), &[0; 4]);
        block.ok(0, Access::write(1, own));
        block.ok(0, flag().strong(Scope::Cta).release());
        block.ok(1, middle);
        block.ok(2, poll().strong(Scope::Cta).acquire());
        block.run(2, Access::read(1, own))
    };
    assert!(scenario(Access::atomic(1, own(40), Scope::Cta)).is_ok());
    assert!(scenario(flag().strong(Scope::Cta)).is_err());
}

#[test]
fn neighbours_within_a_word_do_not_race() {
    let half = |lane: u64| SHARED + 2 * lane;
    let mut block = Block::new(2);
    block.ok(0, Access::write(0x5555_5555, half).size(2));
    block.ok(1, Access::write(0xaaaa_aaaa, half).size(2));
    block.ok(0, Access::read(0x5555_5555, half).size(2));
    let fault = block.races(0, Access::read(1, own));
    assert_eq!(fault.prior.and_then(|prior| prior.thread), Some((1, 1)));
    let fault = block.races(0, Access::write(0b10, half).size(2));
    assert_eq!(fault.prior.and_then(|prior| prior.thread), Some((1, 1)));
    let mut block = Block::new(2);
    block.ok(0, Access::write(ALL, |lane| SHARED + lane).size(1));
    block.barrier(&[0, 1]);
    block.ok(1, Access::read(0xff, own));
    block.ok(1, Access::write(1, |_| SHARED + 1).size(1));
    let fault = block.races(0, Access::write(1, |_| SHARED + 2).size(1));
    assert_eq!(fault.prior.expect("a read").kind, AccessKind::Read);
}

#[test]
fn lanes_may_store_the_same_together() {
    let mut block = Block::new(1);
    let mut tally = Tally::default();
    let access = Access::write(ALL, |lane| own(lane % 2));
    let same = values(|lane| lane as u32 % 2);
    let store = |block: &mut Block, values: &LaneBytes, tally: &mut Tally| {
        block.shared.store(&mut block.clocks, 0, &access.warp(), values, tally)
    };
    let fault = store(&mut block, &values(|lane| lane as u32), &mut tally).expect_err("different values");
    assert_eq!((fault.kind, fault.lane), (ViolationKind::SharedRace, 2));
    store(&mut block, &same, &mut tally).expect("the same values");
    // But not one after another.
    let fault = store(&mut block, &same, &mut tally).expect_err("no order");
    assert_eq!(fault.kind, ViolationKind::SharedRace);
}

#[test]
fn all_readers_count() {
    for forgotten in 0..4 {
        let mut block = Block::new(4);
        block.ok(0, Access::write(ALL, own));
        block.barrier(&[0, 1, 2, 3]);
        (0..4).for_each(|warp| _ = block.ok(warp, Access::read(ALL, own)));
        let others: Vec<_> = (0..4).filter(|warp| *warp != forgotten).collect();
        let mut barrier = BarrierClock::default();
        others.iter().for_each(|warp| block.clocks.barrier_arrive(&mut barrier, *warp, ALL));
        let writer = others[0];
        block.clocks.barrier_leave(&barrier, writer, ALL);
        let fault = block.races(writer, Access::write(ALL, own));
        assert_eq!(fault.prior.and_then(|prior| prior.thread), Some((forgotten, 0)));
    }
}

#[test]
fn atomics_do_not_race_with_each_other() {
    let mut block = Block::new(2);
    block.shared.initialize(own(0), &[0; 4]);
    block.ok(0, Access::atomic(ALL, own(0), Scope::Cta));
    let old = block.ok(1, Access::atomic(ALL, own(0), Scope::Cta));
    assert_eq!(old[3][..4], 35u32.to_le_bytes());
    block.ok(1, Access::read(1, own).strong(Scope::Cta));
    block.races(0, Access::read(1, own));
}

#[test]
fn a_copy_is_pending_until_its_wait() {
    let copy = Access::new(AccessKind::AsyncWrite, ALL, |lane| SHARED + 16 * lane).size(16).pc(20);
    let begin = || {
        let mut block = Block::new(2);
        block.shared.async_begin(&block.clocks, 0, &copy.warp(), &mut block.tally).expect("no race");
        block
    };
    let arrive = |block: &mut Block| block.shared.async_arrive(&copy.warp(), &values(|lane| lane as u32));
    for arrived in [false, true] {
        for (warp, access) in [
            (0, Access::read(0b10, |_| SHARED + 20)),
            (1, Access::read(1, |_| SHARED + 16)),
            (0, Access::write(1, own)),
        ] {
            let mut block = begin();
            if arrived {
                arrive(&mut block);
            }
            let fault = block.fault(warp, access);
            assert_eq!(fault.kind, ViolationKind::AsyncCopyRace);
            assert_eq!(fault.prior.expect("the copy").pc, Some(20));
        }
    }
    let mut block = begin();
    arrive(&mut block);
    block.shared.async_complete(&block.clocks, 0, &copy.warp());
    // The wait orders the copies of a lane for that lane alone.
    let out = block.ok(0, Access::read(ALL, |lane| SHARED + 16 * lane));
    assert_eq!(out[9][..4], [9, 0, 0, 0]);
    block.races(0, Access::read(1, |_| SHARED + 16));
    block.barrier(&[0, 1]);
    block.ok(1, Access::read(1, |_| SHARED + 16));
    // The next copy to a buffer that others may still read.
    let fault =
        block.shared.async_begin(&block.clocks, 0, &copy.warp(), &mut block.tally).expect_err("a race");
    assert_eq!((fault.kind, fault.lane), (ViolationKind::SharedRace, 1));
}

#[test]
fn a_matrix_is_read_by_all_lanes() {
    let rows = Access::read(0xff, |lane| SHARED + 16 * lane).size(16);
    let load = |block: &mut Block, warp: usize| {
        let mut out = [[0; 16]; 32];
        block.shared.load_collective(&mut block.clocks, warp, &rows.warp(), ALL, &mut out, &mut block.tally)
    };
    let mut block = Block::new(2);
    block.ok(0, Access::write(ALL, |lane| SHARED + 16 * lane).size(16));
    assert_eq!(load(&mut block, 0).expect_err("a race").kind, ViolationKind::SharedRace);
    let mut block = Block::new(2);
    block.ok(0, Access::write(ALL, |lane| SHARED + 16 * lane).size(16));
    block.barrier(&[0, 1]);
    load(&mut block, 0).expect("ordered");
    load(&mut block, 1).expect("ordered");
    block.clocks.sync_warp(0, ALL);
    let fault = block.races(0, Access::write(1, own));
    assert_eq!(
        fault.prior,
        Some(crate::memory::Prior { kind: AccessKind::Read, block: Some(0), thread: None, pc: Some(7) })
    );
    block.barrier(&[0, 1]);
    block.ok(0, Access::write(1, own));
}

#[test]
fn checks_can_be_turned_off() {
    let mut checks = Checks { races: false, ..Checks::default() };
    let mut block = Block::with_checks(2, checks);
    block.ok(0, Access::write(ALL, own));
    block.ok(1, Access::read(ALL, own));
    assert_eq!(block.fault(1, Access::read(1, |_| own(50))).kind, ViolationKind::UninitializedShared);
    checks.initialization = false;
    let mut block = Block::with_checks(2, checks);
    let garbage = block.ok(1, Access::read(ALL, own));
    assert_ne!(garbage[0][..4], garbage[1][..4]);
}
