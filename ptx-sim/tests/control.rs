//! Branches, loops, divergence, calls and exits.

use ptx_sim::ViolationKind;

use crate::run::{Run, per_thread, warp};

#[test]
fn branches_part_and_meet() {
    let output = warp(
        "setp.lt.u32 %p0, %t, 10;\n@%p0 bra LOW;\nmov.u32 %r0, 200;\nbra DONE;\nLOW:\nmov.u32 %r0, 100;\nDONE:\n\
         activemask.b32 %r1;\nsetp.eq.u32 %p1, %r1, 0xffffffff;\n@%p1 add.u32 %r0, %r0, 1;",
    );
    let expected: Vec<u32> = (0..32).map(|tid| if tid < 10 { 101 } else { 201 }).collect();
    assert_eq!(output, expected);
}

#[test]
fn loops_run_as_often_as_each_lane_says() {
    let output = warp(
        "mov.u32 %r1, 0;\nLOOP:\nsetp.ge.u32 %p0, %r1, %t;\n@%p0 bra DONE;\nadd.u32 %r0, %r0, %r1;\n\
         add.u32 %r1, %r1, 1;\nbra LOOP;\nDONE:",
    );
    let expected: Vec<u32> = (0..32u32).map(|tid| (0..tid).sum()).collect();
    assert_eq!(output, expected);
}

#[test]
fn code_behind_its_meeting_point_meets_there() {
    // The odd lanes' block stands behind the block where both meet, which a shuffle of all lanes needs.
    let output = warp(
        "and.b32 %r1, %t, 1;\nsetp.eq.u32 %p0, %r1, 1;\n@%p0 bra ODD;\nmov.u32 %r2, 7;\nMEET:\n\
         shfl.sync.bfly.b32 %r0, %r2, 1, 31, 0xffffffff;\nbra DONE;\nODD:\nmov.u32 %r2, 9;\nbra MEET;\nDONE:",
    );
    assert_eq!(output, (0..32).map(|tid| if tid % 2 == 0 { 9 } else { 7 }).collect::<Vec<u32>>());
}

#[test]
fn a_lock_between_lanes_of_a_warp_is_not_a_livelock() {
    for seed in 0..20 {
        let run = Run {
            seed,
            body: &per_thread(
                ".shared .align 4 .b32 lock;\n.shared .align 4 .b32 counter;\n\
                 setp.eq.u32 %p0, %t, 0;\n@%p0 st.shared.u32 [lock], 0;\n@%p0 st.shared.u32 [counter], 0;\n\
                 bar.warp.sync 0xffffffff;\n\
                 TRY:\natom.acquire.cta.shared.cas.b32 %r1, [lock], 0, 1;\nsetp.ne.u32 %p1, %r1, 0;\n@%p1 bra TRY;\n\
                 ld.shared.u32 %r0, [counter];\nadd.u32 %r0, %r0, 1;\nst.shared.u32 [counter], %r0;\n\
                 atom.release.cta.shared.exch.b32 %r2, [lock], 0;",
            ),
            ..Run::default()
        };
        let mut output = run.output(&[], 32);
        output.sort_unstable();
        assert_eq!(output, (1..=32).collect::<Vec<u32>>(), "seed {seed}");
    }
}

#[test]
fn indexed_branches_go_where_the_table_says() {
    let output = warp(
        "and.b32 %r1, %t, 3;\nTABLE: .branchtargets A, B, C, D;\nbrx.idx %r1, TABLE;\n\
         A: mov.u32 %r0, 10;\nbra DONE;\nB: mov.u32 %r0, 20;\nbra DONE;\nC: mov.u32 %r0, 30;\nbra DONE;\n\
         D: mov.u32 %r0, 40;\nDONE:",
    );
    assert_eq!(output, (0..32).map(|tid| 10 * (tid % 4 + 1)).collect::<Vec<u32>>());
    let body = per_thread("TABLE: .branchtargets A, B;\nbrx.idx %t, TABLE;\nA:\nB:");
    let violation = Run { body: &body, ..Run::default() }.expect(ViolationKind::InvalidOperand, &[], 32);
    assert_eq!(violation.thread.unwrap().lane, 2);
}

#[test]
fn threads_that_exit_leave_the_others_alone() {
    let body = per_thread(
        "setp.ge.u32 %p0, %t, 20;\n@%p0 exit;\nmov.u32 %r0, 5;\nbar.sync 0;\n\
         vote.sync.ballot.b32 %r1, 1, 0xffffffff;\nadd.u32 %r0, %r0, %r1;",
    );
    let output = Run { body: &body, ..Run::default() }.output(&[], 20);
    assert_eq!(output, vec![5 + 0xf_ffff; 20]);
}

#[test]
fn a_grid_has_all_its_threads() {
    let body = ".reg .b32 %r<8>;\n.reg .b64 %a;\nmov.u32 %r0, %ctaid.x;\nmov.u32 %r1, %ntid.x;\nmov.u32 %r2, %tid.x;\n\
                mad.lo.u32 %r3, %r0, %r1, %r2;\nmul.wide.u32 %a, %r3, 4;\nadd.s64 %a, %a, %out;\n\
                mov.u32 %r4, %laneid;\nmov.u32 %r5, %warpid;\nmad.lo.u32 %r6, %r5, 100, %r4;\n\
                mad.lo.u32 %r6, %r0, 10000, %r6;\nst.global.u32 [%a], %r6;";
    let output = Run { body, grid: 5, block: 70, ..Run::default() }.output(&[], 350);
    for (i, value) in output.iter().enumerate() {
        let (block, thread) = (i / 70, i % 70);
        assert_eq!(*value as usize, block * 10000 + thread / 32 * 100 + thread % 32);
    }
}

#[test]
fn loops_without_end_are_stopped() {
    let body = "LOOP:\nbra LOOP;";
    let violation = Run { body, ..Run::default() }.expect(ViolationKind::InstructionLimit, &[], 1);
    assert_eq!(violation.location.unwrap().instruction, "bra");
}

#[test]
fn traps_are_reported_with_their_thread() {
    let body = per_thread("setp.eq.u32 %p0, %t, 17;\n@%p0 trap;");
    let violation = Run { body: &body, ..Run::default() }.expect(ViolationKind::Trap, &[], 32);
    let thread = violation.thread.unwrap();
    assert_eq!((thread.thread, thread.lane, thread.warp), ([17, 0, 0], 17, 0));
}
