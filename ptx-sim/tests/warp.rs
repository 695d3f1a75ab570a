//! Instructions that lanes of a warp, or warps of a block, execute together.

use ptx_sim::{ComputeCapability, Error, ViolationKind};

use crate::run::{Run, per_thread, warp};

const FULL: &str = "0xffffffff";

#[test]
fn shuffles_of_every_mode_and_width() {
    for (mode, clamp_of_width) in [("up", 0u32), ("down", 31), ("bfly", 31), ("idx", 31)] {
        for width in [1u32, 2, 4, 8, 16, 32] {
            for b in [0u32, 1, 3, 5, 16, 31] {
                let c = (32 - width) << 8 | clamp_of_width;
                let output = warp(&format!(
                    "add.u32 %r1, %t, 100;\nshfl.sync.{mode}.b32 %r2|%p0, %r1, {b}, {c}, {FULL};\n\
                     selp.u32 %r3, 1000, 0, %p0;\nadd.u32 %r0, %r2, %r3;"
                ));
                for lane in 0..32u32 {
                    let segment = lane / width * width;
                    let (source, valid) = match mode {
                        "up" => (lane.wrapping_sub(b), lane >= b && lane - b >= segment),
                        "down" => (lane + b, lane + b < segment + width),
                        "bfly" => (lane ^ b, (lane ^ b) < segment + width),
                        _ => (segment + (b & (width - 1)), true),
                    };
                    let expected = if valid { source + 1100 } else { lane + 100 };
                    assert_eq!(output[lane as usize], expected, "{mode} width {width} b {b} lane {lane}");
                }
            }
        }
    }
}

#[test]
fn tiles_shuffle_among_themselves() {
    // Each half of the warp has a member mask of its own, at the same instruction.
    let output = warp(
        "setp.lt.u32 %p0, %t, 16;\nselp.b32 %r1, 0xffff, 0xffff0000, %p0;\n\
         shfl.sync.idx.b32 %r0, %t, 3, 0x101f, %r1;",
    );
    assert_eq!(output, (0..32).map(|lane| if lane < 16 { 3 } else { 19 }).collect::<Vec<u32>>());
}

#[test]
fn collectives_with_sync_on_either_side_of_the_mode() {
    for (shfl, vote, matching, redux) in [
        ("shfl.sync.idx", "vote.sync.ballot", "match.sync.any", "redux.sync.add"),
        ("shfl.idx.sync", "vote.ballot.sync", "match.any.sync", "redux.add.sync"),
    ] {
        let out = warp(&format!(
            "setp.lt.u32 %p0, %t, 5;\n{vote}.b32 %r1, %p0, {FULL};\n{shfl}.b32 %r2, %t, 7, 31, {FULL};\n\
             shr.u32 %r3, %t, 5;\n{matching}.b32 %r3, %r3, {FULL};\n{redux}.u32 %r4, %t, {FULL};\n\
             mad.lo.u32 %r0, %r2, 1000, %r1;\nmad.lo.u32 %r0, %r4, 100000, %r0;\nadd.u32 %r0, %r0, %r3;"
        ));
        assert_eq!(out, [(7 * 1000 + 31 + 496 * 100_000u32).wrapping_add(u32::MAX); 32]);
    }
}

#[test]
fn votes_matches_and_reductions() {
    let output = warp(&format!(
        "setp.lt.u32 %p0, %t, 5;\nvote.sync.ballot.b32 %r1, %p0, {FULL};\nvote.sync.any.pred %p1, %p0, {FULL};\n\
         vote.sync.all.pred %p2, !%p0, {FULL};\nvote.sync.uni.pred %p3, %p0, {FULL};\n\
         selp.u32 %r2, 32, 0, %p1;\nadd.u32 %r0, %r1, %r2;\n@%p2 add.u32 %r0, %r0, 1000;\n\
         @%p3 add.u32 %r0, %r0, 2000;"
    ));
    assert_eq!(output, vec![31 + 32; 32]);
    let output = warp(&format!("and.b32 %r1, %t, 3;\nmatch.any.sync.b32 %r0, %r1, {FULL};"));
    assert_eq!(output, (0..32).map(|lane| 0x1111_1111 << (lane % 4)).collect::<Vec<u32>>());
    let output = warp(&format!(
        "match.all.sync.b32 %r1|%p0, 7, {FULL};\nmatch.all.sync.b32 %r2|%p1, %t, {FULL};\n\
         selp.u32 %r0, 1, 0, %p0;\n@%p1 add.u32 %r0, %r0, 10;\nadd.u32 %r0, %r0, %r2;\nxor.b32 %r0, %r0, %r1;"
    ));
    assert_eq!(output, vec![0xffff_fffe; 32]);
    for (op, expected) in
        [("add.u32", 496u32), ("min.u32", 0), ("max.s32", 31), ("and.b32", 0), ("or.b32", 31), ("xor.b32", 0)]
    {
        assert_eq!(warp(&format!("redux.sync.{op} %r0, %t, {FULL};")), vec![expected; 32], "{op}");
    }
}

#[test]
fn one_lane_is_elected() {
    let body =
        per_thread("elect.sync %r1|%p0, 0xfffffff0;\nselp.u32 %r0, 100, 0, %p0;\nadd.u32 %r0, %r0, %r1;");
    let guarded = body
        .replace("elect", "setp.ge.u32 %p1, %t, 4;\nmov.u32 %r1, 0;\nsetp.lt.u32 %p0, %t, 0;\n@%p1 elect");
    let run = Run { body: &guarded, target: "sm_90", device: ComputeCapability::Sm90, ..Run::default() };
    let output = run.output(&[], 32);
    let expected: Vec<u32> =
        (0..32).map(|lane| if lane < 4 { 0 } else { 4 + if lane == 4 { 100 } else { 0 } }).collect();
    assert_eq!(output, expected);
}

#[test]
fn barriers_of_the_block_reduce() {
    let body = per_thread(
        "setp.lt.u32 %p0, %t, 70;\nbar.red.popc.u32 %r1, 0, %p0;\nbar.red.and.pred %p1, 0, %p0;\n\
         bar.red.or.pred %p2, 1, 128, %p0;\nselp.u32 %r2, 1000, 2000, %p1;\nselp.u32 %r3, 10000, 20000, %p2;\n\
         add.u32 %r0, %r1, %r2;\nadd.u32 %r0, %r0, %r3;",
    );
    for seed in 0..5 {
        let output = Run { body: &body, block: 128, seed, ..Run::default() }.output(&[], 128);
        assert_eq!(output, vec![70 + 2000 + 10000; 128]);
    }
}

#[test]
fn producers_and_consumers_meet_at_named_barriers() {
    // Warp 0 writes and arrives; warp 1 waits and reads.
    let body = ".shared .align 4 .b32 tile[32];\n.reg .b32 %r<8>;\n.reg .pred %p;\n.reg .b64 %a;\n\
                mov.u32 %r0, %tid.x;\nand.b32 %r1, %r0, 31;\nshl.b32 %r2, %r1, 2;\nmov.u32 %r3, tile;\n\
                add.u32 %r3, %r3, %r2;\nsetp.ge.u32 %p, %r0, 32;\n@%p bra CONSUMER;\n\
                mul.lo.u32 %r4, %r1, 3;\nst.shared.u32 [%r3], %r4;\nbar.arrive 1, 64;\nret;\n\
                CONSUMER:\nbar.sync 1, 64;\nld.shared.u32 %r5, [%r3];\nmul.wide.u32 %a, %r1, 4;\n\
                add.s64 %a, %a, %out;\nst.global.u32 [%a], %r5;";
    for seed in 0..20 {
        let output = Run { body, block: 64, seed, ..Run::default() }.output(&[], 32);
        assert_eq!(output, (0..32).map(|lane| 3 * lane).collect::<Vec<u32>>());
    }
}

#[test]
fn a_warp_that_does_not_wait_may_arrive_again() {
    // Arrivals are counted, not warps: the first one lets warp 0 pass its own barrier once.
    let body = per_thread("bar.arrive 1, 64;\nmov.u32 %r0, 5;\nbar.sync 1, 64;\nadd.u32 %r0, %r0, %t;");
    assert_eq!(Run { body: &body, ..Run::default() }.output(&[], 32)[..3], [5, 6, 7]);
    let body = per_thread("bar.arrive 1, 96;\nbar.sync 1, 96;\nmov.u32 %r0, %t;");
    Run { body: &body, ..Run::default() }.expect(ViolationKind::Deadlock, &[], 32);
}

/// A warp loads a matrix, and stores another one over it: what its lanes have read is read before they store together.
#[test]
fn matrices_are_stored_over_what_the_warp_has_read() {
    let body = |load: &str, store: &str| {
        per_thread(&format!(
            ".shared .align 16 .b32 tile[32];\nmov.u32 %r9, tile;\nshl.b32 %r2, %t, 2;\nadd.u32 %r2, %r9, %r2;\n\
             st.shared.u32 [%r2], %t;\nbar.warp.sync 0xffffffff;\nand.b32 %r3, %t, 7;\nshl.b32 %r3, %r3, 4;\n\
             add.u32 %r3, %r9, %r3;\nxor.b32 %r4, %t, 4;\nshl.b32 %r4, %r4, 2;\nadd.u32 %r4, %r9, %r4;\n{load}\n\
             add.u32 %r1, %r1, 100;\n{store}\nbar.warp.sync 0xffffffff;\nld.shared.u32 %r0, [%r2];"
        ))
    };
    let matrix_load = "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r1}, [%r3];";
    let matrix_store = "stmatrix.sync.aligned.m8n8.x1.shared.b16 [%r3], {%r1};";
    let run = |load, store| {
        let (body, target) = (body(load, store), "sm_90");
        Run { body: &body, target, device: ComputeCapability::Sm90, ..Run::default() }.try_run(&[], 32)
    };
    assert_eq!(run(matrix_load, matrix_store).unwrap().0, (100..132).collect::<Vec<u32>>());
    // Lane 0 has read what lane 4 gave.
    assert_eq!(run("ld.shared.u32 %r1, [%r4];", matrix_store).unwrap().0[0], 104);
    // A store of each lane for itself waits for nobody.
    let Err(Error::Violation(violation)) = run(matrix_load, "st.shared.u32 [%r4], %r1;") else {
        panic!("not noticed")
    };
    assert_eq!(violation.kind, ViolationKind::SharedRace);
}

#[test]
fn lanes_that_do_not_come_are_reported() {
    let split = "setp.lt.u32 %p0, %t, 16;\n@%p0 bra LOW;\nbra DONE;\nLOW:\n";
    let body = per_thread(&format!("{split}shfl.sync.bfly.b32 %r0, %t, 1, 31, {FULL};\nDONE:"));
    // The other half goes on to the end and exits: nobody is left to wait for, but lane 15 is fine: bfly 1 stays within.
    assert_eq!(Run { body: &body, ..Run::default() }.output(&[], 32)[0], 1);
    let body = per_thread(&format!(
        "{split}shfl.sync.bfly.b32 %r0, %t, 1, 31, {FULL};\nDONE:\nbar.warp.sync {FULL};"
    ));
    Run { body: &body, ..Run::default() }.expect(ViolationKind::AbsentLane, &[], 32);
}

#[test]
fn masks_are_checked() {
    let body = per_thread("shfl.sync.bfly.b32 %r0, %t, 1, 31, 0x0000ffff;");
    let violation = Run { body: &body, ..Run::default() }.expect(ViolationKind::LaneOutsideMask, &[], 32);
    assert_eq!(violation.thread.unwrap().lane, 16);
    let body = per_thread(
        "setp.eq.u32 %p0, %t, 3;\nselp.b32 %r1, 0x0fffffff, 0xffffffff, %p0;\n\
         vote.sync.ballot.b32 %r0, 1, %r1;",
    );
    Run { body: &body, ..Run::default() }.expect(ViolationKind::DivergentMask, &[], 32);
    let body = per_thread("setp.lt.u32 %p0, %t, 16;\n@%p0 shfl.sync.idx.b32 %r0, %t, 20, 31, 0x0000ffff;");
    Run { body: &body, ..Run::default() }.expect(ViolationKind::InactiveSource, &[], 32);
}
