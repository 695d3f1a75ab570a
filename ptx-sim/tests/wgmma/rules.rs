//! What `wgmma` may not be used for, and what it must not be reported for.

use super::*;

const FENCE: &str = "wgmma.fence.sync.aligned;\n";
const COMMIT: &str = "wgmma.commit_group.sync.aligned;\n";
const WAIT: &str = "wgmma.wait_group.sync.aligned 0;\n";

fn multiply() -> String {
    small().instruction() + "\n"
}

/// Requires that nothing is reported, under several seeds; D.
#[track_caller]
fn harmless(case: &Case, body: &str) -> Vec<i32> {
    let kernel = case.kernel(body);
    let c = vec![1; 64 * case.n];
    let mut outputs: Vec<Vec<i32>> = (0..4)
        .map(|seed| match case.run(&kernel, seed, &mixed(3), &mixed(2), &c) {
            Ok((output, _)) => output,
            Err(violation) => panic!("{violation}\n{body}"),
        })
        .collect();
    let first = outputs.remove(0);
    outputs.iter().for_each(|other| assert_eq!(*other, first));
    first
}

#[track_caller]
fn registers(body: &str, words: &str) {
    let violation = reported(&small(), body, ViolationKind::WgmmaRegisters);
    assert!(violation.message.contains(words), "{violation}");
}

#[test]
fn accumulators_are_not_touched_before_the_wait() {
    let m = multiply();
    registers(
        &format!("{FENCE}{m}{COMMIT}add.f32 %f0, %d2, %d2;\n{WAIT}").replace(".f32 %f0", ".u32 %r12"),
        "register 2 of the accumulators",
    );
    registers(&format!("{FENCE}{m}{COMMIT}add.u32 %d1, %r0, 1;\n{WAIT}"), "is written before");
    // A store to memory reads as well.
    registers(&format!("{FENCE}{m}{COMMIT}"), "is read before");
    // The group was not committed.
    registers(&format!("{FENCE}{m}{WAIT}"), "is read before");
    // One group too many may be pending.
    registers(&format!("{FENCE}{m}{COMMIT}wgmma.wait_group.sync.aligned 1;\n"), "is read before");
    // The rest of the registers are free.
    harmless(&small(), &format!("{FENCE}{m}{COMMIT}add.u32 %r12, %r0, 1;\n{WAIT}"));
}

#[test]
fn matrix_a_is_not_written_before_the_wait() {
    let m = multiply();
    registers(&format!("{FENCE}{m}{COMMIT}add.u32 %a3, %r0, 1;\n{WAIT}"), "register 3 of the matrix A");
    // Read neither, as the ISA says.
    registers(&format!("{FENCE}{m}{COMMIT}add.u32 %r12, %a0, 1;\n{WAIT}"), "register 0 of the matrix A");
    harmless(&small(), &format!("{FENCE}{m}{COMMIT}{WAIT}add.u32 %a3, %a0, 1;\n"));
}

#[test]
fn moves_take_the_marks_along() {
    let m = multiply();
    let copies: String = (0..4).map(|i| format!("mov.b32 %e{i}, %d{i};\n")).collect();
    let back: String = (0..4).map(|i| format!("mov.b32 %d{i}, %e{i};\n")).collect();
    let on_copies = m.replace("{%d0, %d1, %d2, %d3}", "{%e0, %e1, %e2, %e3}");
    let twice = harmless(&small(), &format!("{FENCE}{m}{m}{COMMIT}{WAIT}"));
    let moved = harmless(&small(), &format!("{FENCE}{m}{copies}{on_copies}{back}{COMMIT}{WAIT}"));
    assert_eq!(twice, moved);
    registers(
        &format!("{FENCE}{m}{COMMIT}{copies}add.u32 %r12, %e1, 1;\n{WAIT}"),
        "register 1 of the accumulators",
    );
    // What was moved away may be written.
    harmless(&small(), &format!("{FENCE}{m}{COMMIT}{copies}add.u32 %d0, %r0, 1;\n{WAIT}{back}"));
}

#[test]
fn accumulators_of_one_shape_are_handed_on() {
    let m = multiply();
    harmless(&small(), &format!("{FENCE}{m}{COMMIT}{m}{COMMIT}{WAIT}"));
    // And after a fence of the next step, with one group pending.
    let pending = "wgmma.wait_group.sync.aligned 1;\n";
    harmless(&small(), &format!("{FENCE}{m}{COMMIT}{pending}{FENCE}{m}{COMMIT}{pending}{WAIT}"));
    // Another shape is another order of writes.
    let other = m.replace("bf16.bf16", "f16.f16");
    registers(&format!("{FENCE}{m}{other}{COMMIT}{WAIT}"), "only accumulators of one shape");
    // The same A, twice.
    let on_e = m.replace("{%d0, %d1, %d2, %d3}", "{%e0, %e1, %e2, %e3}");
    let zero: String = (0..4).map(|i| format!("mov.b32 %e{i}, 0;\n")).collect();
    harmless(&small(), &format!("{zero}{FENCE}{m}{on_e}{COMMIT}{WAIT}"));
    // D of one as A of the next.
    let chained = on_e.replace("{%a0, %a1, %a2, %a3}", "{%d0, %d1, %d2, %d3}");
    registers(&format!("{zero}{FENCE}{m}{chained}{COMMIT}{WAIT}"), "accumulators");
}

#[test]
fn written_registers_need_a_fence() {
    let m = multiply();
    registers(&format!("{m}{COMMIT}{WAIT}"), "without a wgmma.fence before the warp's first");
    registers(&format!("{FENCE}add.u32 %d1, %d1, 0;\n{m}{COMMIT}{WAIT}"), "register 1 of the accumulators");
    registers(&format!("{FENCE}add.u32 %a2, %a2, 0;\n{m}{COMMIT}{WAIT}"), "register 2 of matrix A");
    // Through a move.
    registers(
        &format!("{FENCE}add.u32 %r12, %d1, 0;\nmov.b32 %d1, %r12;\n{m}{COMMIT}{WAIT}"),
        "register 1 of the accumulators",
    );
    harmless(&small(), &format!("add.u32 %d1, %d1, 0;\n{FENCE}{m}{COMMIT}{WAIT}"));
    // Compilers put the zeros that an accumulation starts from behind the fence.
    let zero: String = (0..4).map(|i| format!("mov.f32 %d{i}, 0f00000000;\n")).collect();
    harmless(&small(), &format!("{FENCE}{zero}{m}{COMMIT}{WAIT}"));
    // Reading in between needs none.
    harmless(&small(), &format!("{FENCE}{m}{COMMIT}{WAIT}add.u32 %r12, %d0, %d1;\n{m}{COMMIT}{WAIT}"));
}

#[test]
fn shared_memory_is_not_written_before_the_wait() {
    let m = multiply();
    let store = "mov.u32 %r12, tile;\nst.shared.b32 [%r12], %r0;\n";
    let leader = "setp.eq.u32 %p1, %r0, 64;\n@%p1 st.shared.b32 [%r12], %r0;\n";
    reported(
        &small(),
        &format!("{FENCE}{m}{COMMIT}{store}{WAIT}").replace(store, &format!("mov.u32 %r12, tile;\n{leader}")),
        ViolationKind::AsyncCopyRace,
    );
    // Warp 2 may store after its own wait: all warps have issued, and all operands have been read.
    harmless(&small(), &format!("{FENCE}{m}{COMMIT}{WAIT}mov.u32 %r12, tile;\n{leader}"));
}

#[test]
fn the_proxy_fence_is_needed() {
    let case = small();
    let kernel = case.plain_kernel().replace("fence.proxy.async;\n", "");
    for seed in 0..4 {
        let violation = case.run(&kernel, seed, &mixed(3), &mixed(2), &[0; 512]).unwrap_err();
        assert_eq!(violation.kind, ViolationKind::MissingProxyFence, "{violation}");
    }
    let kernel = case.plain_kernel().replace("bar.sync 0;\n", "");
    for seed in 0..4 {
        let violation = case.run(&kernel, seed, &mixed(3), &mixed(2), &[0; 512]).unwrap_err();
        assert_eq!(violation.kind, ViolationKind::SharedRace, "{violation}");
    }
}

#[test]
fn descriptors_are_checked() {
    let m = multiply();
    let with = |bits: u64| format!("or.b64 %descb, %descb, {};\n{FENCE}{m}{COMMIT}{WAIT}", bits as i64);
    for bit in [14, 30, 46, 52, 61] {
        let violation = reported(&small(), &with(1 << bit), ViolationKind::InvalidOperand);
        assert!(violation.message.contains("reserved bits"), "{violation}");
    }
    let far = format!("or.b64 %descb, %descb, 0x3f00;\n{FENCE}{m}{COMMIT}{WAIT}");
    reported(&small(), &far, ViolationKind::OutOfBounds);
    let by_lane = format!("cvt.u64.u32 %rd9, %r0;\nadd.s64 %descb, %descb, %rd9;\n{FENCE}{m}{COMMIT}{WAIT}");
    reported(&small(), &by_lane, ViolationKind::InvalidOperand);
    let by_warp = format!(
        "shr.u32 %r12, %r0, 5;\nshl.b32 %r12, %r12, 4;\ncvt.u64.u32 %rd9, %r12;\nadd.s64 %descb, %descb, %rd9;\n\
         {FENCE}{m}{COMMIT}{WAIT}"
    );
    let violation = reported(&small(), &by_warp, ViolationKind::DivergentWarp);
    assert!(violation.message.contains("descriptors"), "{violation}");
}

#[test]
fn all_warps_of_a_warpgroup_take_part() {
    let m = multiply();
    // Warp 3 goes another way.
    let body = format!("{FENCE}setp.ge.u32 %p1, %r0, 96;\n@%p1 bra OVER;\n{m}{COMMIT}{WAIT}OVER:\n");
    let violation = reported(&small(), &body, ViolationKind::DivergentWarp);
    assert!(violation.message.contains("has exited"), "{violation}");
    let body = format!(
        "{FENCE}setp.ge.u32 %p1, %r0, 96;\n@%p1 bra OTHER;\n{m}bra JOIN;\nOTHER:\n{m}JOIN:\n{COMMIT}{WAIT}"
    );
    let violation = reported(&small(), &body, ViolationKind::DivergentWarp);
    assert!(violation.message.contains("different wgmma"), "{violation}");
    // Half a warp.
    let body = format!("{FENCE}setp.ge.u32 %p1, %r0, 80;\n@%p1 bra OVER;\n{m}OVER:\n{COMMIT}{WAIT}");
    reported(&small(), &body, ViolationKind::DivergentWarp);
}

#[test]
fn blocks_without_whole_warpgroups() {
    let body = format!(
        ".reg .b32 %d<4>, %a<4>;\n.reg .b64 %descb;\n.reg .pred %scale;\nsetp.eq.u32 %scale, 1, 1;\nmov.u64 %descb, 64;\n\
         {FENCE}{}",
        multiply()
    );
    for block in [32, 96] {
        let run =
            Run { body: &body, block, target: "sm_90a", device: ComputeCapability::Sm90, ..Run::default() };
        let violation = run.expect(ViolationKind::InvalidOperand, &[], 1);
        assert!(violation.message.contains("four whole warps"), "{violation}");
    }
}

#[test]
fn unknown_forms_are_refused() {
    for (from, to, reason) in [
        ("mma_async.sync", "mma_async.sp.sync", "sparse"),
        ("m64n8k16", "m64n12k16", "no form"),
        ("m64n8k16", "m64n264k16", "no form"),
        ("m64n8k16", "m64n8k32", "no form"),
        ("f32.bf16", "f16.bf16", "no form"),
        ("bf16.bf16", "bf16.f16", "no form"),
        ("%scale, 1, 1, 0", "%scale, 1, 0, 0", "1 or -1"),
        ("%scale, 1, 1, 0", "%scale, 1, 1, 2", "0 or 1"),
        ("%scale, 1, 1, 0", "%scale, 1, 1", "are expected behind scale-d"),
        ("{%d0, %d1, %d2, %d3}", "{%d0, %d1}", "4 are expected"),
    ] {
        let instruction = small().instruction();
        assert!(instruction.contains(from), "{instruction}");
        let kernel = small().kernel(&instruction.replace(from, to));
        let run = Run {
            body: &kernel,
            block: 128,
            target: "sm_90a",
            device: ComputeCapability::Sm90,
            ..Run::default()
        };
        let error = run.try_run(&[0; 4096], 512).expect_err(to).to_string();
        assert!(error.contains(reason), "{to}: {error}");
    }
}
