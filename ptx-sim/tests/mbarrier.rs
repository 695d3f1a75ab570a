//! mbarriers: phases, tokens, parities, transaction counts, and what they order.

use ptx_sim::ViolationKind::{
    self, AsyncCopyRace, BlockGone, Deadlock, InvalidOperand, MbarrierMisuse, Misaligned, MissingProxyFence,
    OutOfBounds, SharedRace,
};
use ptx_sim::{ComputeCapability, Device, DeviceProperties, Violation};

use crate::run::{Run, module};

/// Registers, an mbarrier `bar` that thread 0 initialises for `count` arrivals, a barrier of the block, then `body`.
/// It has `%t`, the thread, and leaves its result in `%r0`, stored at the thread's index.
fn kernel(count: u32, body: &str) -> String {
    format!(
        ".shared .align 8 .b64 bar[4];\n.shared .align 16 .b32 tile[256];\n\
         .reg .b32 %r<20>, %t, %at;\n.reg .pred %p<10>, %first;\n.reg .b64 %rd<10>, %address;\n\
         mov.u32 %t, %tid.x;\nmov.u32 %r0, 0;\nsetp.eq.u32 %first, %t, 0;\nshl.b32 %at, %t, 2;\n\
         mov.u32 %r19, tile;\nadd.u32 %at, %at, %r19;\n\
         @%first mbarrier.init.shared::cta.b64 [bar], {count};\nbar.sync 0;\n{body}\n\
         mul.wide.u32 %address, %t, 4;\nadd.s64 %address, %address, %out;\nst.global.u32 [%address], %r0;"
    )
}

fn run(body: &str, block: u32, seed: u64) -> Run<'_> {
    Run { body, block, seed, target: "sm_90", device: ComputeCapability::Sm90, ..Run::default() }
}

fn passes(body: &str, block: u32, expected: impl Fn(u32) -> u32) {
    for seed in 0..8 {
        let output = run(body, block, seed).output(&[0; 256], block as usize);
        let wanted: Vec<u32> = (0..block).map(&expected).collect();
        assert_eq!(output, wanted, "seed {seed}\n{body}");
    }
}

/// Reported for the same under every seed.
fn fails(kind: ViolationKind, body: &str, block: u32) -> Box<Violation> {
    for seed in 1..8 {
        run(body, block, seed).expect(kind, &[0; 256], block as usize);
    }
    run(body, block, 0).expect(kind, &[0; 256], block as usize)
}

/// Waits for a phase by its parity.
fn wait(label: &str, parity: &str) -> String {
    format!("{label}: mbarrier.try_wait.parity.shared::cta.b64 %p9, [bar], {parity};\n@!%p9 bra {label};")
}

#[test]
fn all_threads_arrive_and_wait_by_state() {
    for (arrive, test) in [
        (
            "mbarrier.arrive.shared::cta.b64 %rd0, [bar];",
            "mbarrier.try_wait.shared::cta.b64 %p1, [bar], %rd0;",
        ),
        (
            "mbarrier.arrive.release.cta.shared.b64 %rd0, [bar];",
            "mbarrier.test_wait.acquire.cta.shared.b64 %p1, [bar], %rd0;",
        ),
        (
            "cvta.shared.u64 %rd1, %rd2;\nmbarrier.arrive.b64 %rd0, [%rd1];",
            "mbarrier.try_wait.b64 %p1, [%rd1], %rd0, 1000;",
        ),
    ] {
        let body = kernel(
            64,
            &format!(
                "mov.u64 %rd2, bar;\nst.shared.u32 [%at], %t;\n{arrive}\nWAIT: {test}\n@!%p1 bra WAIT;\n\
                 xor.b32 %r1, %t, 63;\nshl.b32 %r1, %r1, 2;\nadd.u32 %r1, %r1, %r19;\n\
                 ld.shared.u32 %r0, [%r1];"
            ),
        );
        passes(&body, 64, |thread| 63 - thread);
    }
}

/// The word of the tile that the thread across the block has stored.
const READ_ACROSS: &str = "xor.b32 %r1, %t, 63;\nshl.b32 %r1, %r1, 2;\nadd.u32 %r1, %r1, %r19;\n\
                           ld.shared.u32 %r0, [%r1];";

#[test]
fn phases_follow_each_other() {
    // Each round a thread reads what its neighbour across stored; two phases a round, by parity.
    for scope in ["", ".relaxed.cta", ".release.cluster"] {
        let arrive = format!("mbarrier.arrive{scope}.shared::cta.b64 _, [bar];");
        let body = kernel(
            64,
            &format!(
                "mov.u32 %r2, 0;\nROUND:\nmad.lo.u32 %r3, %r2, 100, %t;\nst.shared.u32 [%at], %r3;\n\
                 {arrive}\n{}\n{READ_ACROSS}\n{arrive}\n{}\n\
                 add.u32 %r2, %r2, 1;\nsetp.lt.u32 %p1, %r2, 5;\n@%p1 bra ROUND;",
                wait("FIRST", "0"),
                wait("SECOND", "1")
            ),
        );
        if scope == ".relaxed.cta" {
            fails(SharedRace, &body, 64);
        } else {
            passes(&body, 64, |thread| 400 + 63 - thread);
        }
    }
}

#[test]
fn relaxed_waits_and_arrivals_order_with_fences() {
    let with = |before: &str, sem: &str, after: &str| {
        kernel(
            64,
            &format!(
                "st.shared.u32 [%at], %t;\n{before}\nmbarrier.arrive{sem}.shared::cta.b64 %rd0, [bar];\n\
                 WAIT: mbarrier.try_wait.relaxed.cta.shared::cta.b64 %p1, [bar], %rd0;\n@!%p1 bra WAIT;\n\
                 {after}\n{READ_ACROSS}"
            ),
        )
    };
    let acquire = "fence.acquire.sync_restrict::shared::cluster.cluster;";
    let release = "fence.release.sync_restrict::shared::cta.cluster;";
    passes(&with("", ".release.cta", "fence.acq_rel.cta;"), 64, |thread| 63 - thread);
    passes(&with(release, ".relaxed.cluster", acquire), 64, |thread| 63 - thread);
    fails(SharedRace, &with("", ".release.cta", ""), 64);
    fails(SharedRace, &with("", ".relaxed.cta", acquire), 64);
    fails(SharedRace, &with(release, ".relaxed.cta", ""), 64);
}

/// Warp 0 produces a value at a time for warp 1: `bar` says that it is there, `bar+8` that it has been read.
fn ring(full: &str, empty: &str) -> String {
    format!(
        ".shared .align 8 .b64 bar[2];\n.shared .align 4 .b32 tile[32];\n\
         .reg .b32 %t, %lane, %i, %parity, %at, %v, %sum;\n.reg .pred %first, %p, %consumer, %more;\n.reg .b64 %a;\n\
         mov.u32 %t, %tid.x;\nand.b32 %lane, %t, 31;\nshl.b32 %at, %lane, 2;\nmov.u32 %v, tile;\n\
         add.u32 %at, %at, %v;\nsetp.eq.u32 %first, %t, 0;\n\
         @%first mbarrier.init.shared.b64 [bar], 32;\n@%first mbarrier.init.shared.b64 [bar+8], 32;\nbar.sync 0;\n\
         mov.u32 %i, 0;\nmov.u32 %sum, 0;\nsetp.ge.u32 %consumer, %t, 32;\n@%consumer bra CONSUMER;\n\
         PRODUCER:\nand.b32 %parity, %i, 1;\nxor.b32 %parity, %parity, 1;\n\
         EMPTY: mbarrier.try_wait.parity.shared.b64 %p, [bar+8], %parity;\n@!%p bra EMPTY;\n\
         add.u32 %v, %i, %lane;\nst.shared.u32 [%at], %v;\n{full}\n\
         add.u32 %i, %i, 1;\nsetp.lt.u32 %more, %i, 7;\n@%more bra PRODUCER;\nret;\n\
         CONSUMER:\nand.b32 %parity, %i, 1;\n\
         FULL: mbarrier.try_wait.parity.shared.b64 %p, [bar], %parity;\n@!%p bra FULL;\n\
         ld.shared.u32 %v, [%at];\nadd.u32 %sum, %sum, %v;\n{empty}\n\
         add.u32 %i, %i, 1;\nsetp.lt.u32 %more, %i, 7;\n@%more bra CONSUMER;\n\
         mul.wide.u32 %a, %lane, 4;\nadd.s64 %a, %a, %out;\nst.global.u32 [%a], %sum;"
    )
}

#[test]
fn a_ring_of_producers_and_consumers() {
    let arrive = |offset: u32| format!("mbarrier.arrive.shared.b64 _, [bar+{offset}];");
    let body = ring(&arrive(0), &arrive(8));
    for seed in 0..20 {
        let output = run(&body, 64, seed).output(&[], 32);
        assert_eq!(output, (0..32).map(|lane| 21 + 7 * lane).collect::<Vec<u32>>());
    }
    // Told before the value is read.
    let early = format!("{}\nld.shared.u32 %v, [%at];", arrive(8));
    let report = run(&ring(&arrive(0), &early), 64, 0).violation(&[], 32);
    assert_eq!(report.kind, SharedRace, "{report}");
    // Told by one lane for all without a barrier of the warp.
    let relaxed = "mbarrier.arrive.relaxed.cta.shared.b64 _, [bar];";
    run(&ring(relaxed, &arrive(8)), 64, 0).expect(SharedRace, &[], 32);
}

#[test]
fn who_is_never_told_waits_for_ever() {
    let arrive = "mbarrier.arrive.shared.b64 _, [bar];";
    let violation = run(&ring(arrive, ""), 64, 0).expect(Deadlock, &[], 32);
    let text = violation.to_string();
    assert!(text.contains("the mbarrier at 0x408"), "{text}");
    assert!(text.contains("phase 0 waits for 32 of 32 arrivals; warps 0 wait for it"), "{text}");
    let bytes = kernel(
        1,
        &format!("@%first mbarrier.arrive.expect_tx.shared::cta.b64 _, [bar], 96;\n{}", wait("WAIT", "0")),
    );
    let text = fails(Deadlock, &bytes, 64).to_string();
    assert!(text.contains("phase 0 waits for 0 of 1 arrivals and 96 bytes; warps 0, 1 wait"), "{text}");
    // Reported where it is waited for, not at the barrier where another warp waits for the waiting one.
    let early = kernel(
        1,
        &format!(
            "setp.lt.u32 %p1, %t, 32;\n@%p1 bra DONE;\nmbarrier.complete_tx.shared::cta.b64 [bar], 4;\n{}\n\
             DONE:\nbar.sync 0;",
            wait("WAIT", "0")
        ),
    );
    let violation = fails(Deadlock, &early, 64);
    assert!(violation.message.contains("the announcement of 128 bytes that have come"), "{violation}");
    let instruction = violation.location.as_ref().map(|place| place.instruction.as_str());
    assert_eq!(instruction, Some("mbarrier.try_wait.parity.shared::cta.b64"), "{violation}");
}

#[test]
fn bytes_are_expected_and_completed() {
    let body = kernel(
        1,
        &format!(
            "st.shared.u32 [%at], %t;\nbar.sync 0;\n\
             setp.eq.u32 %p2, %t, 40;\n\
             @%first mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [bar], 24;\n\
             @%first mbarrier.arrive.expect_tx.release.cta.shared::cta.b64 %rd0, [bar], 40;\n\
             @%p2 mbarrier.complete_tx.shared::cluster.relaxed.cluster.b64 [bar], 64;\n{}\n{READ_ACROSS}",
            wait("WAIT", "0")
        ),
    );
    passes(&body, 64, |thread| 63 - thread);
}

#[test]
fn counts_tokens_and_dropping_out() {
    // 20 arrivals of 32: lanes 0 to 9 with a count of 2, and lane 10 with 12 that leave; then 20 suffice.
    let body = kernel(
        32,
        &format!(
            "setp.lt.u32 %p1, %t, 10;\nsetp.eq.u32 %p2, %t, 10;\nmov.u32 %r3, 2;\n\
             @%p1 mbarrier.arrive.noComplete.shared::cta.b64 %rd0, [bar], %r3;\n\
             @%p1 mbarrier.pending_count.b64 %r4, %rd0;\n\
             @%p2 mbarrier.arrive_drop.shared::cta.b64 _, [bar], 12;\n{}\n\
             @%p1 mbarrier.arrive.shared::cta.b64 %rd1, [bar], 2;\n{}\n\
             selp.u32 %r0, %r4, 7, %p1;",
            wait("ONE", "0"),
            wait("TWO", "1")
        ),
    );
    passes(&body, 32, |lane| if lane < 10 { 32 - 2 * lane } else { 7 });
    let completes = "mbarrier.arrive.noComplete.shared::cta.b64 _, [bar], 1;";
    let text = fails(MbarrierMisuse, &kernel(32, completes), 32).message;
    assert!(text.contains("noComplete completes the phase"), "{text}");
    let state = "mbarrier.arrive.shared::cta.b64 %rd0, [bar];\nmbarrier.pending_count.b64 %r0, %rd0;";
    let text = fails(MbarrierMisuse, &kernel(32, state), 32).message;
    assert!(text.contains("noComplete"), "{text}");
}

#[test]
fn arrivals_and_bytes_have_bounds() {
    for (body, expected) in [
        (
            "mbarrier.arrive.shared::cta.b64 _, [bar], 33;",
            "33 arrivals at an mbarrier whose phase waits for 32",
        ),
        ("mbarrier.arrive.shared::cta.b64 _, [bar], 0;", "an arrival with a count of 0"),
        (
            "mbarrier.arrive.shared::cta.b64 _, [bar];\nmbarrier.arrive.shared::cta.b64 _, [bar], 40;",
            "40 arrivals",
        ),
        ("mbarrier.arrive_drop.shared::cta.b64 _, [bar], 33;", "33 arrivals are dropped"),
        (
            "mbarrier.expect_tx.shared::cta.b64 [bar], 0x100000;",
            "the tx-count of an mbarrier goes from 0 to 1048576",
        ),
        (
            "mbarrier.complete_tx.shared::cta.b64 [bar], 0xfffffff0;",
            "the tx-count of an mbarrier goes from 0 to -",
        ),
    ] {
        let violation = fails(MbarrierMisuse, &kernel(32, body), 32);
        assert!(violation.message.contains(expected), "{violation}");
        assert_eq!(violation.address, Some(0x400));
    }
    for count in ["0", "0x100000"] {
        let body = format!("@%first mbarrier.init.shared::cta.b64 [bar+8], {count};");
        let violation = fails(MbarrierMisuse, &kernel(1, &body), 32);
        assert!(violation.message.contains("is not within 1 to 1048575"), "{violation}");
    }
}

#[test]
fn places_of_mbarriers() {
    let generic = "mov.u64 %rd0, %out;\n@%first mbarrier.arrive.b64 _, [%rd0];";
    fails(OutOfBounds, &kernel(1, generic), 32);
    fails(OutOfBounds, &kernel(1, "@%first mbarrier.init.shared::cta.b64 [bar+0x10000], 1;"), 32);
    fails(OutOfBounds, &kernel(1, "@%first mbarrier.arrive.shared::cta.b64 _, [0x8000400];"), 32);
    fails(Misaligned, &kernel(1, "@%first mbarrier.init.shared::cta.b64 [bar+12], 1;"), 32);
    for operation in [
        "mbarrier.arrive.shared::cta.b64 _, [bar+8];",
        "mbarrier.expect_tx.shared::cta.b64 [bar+8], 4;",
        "mbarrier.inval.shared::cta.b64 [bar+8];",
        "mbarrier.test_wait.parity.shared::cta.b64 %p1, [bar+8], 0;",
        "cp.async.mbarrier.arrive.shared::cta.b64 [bar+8];",
    ] {
        let violation = fails(MbarrierMisuse, &kernel(1, &format!("@%first {operation}")), 32);
        assert!(violation.message.contains("no mbarrier is initialised"), "{violation}");
    }
}

#[test]
fn memory_of_mbarriers_is_theirs_until_they_are_invalidated() {
    for touch in [
        "ld.shared.u32 %r0, [bar];",
        "st.shared.u8 [bar+7], %r0;",
        "atom.shared.add.u32 %r0, [bar+4], 1;",
        "cp.async.ca.shared.global [bar], [%in], 8;",
        "mbarrier.init.shared::cta.b64 [bar], 1;",
    ] {
        let touch = touch.replace("%r0, [", "%r1, [");
        let violation = fails(MbarrierMisuse, &kernel(1, &format!("@%first {touch}")), 32);
        assert!(violation.message.contains("mbarrier.inval has to come before"), "{violation}");
        if !touch.contains("ld") && !touch.contains("atom") {
            let body = kernel(1, &format!("@%first mbarrier.inval.shared::cta.b64 [bar];\n@%first {touch}"));
            passes(&body, 32, |_| 0);
        }
    }
    // Beside it.
    passes(&kernel(1, "@%first st.shared.u32 [bar+8], %t;\n@%first ld.shared.u32 %r0, [bar+8];"), 32, |_| 0);
    let read = kernel(1, "@%first mbarrier.inval.shared.b64 [bar];\n@%first ld.shared.u32 %r0, [bar];");
    fails(ViolationKind::UninitializedShared, &read, 32);
}

#[test]
fn initialisation_is_ordered_before_use_and_use_before_inval() {
    let ordered = kernel(64, "");
    let unordered = ordered.replace("bar.sync 0;\n", "bar.warp.sync 0xffffffff;\n")
        + "\nmbarrier.arrive.shared::cta.b64 _, [bar];";
    // Another warp may come too early, and then there is no mbarrier yet.
    for seed in 0..8 {
        let violation = run(&unordered, 64, seed).violation(&[], 64);
        assert!(matches!(violation.kind, SharedRace | MbarrierMisuse), "{violation}");
    }
    run(&unordered, 64, 0).expect(SharedRace, &[], 64);
    let body = |before: &str| {
        kernel(
            64,
            &format!(
                "mbarrier.arrive.shared::cta.b64 _, [bar];\n{}\n{before}\n\
                 @%first mbarrier.inval.shared::cta.b64 [bar];",
                wait("WAIT", "0")
            ),
        )
    };
    passes(&body("bar.sync 0;"), 64, |_| 0);
    for seed in 0..8 {
        let violation = run(&body(""), 64, seed).violation(&[], 64);
        assert!(matches!(violation.kind, SharedRace | MbarrierMisuse), "{violation}");
    }
}

#[test]
fn waits_are_for_the_current_or_the_preceding_phase() {
    // Three phases by lane 0 alone.
    let phase = "@%first mbarrier.arrive.shared::cta.b64 %rd1, [bar];";
    let old = |phases: usize| {
        kernel(
            1,
            &format!(
                "@%first mbarrier.arrive.shared::cta.b64 %rd0, [bar];\n{}\n\
                 @%first mbarrier.test_wait.shared::cta.b64 %p1, [bar], %rd0;\n@%first selp.u32 %r0, 1, 2, %p1;",
                vec![phase; phases].join("\n")
            ),
        )
    };
    passes(&old(0), 32, |lane| u32::from(lane == 0));
    let violation = fails(MbarrierMisuse, &old(1), 32);
    assert!(
        violation.message.contains("a wait for phase 0 of an mbarrier that is in phase 2"),
        "{violation}"
    );
    let foreign = "mov.u64 %rd0, 5;\nmbarrier.test_wait.shared::cta.b64 %p1, [bar], %rd0;";
    let violation = fails(MbarrierMisuse, &kernel(1, foreign), 32);
    assert!(
        violation.message.contains("a state that no arrive on this mbarrier has returned"),
        "{violation}"
    );
    fails(InvalidOperand, &kernel(1, "mbarrier.test_wait.parity.shared::cta.b64 %p1, [bar], 2;"), 32);
}

#[test]
fn parities_do_not_tell_phases_two_apart() {
    // Lane 1 finds phase 0 incomplete; lane 0 completes it and the next; lane 1 asks again.
    let body = |phases: usize| {
        kernel(
            1,
            &format!(
                "setp.eq.u32 %p2, %t, 1;\n@%p2 mbarrier.test_wait.parity.shared::cta.b64 %p3, [bar], 0;\n\
                 bar.warp.sync 0xffffffff;\n{}\nbar.warp.sync 0xffffffff;\n\
                 @%p2 mbarrier.test_wait.parity.shared::cta.b64 %p3, [bar], 0;\n@%p2 selp.u32 %r0, 1, 2, %p3;",
                vec!["@%first mbarrier.arrive.shared::cta.b64 _, [bar];"; phases].join("\n")
            ),
        )
    };
    passes(&body(0), 32, |lane| if lane == 1 { 2 } else { 0 });
    passes(&body(1), 32, |lane| u32::from(lane == 1));
    for phases in [2, 3] {
        let violation = fails(MbarrierMisuse, &body(phases), 32);
        assert!(violation.message.contains("the parity no longer tells them apart"), "{violation}");
    }
}

/// Each thread of warp 0 copies a word; all wait for the mbarrier, and read the word across.
fn copies(count: u32, arrive: &str) -> String {
    kernel(
        count,
        &format!(
            "mul.wide.u32 %rd0, %t, 4;\nadd.s64 %rd0, %rd0, %in;\nsetp.lt.u32 %p1, %t, 32;\n\
             @%p1 cp.async.ca.shared.global [%at], [%rd0], 4;\n{arrive}\n{}\n\
             and.b32 %r1, %t, 31;\nxor.b32 %r1, %r1, 31;\nshl.b32 %r1, %r1, 2;\nadd.u32 %r1, %r1, %r19;\n\
             ld.shared.u32 %r0, [%r1];",
            wait("WAIT", "0")
        ),
    )
}

#[test]
fn mbarriers_track_copies() {
    let input: Vec<u32> = (0..64).map(|word| word * word + 5).collect();
    let expected: Vec<u32> = (0..64).map(|thread: usize| input[31 - thread % 32]).collect();
    let noinc = "@%p1 cp.async.mbarrier.arrive.noinc.shared::cta.b64 [bar];";
    let counted = "@%p1 cp.async.mbarrier.arrive.shared.b64 [bar];\n\
                   mov.u64 %rd2, bar;\ncvta.shared.u64 %rd1, %rd2;\nmbarrier.arrive.b64 %rd3, [%rd1];";
    for body in [copies(32, noinc), copies(64, counted)] {
        for seed in 0..12 {
            assert_eq!(run(&body, 64, seed).output(&input, 64), expected, "seed {seed}\n{body}");
        }
    }
    // An arrival more than the phase waits for, which belongs to the next; and one too few.
    fails(AsyncCopyRace, &copies(31, noinc), 64);
    fails(Deadlock, &copies(33, noinc), 64);
}

#[test]
fn copies_that_are_not_waited_for() {
    // An arrival of the thread itself says nothing of its copies.
    let own = "@%p1 mbarrier.arrive.shared::cta.b64 _, [bar];";
    fails(AsyncCopyRace, &copies(32, own), 64);
    // Nor does tracking them make them complete.
    let early = copies(
        32,
        "@%p1 cp.async.mbarrier.arrive.noinc.shared::cta.b64 [bar];\n@%p1 ld.shared.u32 %r2, [%at];",
    );
    fails(AsyncCopyRace, &early, 64);
    // The thread's own wait does, for itself.
    let waited = copies(
        32,
        "@%p1 cp.async.mbarrier.arrive.noinc.shared::cta.b64 [bar];\ncp.async.wait_all;\n\
         @%p1 ld.shared.u32 %r2, [%at];",
    );
    for seed in 0..8 {
        run(&waited, 64, seed).output(&[3; 64], 64);
    }
    // What the threads store themselves is not tracked.
    let stored = copies(
        32,
        "add.u32 %r2, %at, 512;\nst.shared.u32 [%r2], %t;\n\
         @%p1 cp.async.mbarrier.arrive.noinc.shared::cta.b64 [bar];",
    )
    .replace("ld.shared.u32 %r0, [%r1];", "ld.shared.u32 %r0, [%r1];\nld.shared.u32 %r3, [%r1+512];");
    fails(SharedRace, &stored, 64);
}

#[test]
fn the_source_of_tracked_copies_may_change_after_the_wait() {
    let noinc = "@%p1 cp.async.mbarrier.arrive.noinc.shared::cta.b64 [bar];";
    let across = "and.b32 %r2, %t, 31;\nxor.b32 %r2, %r2, 31;\nmul.wide.u32 %rd4, %r2, 4;\n\
                  add.s64 %rd4, %rd4, %in;\nsetp.ge.u32 %p2, %t, 32;\n@%p2 st.global.u32 [%rd4], %t;";
    let after = copies(32, noinc) + "\n" + across;
    for seed in 0..8 {
        run(&after, 64, seed).output(&[3; 64], 64);
    }
    let before = copies(32, &format!("{noinc}\nbar.sync 0;\n{across}"));
    fails(AsyncCopyRace, &before, 64);
}

/// Thread 0 announces 64 bytes and copies them to the tile, after `fence`; `wait` stands before the tile is read.
fn bulk(fence: &str, wait: &str) -> String {
    kernel(
        1,
        &format!(
            "@!%first bra COPIED;\n{fence}\nmbarrier.arrive.expect_tx.shared::cta.b64 _, [bar], 64;\n\
             cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [tile], [%in], 64, [bar];\n\
             COPIED:\nbar.sync 0;\nmov.u32 %r0, 1;\nsetp.lt.u32 %p1, %t, 16;\n{wait}"
        ),
    )
}

#[test]
fn bulk_copies_signal_mbarriers() {
    let wait = wait("WAIT", "0");
    let read = format!("{wait}\n@%p1 ld.shared.u32 %r0, [%at];");
    for fence in
        ["fence.proxy.async;", "fence.proxy.async.shared::cta;", "fence.mbarrier_init.release.cluster;"]
    {
        let body = bulk(fence, &read);
        let input: Vec<u32> = (100..116).collect();
        for seed in 0..8 {
            let output = run(&body, 32, seed).output(&input, 32);
            assert_eq!(output, (0..32).map(|t| if t < 16 { 100 + t } else { 1 }).collect::<Vec<u32>>());
        }
    }
    let fails_with = |kind, body: &str, said: &str| {
        for seed in 0..8 {
            let violation = run(body, 32, seed).expect(kind, &[0; 16], 32);
            assert!(violation.message.contains(said), "{violation}");
        }
    };
    let fence = "fence.proxy.async;";
    fails_with(MissingProxyFence, &bulk("", &read), "no fence.proxy.async or fence.mbarrier_init");
    fails_with(AsyncCopyRace, &bulk(fence, ""), "exits without having waited for the mbarrier at 0x400");
    fails_with(AsyncCopyRace, &bulk(fence, "@%p1 ld.shared.u32 %r0, [%at];"), "its wait is missing");
    // One phase waited for, not the next one.
    let again = "@%first mbarrier.arrive.expect_tx.shared::cta.b64 _, [bar], 16;\n\
                 @%first cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [tile+512], [%in], 16, [bar];";
    let unwaited = bulk(fence, &format!("{wait}\nbar.sync 0;\n{again}"));
    fails_with(AsyncCopyRace, &unwaited, "exits without having waited");
    let over = bulk(fence, &wait).replace("[tile], [%in]", "[bar], [%in]");
    fails_with(MbarrierMisuse, &over, "of the mbarrier object at 0x400: mbarrier.inval has to come before");
    let gone = bulk(fence, "@%first mbarrier.inval.shared::cta.b64 [bar];");
    fails_with(MbarrierMisuse, &gone, "which nobody has waited for");
    let waited = bulk(fence, &format!("{wait}\nbar.sync 0;\n@%first mbarrier.inval.shared::cta.b64 [bar];"));
    passes(&waited, 32, |_| 1);
}

const CLUSTER_BARRIER: &str = "barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;";

/// Two blocks of a cluster, whose threads arrive at the mbarriers of the other one, wait at their own, and read what
/// the thread of the same number in the other block has stored. `init` stands behind the initialisation, `last` at the
/// end. `%far` is the other block's mbarrier, `%far64` its generic address.
fn exchange(init: &str, arrive: &str, last: &str) -> String {
    kernel(
        64,
        &format!(
            ".reg .b32 %rank, %far, %there;\n.reg .b64 %far64;\n\
             mov.u32 %rank, %cluster_ctarank;\nxor.b32 %rank, %rank, 1;\nmov.u32 %r2, bar;\n\
             mapa.shared::cluster.u32 %far, %r2, %rank;\nmapa.shared::cluster.u32 %there, %at, %rank;\n\
             mov.u64 %rd5, bar;\ncvta.shared.u64 %rd5, %rd5;\nmapa.u64 %far64, %rd5, %rank;\n\
             {init}\nmov.u32 %r3, %ctaid.x;\nmad.lo.u32 %r3, %r3, 1000, %t;\nst.shared.u32 [%at], %r3;\n\
             {arrive}\n{}\nld.shared::cluster.u32 %r0, [%there];\n{last}\n\
             mov.u32 %r3, %ctaid.x;\nshl.b32 %r3, %r3, 8;\nmul.wide.u32 %rd6, %r3, 1;\nadd.s64 %out, %out, %rd6;",
            wait("WAIT", "0")
        ),
    )
}

fn in_cluster(body: &str, seed: u64) -> Run<'_> {
    Run { grid: 2, cluster: 2, ..run(body, 64, seed) }
}

fn exchanges(body: &str) {
    for seed in 0..8 {
        let output = in_cluster(body, seed).output(&[], 128);
        let expected: Vec<u32> = (0..128).map(|thread| (1 - thread / 64) * 1000 + thread % 64).collect();
        assert_eq!(output, expected, "seed {seed}\n{body}");
    }
}

fn fails_in_cluster(kind: ViolationKind, body: &str) -> Box<Violation> {
    for seed in 1..8 {
        in_cluster(body, seed).expect(kind, &[], 128);
    }
    in_cluster(body, 0).expect(kind, &[], 128)
}

#[test]
fn blocks_of_a_cluster_arrive_at_each_others_mbarriers() {
    for arrive in [
        "mbarrier.arrive.shared::cluster.b64 _, [%far];",
        "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%far], 1;",
        "mbarrier.arrive.release.cluster.b64 _, [%far64];",
        "mbarrier.arrive.expect_tx.release.cluster.shared::cluster.b64 _, [%far], 16;\n\
         mbarrier.complete_tx.shared::cluster.relaxed.cluster.b64 [%far], 16;",
        "mbarrier.expect_tx.relaxed.cluster.b64 [%far64], 12;\n\
         mbarrier.arrive.shared::cluster.b64 _, [%far];\n\
         mbarrier.complete_tx.relaxed.cluster.b64 [%far64], 12;",
    ] {
        exchanges(&exchange(CLUSTER_BARRIER, arrive, CLUSTER_BARRIER));
    }
    let arrive = "mbarrier.arrive.shared::cluster.b64 _, [%far];";
    let relaxed = "barrier.cluster.arrive.relaxed.aligned;\nbarrier.cluster.wait.aligned;";
    let fenced = format!("@%first fence.mbarrier_init.release.cluster;\n{relaxed}");
    exchanges(&exchange(&fenced, arrive, CLUSTER_BARRIER));
    fails_in_cluster(SharedRace, &exchange(relaxed, arrive, CLUSTER_BARRIER));
    let relaxed = "mbarrier.arrive.relaxed.cluster.shared::cluster.b64 _, [%far];";
    fails_in_cluster(SharedRace, &exchange(CLUSTER_BARRIER, relaxed, CLUSTER_BARRIER));
}

#[test]
fn mbarriers_of_other_blocks_have_limits() {
    let arrive = "mbarrier.arrive.shared::cluster.b64 _, [%far];";
    fails_in_cluster(BlockGone, &exchange("", arrive, CLUSTER_BARRIER));
    let wait = "mbarrier.test_wait.parity.b64 %p1, [%far64], 0;";
    let violation = fails_in_cluster(MbarrierMisuse, &exchange(CLUSTER_BARRIER, wait, CLUSTER_BARRIER));
    assert!(violation.message.contains("only on an mbarrier of the thread's own block"), "{violation}");
    let state = "mbarrier.arrive.b64 %rd1, [%far64];";
    let violation = fails_in_cluster(MbarrierMisuse, &exchange(CLUSTER_BARRIER, state, CLUSTER_BARRIER));
    assert!(violation.message.contains("returns no state"), "{violation}");
    let beyond = "add.u32 %r4, %far, 0x2000000;\nmbarrier.arrive.shared::cluster.b64 _, [%r4];";
    fails_in_cluster(OutOfBounds, &exchange(CLUSTER_BARRIER, beyond, CLUSTER_BARRIER));
}

#[test]
fn blocks_wait_for_the_arrivals_of_others_before_they_exit() {
    // Each arrives once more at the end, and nobody waits for that.
    let arrive = "mbarrier.arrive.shared::cluster.b64 _, [%far];";
    let body = exchange(CLUSTER_BARRIER, arrive, &format!("{CLUSTER_BARRIER}\n{arrive}"));
    for seed in 0..8 {
        in_cluster(&body, seed).expect(BlockGone, &[], 128);
    }
    exchanges(&exchange(
        CLUSTER_BARRIER,
        arrive,
        &format!("{CLUSTER_BARRIER}\n{arrive}\n{}", wait("TAIL", "1")),
    ));
}

/// Why instructions are refused.
fn refusal(target: &str, body: &str) -> String {
    let device = Device::new(DeviceProperties::of(ComputeCapability::Sm90));
    let body = kernel(1, body);
    match device.load_module(&module(target, &body)) {
        Ok(_) => panic!("not refused: {body}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn forms_that_do_not_exist_are_refused() {
    for (body, reason) in [
        ("mbarrier.init.shared::cluster.b64 [bar], 1;", "works on an mbarrier in .shared::cta"),
        ("mbarrier.arrive.shared::cluster.b64 %rd0, [bar];", "`_` is expected"),
        ("mbarrier.arrive.acquire.shared::cta.b64 _, [bar];", "modifier .acquire is not supported here"),
        ("mbarrier.arrive.release.gpu.shared::cta.b64 _, [bar];", "the scope of an mbarrier operation"),
        ("mbarrier.arrive.release.relaxed.cta.shared::cta.b64 _, [bar];", "exclude each other"),
        ("mbarrier.arrive.expect_tx.shared::cta.b64 _, [bar];", "the number of arrivals or bytes is missing"),
        ("mbarrier.test_wait.shared::cta.b64 %p1, [bar], %rd0, 5;", "3 operands are expected, 4 are there"),
        ("mbarrier.arrive.global.b64 _, [bar];", "an mbarrier lies in .shared::cta or .shared::cluster"),
        ("mbarrier.arrive.b64 _, [bar];", "a variable needs its state space here"),
        ("mbarrier.arrive.shared::cta _, [bar];", "the type .b64 is missing"),
        ("mbarrier.frobnicate.shared::cta.b64 _, [bar];", "unknown form of mbarrier"),
        ("fence.proxy.texture;", "unknown form of fence"),
    ] {
        let text = refusal("sm_90", body);
        assert!(text.contains(reason), "{text}");
    }
    for body in [
        "mbarrier.try_wait.parity.shared.b64 %p1, [bar], 0;",
        "mbarrier.expect_tx.shared.b64 [bar], 4;",
        "mbarrier.arrive.shared.b64 _, [bar], 2;",
        "fence.proxy.async;",
        "fence.mbarrier_init.release.cluster;",
        "fence.acq_rel.cluster;",
    ] {
        let text = refusal("sm_80", body);
        assert!(text.contains("it needs compute capability 9.0, the module's target is sm_80"), "{text}");
    }
    let body = kernel(
        64,
        "mbarrier.arrive.noComplete.release.cta.shared.b64 %rd0, [bar], 1;\n\
         mbarrier.test_wait.shared.b64 %p1, [bar], %rd0;",
    )
    .replace("shared::cta", "shared");
    let ampere = Run { body: &body, block: 32, ..Run::default() };
    ampere.output(&[], 32);
}

#[test]
fn fences_of_proxies_are_executed() {
    let body = kernel(
        1,
        "fence.proxy.async;\nfence.proxy.async.global;\nfence.proxy.async.shared::cta;\n\
         fence.proxy.async.shared::cluster;\nfence.proxy.alias;\nmembar.proxy.alias;\n\
         fence.mbarrier_init.release.cluster;\nfence.proxy.tensormap::generic.release.gpu;\n\
         fence.proxy.tensormap::generic.acquire.gpu [%out], 128;\n\
         fence.proxy.async::generic.acquire.sync_restrict::shared::cluster.cluster;\n\
         fence.proxy.async::generic.release.sync_restrict::shared::cta.cluster;",
    );
    passes(&body, 32, |_| 0);
}

#[test]
fn arrivals_and_waits_are_counted() {
    let body = kernel(64, &format!("mbarrier.arrive.shared::cta.b64 _, [bar];\n{}", wait("WAIT", "0")));
    let (_, report) = run(&body, 64, 0).try_run(&[], 64).expect("nothing is wrong");
    // Two warps at `bar.sync` and at the mbarrier; the first of them waits at both.
    assert_eq!(report.counters.barriers, 4);
    assert_eq!(report.counters.waits, 2);
}
