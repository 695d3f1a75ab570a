//! What is reported.

use ptx_sim::ViolationKind::{
    AsyncCopyRace, Deadlock, GlobalRace, InvalidOperand, MbarrierMisuse, Misaligned, MissingProxyFence,
    OutOfBounds, SharedRace, UninitializedGlobal, UninitializedShared,
};
use ptx_sim::{TensorMap, TensorType};

use super::{Kernel, WAIT, dump, fill};

/// A load of `bytes` bytes of which `expected` are announced; then `after`.
fn load(expected: u32, bytes: u32, after: &str) -> String {
    format!(
        "@!%first bra AFTER;\nmbarrier.arrive.expect_tx.shared::cta.b64 _, [bar], {expected};\n\
         cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%tile], [%in], {bytes}, [bar];\n\
         AFTER:\n{after}"
    )
}

#[test]
fn the_bytes_announced_must_be_those_that_come() {
    let body = load(512, 256, &format!("{WAIT}{}", dump(256)));
    Kernel { body: &body, ..Kernel::default() }.fails(Deadlock, "all 2 live warps wait");
    // Fewer: the phase completes when it is not all there, or never.
    let body = load(128, 256, &format!("{WAIT}{}", dump(256)));
    for seed in super::SEEDS {
        Kernel { body: &body, ..Kernel::default() }.try_run(seed).unwrap_err();
    }
}

#[test]
fn a_tile_must_be_waited_for() {
    let body = load(256, 256, &format!("bar.sync 0;\n{}", dump(256)));
    Kernel { body: &body, ..Kernel::default() }.fails(AsyncCopyRace, "its wait is missing");
    let body = load(256, 256, "@%first st.shared.u32 [%tile], 0;");
    Kernel { body: &body, ..Kernel::default() }.fails(AsyncCopyRace, "its wait is missing");
    // Nobody waits at all.
    let body = load(256, 256, "");
    Kernel { body: &body, ..Kernel::default() }.fails(AsyncCopyRace, "exits without having waited");
}

#[test]
fn two_loads_to_one_stage_race() {
    let body = load(
        512,
        256,
        &format!(
            "@%first cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%tile], [%in+512], 256, [bar];\n{WAIT}"
        ),
    );
    Kernel { body: &body, ..Kernel::default() }.fails(AsyncCopyRace, "its wait is missing");
}

#[test]
fn a_tile_that_is_still_read_must_not_be_loaded() {
    // The second half of the threads reads what the first load brought, while the next one is issued.
    let body = load(
        256,
        256,
        &format!(
            "{WAIT}add.u32 %r0, %tile, %t;\nld.shared.u8 %h0, [%r0];\n@!%first bra END;\n\
             mbarrier.arrive.expect_tx.shared::cta.b64 _, [bar], 256;\n\
             cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%tile], [%in], 256, [bar];\n\
             AGAIN: mbarrier.try_wait.parity.shared::cta.b64 %p0, [bar], 1;\n@!%p0 bra AGAIN;\nEND:"
        ),
    );
    Kernel { body: &body, ..Kernel::default() }.fails(SharedRace, "no synchronisation orders");
}

fn store(before: &str, after: &str) -> String {
    format!(
        "{before}@!%first bra AFTER;\ncp.async.bulk.global.shared::cta.bulk_group [%out], [%tile], 256;\n\
         cp.async.bulk.commit_group;\nAFTER:\n{after}"
    )
}

#[test]
fn a_source_must_not_be_overwritten_before_it_has_been_read() {
    let body = store(&fill(256), "bar.sync 0;\nadd.u32 %r0, %tile, %t;\nst.shared.u8 [%r0], 0;");
    Kernel { body: &body, ..Kernel::default() }.fails(AsyncCopyRace, "may still read: its wait is missing");
    // A wait for all groups but one is none for the only one, and one by another thread is none for this one's.
    let body =
        store(&fill(256), "@%first cp.async.bulk.wait_group.read 1;\n@%first st.shared.u32 [%tile], 0;");
    Kernel { body: &body, ..Kernel::default() }.fails(AsyncCopyRace, "may still read");
    let body = store(
        &fill(256),
        "setp.eq.u32 %p0, %t, 1;\n@%p0 cp.async.bulk.wait_group 0;\nbar.sync 0;\n@%p0 st.shared.u32 [%tile], 0;",
    );
    Kernel { body: &body, ..Kernel::default() }.fails(AsyncCopyRace, "may still read");
}

/// A source that is overwritten too early is a wrong result where the copy happens to be late.
#[test]
fn what_is_reported_also_shows_in_the_values() {
    let body = store(
        &fill(256),
        "bar.sync 0;\nshl.b32 %r0, %t, 2;\nadd.u32 %r0, %r0, %tile;\nst.shared.u32 [%r0], 0;",
    );
    let kernel = Kernel { body: &body, racy: true, ..Kernel::default() };
    let outputs: Vec<_> = (0..16).map(|seed| kernel.try_run(seed).unwrap().0[..256].to_vec()).collect();
    assert_eq!(outputs[0], [0; 256]);
    assert!(outputs.iter().any(|output| *output == kernel.input[..256]));
    // Between the wait for its reads and the end nothing of it is there.
    let body = store(
        &fill(256),
        "@!%first bra END;\ncp.async.bulk.wait_group.read 0;\nld.global.u32 %r0, [%out];\nst.global.u32 [%out+256], %r0;\nEND:",
    );
    let kernel = Kernel { body: &body, racy: true, ..Kernel::default() };
    let early: Vec<_> = (0..16).map(|seed| kernel.try_run(seed).unwrap().0[256..260].to_vec()).collect();
    assert_eq!(early[0], kernel.output[..4]);
    assert!(early.iter().any(|word| *word == kernel.input[..4]));
}

#[test]
fn a_result_must_be_waited_for_before_it_is_read() {
    let body = store(
        &fill(256),
        "@%first cp.async.bulk.wait_group.read 0;\nbar.sync 0;\nld.global.u32 %r0, [%out];",
    );
    Kernel { body: &body, ..Kernel::default() }.fails(AsyncCopyRace, "has yet to write: its wait is missing");
}

#[test]
fn the_proxies_must_be_fenced() {
    let unfenced = fill(256).replace("fence.proxy.async.shared::cta;\n", "");
    let body = store(&unfenced, "");
    Kernel { body: &body, ..Kernel::default() }.fails(MissingProxyFence, "fence.proxy.async is missing");
    let body = format!("st.shared.u8 [%tile], 0;\nbar.sync 0;\n{}", load(256, 256, WAIT));
    let body = body.replacen("st.shared", "@%first st.shared", 1);
    Kernel { body: &body, ..Kernel::default() }.fails(MissingProxyFence, "fence.proxy.async is missing");
    // Fenced, but not ordered.
    let unordered = fill(256).replace("bar.sync 0;\n", "");
    let body = store(&unordered, "");
    Kernel { body: &body, ..Kernel::default() }.fails(SharedRace, "no synchronisation orders");
}

#[test]
fn two_stores_to_one_place_race_and_two_sums_do_not() {
    let twice = |instruction: &str| {
        format!(
            "{}and.b32 %r0, %t, 31;\nsetp.eq.u32 %p0, %r0, 0;\n@!%p0 bra END;\n{instruction} [%out], [%tile], 256;\n\
             cp.async.bulk.commit_group;\nEND:",
            fill(256)
        )
    };
    let body = twice("cp.async.bulk.global.shared::cta.bulk_group");
    for seed in super::SEEDS {
        let kernel = Kernel { body: &body, ..Kernel::default() };
        let Err(ptx_sim::Error::Violation(violation)) = kernel.try_run(seed) else { panic!("not noticed") };
        assert!(matches!(violation.kind, AsyncCopyRace | GlobalRace), "{violation}");
    }
    let body = twice("cp.reduce.async.bulk.global.shared::cta.bulk_group.add.u32");
    Kernel { body: &body, ..Kernel::default() }.output();
}

#[test]
fn sizes_and_addresses_are_checked() {
    for (copy, kind, message) in [
        ("[%tile], [%in], 0, [bar]", InvalidOperand, "a bulk copy of 0 bytes"),
        ("[%tile], [%in], 24, [bar]", InvalidOperand, "a bulk copy of 24 bytes"),
        ("[%tile+8], [%in], 256, [bar]", Misaligned, "shared memory of a bulk copy must be a multiple of 16"),
        ("[%tile], [%in+4], 256, [bar]", Misaligned, "global memory of a bulk copy must be a multiple of 16"),
        ("[%tile], [%in+3856], 256, [bar]", OutOfBounds, "the allocation of 4096 bytes"),
        ("[%tile], [%in], 0xfffffff0, [bar]", OutOfBounds, "a bulk copy of 4294967280 bytes"),
        ("[%tile+8192], [%in], 256, [bar]", OutOfBounds, "shared memory"),
        ("[%tile], [%in], 256, [bar+8]", MbarrierMisuse, "no mbarrier is initialised"),
        ("[%r9], [%in], 16, [bar]", MbarrierMisuse, "of the mbarrier object"),
        ("[%r8], [%in], 256, [bar]", InvalidOperand, "both must lie in the same block"),
    ] {
        let body = format!(
            "mov.u32 %r9, bar;\nadd.u32 %r8, %tile, 0x5000000;\n\
             @%first cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes {copy};"
        );
        Kernel { body: &body, ..Kernel::default() }.fails(kind, message);
    }
    for (instruction, kind, message) in [
        ("cp.async.bulk.prefetch.L2.global [%in+4], 16;", Misaligned, "multiple of 16"),
        ("cp.async.bulk.prefetch.L2.global [%in], 40;", InvalidOperand, "a bulk copy of 40 bytes"),
        (
            "cp.async.bulk.global.shared::cta.bulk_group [%out+4000], [%tile], 256;",
            OutOfBounds,
            "the allocation of 4096 bytes",
        ),
        (
            "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%tile], [%tile], 256, [bar];",
            InvalidOperand,
            "shared memory of another block",
        ),
        (
            "st.async.shared::cluster.mbarrier::complete_tx::bytes.u32 [%tile], %t, [bar];",
            InvalidOperand,
            "the cluster has one block",
        ),
    ] {
        let body = format!("{}@%first {instruction}", fill(256));
        Kernel { body: &body, ..Kernel::default() }.fails(kind, message);
    }
}

#[test]
fn tensor_maps_are_checked() {
    let tile = |map: &str, rest: &str| {
        format!(
            "mov.u64 %rd0, tile;\ncvta.shared.u64 %rd1, %rd0;\n@%first \
             cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes {rest}, [{map}, {{0, 0}}], [bar];"
        )
    };
    let fails = |body: &str, kind, message| {
        let map = |input: u64, _: u64| TensorMap::new(TensorType::U32, input, &[32, 32], &[128], &[8, 8]);
        Kernel { body, map: Some(&map), ..Kernel::default() }.fails(kind, message);
    };
    Kernel { body: &tile("%map", "[%tile]"), ..Kernel::default() }
        .fails(InvalidOperand, "tensor map: bytes is something else, expected an encoded tensor map");
    fails(&tile("%rd1", "[%tile]"), InvalidOperand, "a tensor map in shared or local memory");
    fails(&tile("%map+16", "[%tile]"), Misaligned, "a tensor map must be a multiple of 64");
    fails(&tile("%map+128", "[%tile]"), OutOfBounds, "of parameters that take");
    fails(&tile("%map", "[%tile+64]"), Misaligned, "must be a multiple of 128");
    fails(
        &tile("%map", "[%tile]").replace("0, 0}", "0, 0, 0}").replace("2d", "3d"),
        InvalidOperand,
        "3 coordinates",
    );
    // A tensor larger than its buffer, and a tile larger than shared memory.
    let body = tile("%map", "[%tile]");
    let map =
        |input: u64, _: u64| TensorMap::new(TensorType::U32, input + 4096 - 64, &[8, 8], &[32], &[8, 8]);
    Kernel { body: &body, map: Some(&map), ..Kernel::default() }
        .fails(OutOfBounds, "the allocation of 4096 bytes");
    let map = |input: u64, _: u64| TensorMap::new(TensorType::U64, input, &[8, 8], &[64], &[256, 256]);
    Kernel { body: &body, map: Some(&map), ..Kernel::default() }
        .fails(OutOfBounds, "a bulk copy of 524288 bytes");
    let body = "@%first cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%map, {0, -1}], [%tile];";
    fails(body, InvalidOperand, "coordinates of stores must not be negative");
    let body =
        "@%first cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.bulk_group [%map, {0, 0}], [%tile];";
    let map = |_: u64, output: u64| TensorMap::new(TensorType::S64, output, &[8, 8], &[64], &[8, 8]);
    Kernel { body, map: Some(&map), ..Kernel::default() }
        .fails(InvalidOperand, "no reduction Add of a tensor of s64");
}

#[test]
fn what_nothing_has_written_is_no_result() {
    // In shared memory: what a load brings from there is no more written than its source.
    let body = store("bar.sync 0;\n", "");
    Kernel { body: &body, ..Kernel::default() }.fails(UninitializedShared, "that nothing has written");
    let body = load(256, 256, &format!("{WAIT}{}", dump(256)));
    let kernel = Kernel { body: &body, reserved: true, ..Kernel::default() };
    kernel.fails(UninitializedShared, "is stored to global memory");
    let stored = "@%first cp.async.bulk.global.shared::cta.bulk_group [%out], [%tile], 256;";
    let body = load(256, 256, &format!("{WAIT}{stored}"));
    let kernel = Kernel { body: &body, reserved: true, ..Kernel::default() };
    kernel.fails(UninitializedShared, "byte 0 of 256 in shared memory that nothing has written");
    // It may be read, as rows past the end are.
    let body = load(256, 256, &format!("{WAIT}add.u32 %r0, %tile, %t;\nld.shared.u8 %h0, [%r0];"));
    Kernel { body: &body, reserved: true, ..Kernel::default() }.output();
    // In global memory, to which something is to be added.
    let body = format!(
        "{}@%first cp.reduce.async.bulk.global.shared::cta.bulk_group.add.u32 [%in], [%tile], 256;",
        fill(256).replace("%in", "%out")
    );
    let kernel = Kernel { body: &body, reserved: true, ..Kernel::default() };
    kernel.fails(UninitializedGlobal, "a reduction on global memory that nothing has written");
    // As an operand.
    let body = "ld.shared.u32 %r0, [%tile];\nadd.u32 %r1, %r0, %tile;\n@%first \
                cp.async.bulk.global.shared::cta.bulk_group [%out], [%r1], 256;";
    Kernel { body, ..Kernel::default() }.fails(UninitializedShared, "is an operand of an asynchronous copy");
}

#[test]
fn what_is_not_executed_is_refused_by_name() {
    for (instruction, reason) in [
        (
            "cp.async.bulk.tensor.3d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%tile], [%map, {0, 0, 0}], \
             [bar], {%h0};",
            "the mode .im2col is not supported",
        ),
        (
            "cp.async.bulk.tensor.2d.shared::cta.global.tile::gather4.mbarrier::complete_tx::bytes [%tile], \
             [%map, {0, 0, 0, 0, 0}], [bar];",
            ".tile::gather4 needs compute capability 10.0",
        ),
        (
            "cp.async.bulk.tensor.2d.global.shared::cta.tile::scatter4.bulk_group [%map, {0, 0, 0, 0, 0}], [%tile];",
            ".tile::scatter4 needs compute capability 10.0",
        ),
        ("cp.async.bulk.global.global.bulk_group [%out], [%in], 16;", "no such copy"),
        ("cp.async.bulk.shared::cta.global.bulk_group [%tile], [%in], 16;", "no such copy"),
        (
            "cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%map, {0}], [%tile];",
            "2 coordinates are expected, 1 are there",
        ),
        (
            "cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f16 [%out], [%tile], 16;",
            ".noftz belongs to sums of .f16 and .bf16",
        ),
        (
            "cp.reduce.async.bulk.global.shared::cta.bulk_group.add.s64 [%out], [%tile], 16;",
            "no reduction Add of S64",
        ),
        (
            "cp.async.bulk.global.shared::cta.bulk_group.cp_mask [%out], [%tile], 16, 1;",
            ".cp_mask needs compute capability 10.0",
        ),
        ("cp.async.bulk.wait_group %r0;", "an immediate number of groups"),
        ("cp.async.bulk.global.shared::cta.bulk_group [%out], [%tile], 16, %rd0;", "1 operands too many"),
        ("st.async.release.gpu.global.u32 [%out], %r0;", "need compute capability 10.0"),
        ("st.bulk.weak.shared::cta [%rd0], 16, 0;", "st.bulk needs compute capability 10.0"),
    ] {
        Kernel { body: instruction, ..Kernel::default() }.refused(reason);
    }
    let body = "cp.async.bulk.commit_group;";
    Kernel { body, target: "sm_80", ..Kernel::default() }.refused("it needs compute capability 9.0");
}
