//! Operations of the asynchronous proxy: each rule as the scenario that breaks it, and its twin that does not.

use super::*;
use crate::race::Moment;

/// Lane `lane`'s own word.
fn own(lane: u64) -> u64 {
    SHARED + 4 * lane
}

const BYTES: usize = 4 * LANES;

impl Block {
    /// Warp 0's first lane issues an operation on the words of all lanes.
    fn issue(&mut self, warp: usize, writes: bool) -> Result<Moment, Fault> {
        let moment = self.clocks.begin_async(None);
        self.claim(warp, moment, writes).map(|()| moment)
    }

    fn claim(&mut self, warp: usize, moment: Moment, writes: bool) -> Result<(), Fault> {
        let access = ProxyAccess { clocks: &self.clocks, warp, lanes: 1, moment, reduces: false, pc: 9 };
        self.shared.proxy_claim(&access, SHARED, BYTES, writes)
    }

    fn refuses(&mut self, warp: usize, writes: bool, kind: ViolationKind) -> Fault {
        let fault = self.issue(warp, writes).expect_err("a fault");
        assert_eq!(fault.kind, kind, "{fault:?}");
        fault
    }
}

#[test]
fn written_words_need_an_order_and_a_proxy_fence() {
    // Neither.
    let mut block = Block::new(2);
    block.ok(1, Access::write(ALL, own).pc(3));
    let fault = block.refuses(0, false, ViolationKind::SharedRace);
    assert_eq!(fault.prior.expect("the write").thread, Some((1, 0)));
    // An order alone.
    let mut block = Block::new(2);
    block.ok(1, Access::write(ALL, own));
    block.barrier(&[0, 1]);
    let fault = block.refuses(0, false, ViolationKind::MissingProxyFence);
    assert!(fault.message.contains("fence.proxy.async"), "{}", fault.message);
    // A fence alone.
    let mut block = Block::new(2);
    block.ok(1, Access::write(ALL, own));
    block.clocks.proxy_fence(1, ALL);
    block.refuses(0, false, ViolationKind::SharedRace);
    // A fence of the writer, or of the issuer, on the way.
    for fencing in [0, 1] {
        let mut block = Block::new(2);
        block.ok(1, Access::write(ALL, own));
        if fencing == 1 {
            block.clocks.proxy_fence(1, ALL);
        }
        block.barrier(&[0, 1]);
        if fencing == 0 {
            block.clocks.proxy_fence(0, 1);
        }
        block.issue(0, false).expect("ordered and fenced");
    }
    // A fence before the write is none.
    let mut block = Block::new(2);
    block.clocks.proxy_fence(1, ALL);
    block.ok(1, Access::write(ALL, own));
    block.barrier(&[0, 1]);
    block.refuses(0, true, ViolationKind::MissingProxyFence);
    // The writer itself needs one, too.
    let mut block = Block::new(1);
    block.ok(0, Access::write(1, own));
    block.refuses(0, false, ViolationKind::MissingProxyFence);
    block.clocks.proxy_fence(0, 1);
    block.issue(0, false).expect("fenced");
}

#[test]
fn a_fence_of_some_lanes_is_not_one_of_others() {
    let mut block = Block::new(2);
    block.ok(1, Access::write(ALL, own));
    block.clocks.proxy_fence(1, 0xffff);
    block.barrier(&[0, 1]);
    let fault = block.refuses(0, false, ViolationKind::MissingProxyFence);
    assert_eq!(fault.address, own(16));
}

#[test]
fn words_that_were_only_read_need_no_fence() {
    let mut block = Block::new(2);
    block.shared.initialize(SHARED, &[0; BYTES]);
    block.ok(1, Access::read(ALL, own));
    block.refuses(0, true, ViolationKind::SharedRace);
    block.barrier(&[0, 1]);
    block.issue(0, true).expect("ordered");
}

#[test]
fn nobody_may_touch_what_an_operation_writes_until_they_have_waited() {
    for waits in [false, true] {
        let mut block = Block::new(2);
        let moment = block.issue(0, true).expect("nothing was there");
        block.shared.proxy_arrive(SHARED, &[7; BYTES]);
        // Arrived, but who says so?
        let mut phase = BarrierClock::default();
        phase.add_async(moment);
        if waits {
            block.clocks.barrier_leave(&phase, 1, ALL);
            assert_eq!(block.ok(1, Access::read(ALL, own))[3][..4], [7; 4]);
        } else {
            let fault = block.fault(1, Access::read(ALL, own));
            assert_eq!(fault.kind, ViolationKind::AsyncCopyRace);
            assert_eq!(
                fault.prior.map(|prior| (prior.kind, prior.thread, prior.pc)),
                Some((AccessKind::ProxyWrite, None, Some(9)))
            );
            // Nor may the thread that issued it.
            assert_eq!(block.fault(0, Access::write(1, own)).kind, ViolationKind::AsyncCopyRace);
        }
    }
}

#[test]
fn an_operation_says_nothing_of_another() {
    let mut block = Block::new(1);
    let first = block.issue(0, true).expect("nothing was there");
    let second = block.clocks.begin_async(None);
    block.clocks.learn_async(0, ALL, second);
    assert_eq!(block.fault(0, Access::write(ALL, own)).kind, ViolationKind::AsyncCopyRace);
    block.clocks.learn_async(0, ALL, first);
    block.ok(0, Access::write(ALL, own));
    // But of those before it in its own channel.
    let mut block = Block::new(1);
    let first = block.issue(0, true).expect("nothing was there");
    let second = block.clocks.begin_async(Some(first));
    block.clocks.learn_async(0, ALL, second);
    block.ok(0, Access::write(ALL, own));
}

#[test]
fn what_an_operation_reads_may_be_read_but_not_written() {
    let mut block = Block::new(1);
    block.shared.initialize(SHARED, &[0; BYTES]);
    let moment = block.issue(0, false).expect("initialised from outside");
    block.ok(0, Access::read(ALL, own));
    block.issue(0, false).expect("two readers");
    let fault = block.fault(0, Access::write(ALL, own));
    assert_eq!(fault.kind, ViolationKind::AsyncCopyRace);
    assert!(fault.message.contains("may still read"), "{}", fault.message);
    block.clocks.learn_async(0, ALL, moment);
    assert_eq!(block.fault(0, Access::write(ALL, own)).kind, ViolationKind::AsyncCopyRace);
}

#[test]
fn operations_in_flight_conflict_with_each_other() {
    let mut block = Block::new(1);
    let first = block.issue(0, true).expect("nothing was there");
    block.refuses(0, true, ViolationKind::AsyncCopyRace);
    block.refuses(0, false, ViolationKind::AsyncCopyRace);
    block.clocks.learn_async(0, 1, first);
    // The completion of an operation is a proxy fence.
    block.issue(0, false).expect("waited for");
}

#[test]
fn channels_are_used_again_and_never_run_out() {
    let mut block = Block::new(1);
    let first = block.clocks.begin_async(None);
    block.clocks.end_async(first);
    let mut seen = std::collections::HashSet::new();
    for _ in 0..10_000 {
        let moment = block.clocks.begin_async(None);
        seen.insert(format!("{moment:?}"));
        block.clocks.learn_async(0, ALL, moment);
        block.clocks.end_async(moment);
    }
    assert_eq!(seen.len(), 10_000);
    let in_flight: Vec<_> = (0..1000).map(|_| block.clocks.begin_async(None)).collect();
    in_flight.into_iter().for_each(|moment| block.clocks.end_async(moment));
}

#[test]
fn operations_stay_within_shared_memory() {
    let mut block = Block::new(1);
    let moment = block.clocks.begin_async(None);
    let Block { clocks, shared, .. } = &mut block;
    let access = ProxyAccess { clocks, warp: 0, lanes: 1, moment, reduces: false, pc: 9 };
    for (address, bytes) in
        [(SHARED + 4096 - 16, 32), (SHARED - 16, 16), (u64::MAX - 15, 16), (SHARED + 8192, 16)]
    {
        let fault = shared.proxy_claim(&access, address, bytes, true).expect_err("outside");
        assert_eq!(fault.kind, ViolationKind::OutOfBounds);
        assert_eq!(fault.address, address);
    }
    let fault = shared.proxy_claim_rows(&access, &[SHARED + 4080, SHARED + 4096]).expect_err("outside");
    assert_eq!(fault.kind, ViolationKind::OutOfBounds);
    let fault = shared.proxy_claim(&access, SHARED + 2, 16, true).expect_err("misaligned");
    assert_eq!(fault.kind, ViolationKind::Misaligned);
}

#[test]
fn operations_issued_together_end_the_reads_before_them_and_nothing_else() {
    let together = |block: &mut Block| {
        let mut issued = BarrierClock::default();
        block.clocks.issue_together(&mut issued, 0, ALL);
        block.clocks.issue_together(&mut issued, 1, ALL);
        block.clocks.learn_reads(0, ALL, &issued);
    };
    let mut block = Block::new(2);
    block.shared.initialize(SHARED, &[0; BYTES]);
    block.ok(1, Access::read(ALL, own));
    together(&mut block);
    block.ok(0, Access::write(ALL, own));
    // A later read is not over.
    let mut block = Block::new(2);
    block.shared.initialize(SHARED, &[0; BYTES]);
    together(&mut block);
    block.ok(1, Access::read(ALL, own));
    block.races(0, Access::write(ALL, own));
    // Nor is anything said of writes.
    let mut block = Block::new(2);
    block.ok(1, Access::write(ALL, own));
    together(&mut block);
    block.races(0, Access::read(ALL, own));
    block.races(0, Access::write(ALL, own));
}
