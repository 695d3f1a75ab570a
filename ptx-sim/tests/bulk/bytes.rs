//! Copies of bytes that follow each other.

use ptx_sim::ViolationKind;

use super::{Kernel, WAIT, dump, fill};

#[test]
fn a_load_arrives_when_its_mbarrier_has_been_waited_for() {
    for (form, arguments) in [
        ("shared::cluster.global.mbarrier::complete_tx::bytes", ""),
        ("shared::cta.global.mbarrier::complete_tx::bytes", ""),
        ("shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint", ", %rd0"),
    ] {
        let body = format!(
            "mov.u64 %rd0, 0;\n@!%first bra WAIT;\n\
             mbarrier.arrive.expect_tx.shared::cta.b64 _, [bar], 512;\nadd.s64 %rd1, %in, 16;\n\
             cp.async.bulk.{form} [%tile], [%rd1], 256, [bar]{arguments};\nadd.u32 %r0, %tile, 256;\n\
             mov.u32 %r1, bar;\ncp.async.bulk.{form} [%r0], [%in+1024], 256, [%r1]{arguments};\n{WAIT}{}",
            dump(512)
        );
        let kernel = Kernel { body: &body, ..Kernel::default() };
        let mut expected = kernel.output.clone();
        expected[..256].copy_from_slice(&kernel.input[16..272]);
        expected[256..512].copy_from_slice(&kernel.input[1024..1280]);
        assert_eq!(kernel.output(), expected, "{form}");
    }
}

/// Two stages that are loaded again and again, each when all have read it.
#[test]
fn stages_are_used_in_turn() {
    let body = "@%first mbarrier.init.shared::cta.b64 [bar+8], 1;\n@%first mbarrier.init.shared::cta.b64 [bar+16], 64;\n\
                @%first mbarrier.init.shared::cta.b64 [bar+24], 64;\n@%first fence.mbarrier_init.release.cluster;\n\
                bar.sync 0;\nmov.u32 %r0, 0;\nmov.u32 %r9, bar;\nLOOP:\nand.b32 %r1, %r0, 1;\nshr.u32 %r2, %r0, 1;\n\
                and.b32 %r2, %r2, 1;\nshl.b32 %r3, %r1, 3;\nadd.u32 %r3, %r3, %r9;\nshl.b32 %r4, %r1, 8;\n\
                add.u32 %r4, %r4, %tile;\nshl.b32 %r5, %r0, 8;\ncvt.u64.u32 %rd0, %r5;\nadd.s64 %rd1, %rd0, %in;\n\
                @!%first bra FULL;\nxor.b32 %r6, %r2, 1;\n\
                EMPTY: mbarrier.try_wait.parity.shared::cta.b64 %p0, [%r3+16], %r6;\n@!%p0 bra EMPTY;\n\
                mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r3], 256;\n\
                cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r4], [%rd1], 256, [%r3];\n\
                FULL: mbarrier.try_wait.parity.shared::cta.b64 %p0, [%r3], %r2;\n@!%p0 bra FULL;\n\
                shl.b32 %r7, %t, 2;\nadd.u32 %r8, %r4, %r7;\nld.shared.u32 %r8, [%r8];\n\
                mbarrier.arrive.shared::cta.b64 _, [%r3+16];\ncvt.u64.u32 %rd2, %r7;\nadd.s64 %rd2, %rd2, %rd0;\n\
                add.s64 %rd2, %rd2, %out;\nst.global.u32 [%rd2], %r8;\nadd.u32 %r0, %r0, 1;\nsetp.lt.u32 %p1, %r0, 16;\n\
                @%p1 bra LOOP;";
    let kernel = Kernel { body, ..Kernel::default() };
    assert_eq!(kernel.output(), kernel.input);
}

#[test]
fn a_store_is_complete_when_its_group_has_been_waited_for() {
    let body = format!(
        "{}@!%first bra END;\nadd.s64 %rd0, %out, 128;\n\
         cp.async.bulk.global.shared::cta.bulk_group [%rd0], [%tile], 512;\ncp.async.bulk.commit_group;\n\
         cp.async.bulk.wait_group 0;\nld.global.u32 %r0, [%rd0+4];\nst.global.u32 [%out], %r0;\nEND:",
        fill(512)
    );
    let kernel = Kernel { body: &body, ..Kernel::default() };
    let mut expected = kernel.output.clone();
    expected[128..640].copy_from_slice(&kernel.input[..512]);
    expected[..4].copy_from_slice(&kernel.input[4..8]);
    assert_eq!(kernel.output(), expected);
}

/// One buffer, filled anew when its last contents have been read; nobody waits for the last copies.
#[test]
fn a_source_may_be_overwritten_when_it_has_been_read() {
    let mut body = String::from(
        "shl.b32 %r0, %t, 2;\ncvt.u64.u32 %rd0, %r0;\nadd.s64 %rd0, %rd0, %in;\nadd.u32 %r1, %r0, %tile;\n",
    );
    for tile in 0..8 {
        let at = 256 * tile;
        body += &format!(
            "ld.global.u32 %r2, [%rd0+{at}];\nst.shared.u32 [%r1], %r2;\nfence.proxy.async;\nbar.sync 0;\n\
             @!%first bra NEXT{tile};\ncp.async.bulk.global.shared::cta.bulk_group [%out+{at}], [%tile], 256;\n\
             cp.async.bulk.commit_group;\ncp.async.bulk.wait_group.read 0;\nNEXT{tile}:\nbar.sync 0;\n"
        );
    }
    let kernel = Kernel { body: &body, ..Kernel::default() };
    let mut expected = kernel.output.clone();
    expected[..2048].copy_from_slice(&kernel.input[..2048]);
    assert_eq!(kernel.output(), expected);
}

/// Two buffers: only all groups but the last have to be waited for.
#[test]
fn older_groups_complete_before_younger_ones() {
    let mut body = String::from(
        "shl.b32 %r0, %t, 2;\ncvt.u64.u32 %rd0, %r0;\nadd.s64 %rd0, %rd0, %in;\nadd.u32 %r1, %r0, %tile;\n",
    );
    for tile in 0..8 {
        let (at, stage) = (256 * tile, 256 * (tile % 2));
        body += &format!(
            "@%first cp.async.bulk.wait_group.read 1;\nbar.sync 0;\n\
             ld.global.u32 %r2, [%rd0+{at}];\nst.shared.u32 [%r1+{stage}], %r2;\nfence.proxy.async;\nbar.sync 0;\n\
             @!%first bra NEXT{tile};\nadd.u32 %r3, %tile, {stage};\n\
             cp.async.bulk.global.shared::cta.bulk_group [%out+{at}], [%r3], 256;\n\
             cp.async.bulk.commit_group;\nNEXT{tile}:\n"
        );
    }
    let kernel = Kernel { body: &body, ..Kernel::default() };
    let mut expected = kernel.output.clone();
    expected[..2048].copy_from_slice(&kernel.input[..2048]);
    assert_eq!(kernel.output(), expected);
}

#[test]
fn reductions_combine_with_what_is_there() {
    /// An operation with its type, the bytes of an element, and what it makes of an old value and another.
    type Case = (&'static str, usize, fn(u64, u64) -> u64);
    let f32_sum = |a: u64, b: u64| {
        let flushed = |bits: u64| {
            let value = f32::from_bits(bits as u32);
            if value.is_subnormal() { 0f32.copysign(value) } else { value }
        };
        let sum = flushed(a) + flushed(b);
        let sum = if sum.is_subnormal() { 0f32.copysign(sum) } else { sum };
        if sum.is_nan() { 0x7fff_ffff } else { sum.to_bits().into() }
    };
    let cases: &[Case] = &[
        ("add.u32", 4, |a, b| (a as u32).wrapping_add(b as u32).into()),
        ("add.s32", 4, |a, b| (a as u32).wrapping_add(b as u32).into()),
        ("add.u64", 8, u64::wrapping_add),
        ("add.f32", 4, f32_sum),
        ("min.u32", 4, u64::min),
        ("max.s32", 4, |a, b| (a as i32).max(b as i32) as u32 as u64),
        ("max.s64", 8, |a, b| (a as i64).max(b as i64) as u64),
        ("inc.u32", 4, |a, b| if a >= b { 0 } else { a + 1 }),
        ("dec.u32", 4, |a, b| if a == 0 || a > b { b } else { a - 1 }),
        ("and.b32", 4, |a, b| a & b),
        ("xor.b64", 8, |a, b| a ^ b),
        ("or.b64", 8, |a, b| a | b),
    ];
    for (operation, size, apply) in cases {
        // Of two reductions of one place either may come first: not all operations do not mind.
        let again = match *operation {
            "inc.u32" | "dec.u32" | "add.f32" => String::new(),
            operation => format!(
                "cp.reduce.async.bulk.global.shared::cta.bulk_group.{operation} [%out+64], [%tile], 256;\n"
            ),
        };
        let body = format!(
            "{}@!%first bra END;\n\
             cp.reduce.async.bulk.global.shared::cta.bulk_group.{operation} [%out], [%tile], 512;\n{again}\
             cp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;\nEND:",
            fill(512)
        );
        let output: Vec<u8> = (0..4096u32).map(|byte| (byte * 13 + byte / 64) as u8).collect();
        let kernel = Kernel { body: &body, output, ..Kernel::default() };
        let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        let mut expected = kernel.output.clone();
        for (to, bytes) in [(0, 512), (64, if again.is_empty() { 0 } else { 256 })] {
            for at in (0..bytes).step_by(*size) {
                let place = &mut expected[to + at..to + at + size];
                let new = apply(word(place), word(&kernel.input[at..at + size]));
                place.copy_from_slice(&new.to_le_bytes()[..*size]);
            }
        }
        assert_eq!(kernel.output(), expected, "{operation}");
    }
}

#[test]
fn halves_are_added_without_flushing() {
    for (ty, one, tiny) in [("f16", 0x3c00u16, 1u16), ("bf16", 0x3f80, 1)] {
        let body = format!(
            "{}@!%first bra END;\n\
             cp.reduce.async.bulk.global.shared::cta.bulk_group.add.noftz.{ty} [%out], [%tile], 64;\n\
             cp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;\nEND:",
            fill(64)
        );
        let halves = |values: [u16; 2]| -> Vec<u8> {
            values.into_iter().cycle().take(2048).flat_map(u16::to_le_bytes).collect()
        };
        let (input, output) = (halves([one, tiny]), halves([one, tiny]));
        let kernel = Kernel { body: &body, input, output, ..Kernel::default() };
        // 1 + 1, and the smallest number that is not 0, doubled.
        assert_eq!(kernel.output()[..64], halves([0x4000, 2 * tiny])[..64], "{ty}");
    }
}

#[test]
fn copies_are_counted() {
    let body = format!(
        "@!%first bra WAIT;\nmbarrier.arrive.expect_tx.shared::cta.b64 _, [bar], 512;\n\
         cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%tile], [%in], 512, [bar];\n{WAIT}\
         @!%first bra END;\ncp.async.bulk.global.shared::cta.bulk_group [%out+16], [%tile], 256;\n\
         cp.async.bulk.commit_group;\nEND:"
    );
    let (_, report) = Kernel { body: &body, ..Kernel::default() }.try_run(0).unwrap();
    let counters = &report.counters;
    assert_eq!(counters.by_class["async_copy"], 3);
    let read = counters.global_read;
    assert_eq!((read.requests, read.requested_bytes, read.sectors, read.unique_bytes), (1, 512, 16, 512));
    // Not aligned to a sector.
    let written = counters.global_written;
    assert_eq!((written.requests, written.sectors, written.issued_bytes), (1, 9, 288));
    assert_eq!((counters.shared_written.requested_bytes, counters.shared_read.requested_bytes), (512, 256));
    assert_eq!((counters.shared_written.wavefronts, counters.shared_written.conflicts), (4, 0));
}

/// All lanes of a warp store the same: for that, compilers emit one instruction of the warp.
#[test]
fn equal_stores_of_a_warp_are_one() {
    let body = |destination: &str| {
        format!(
            "{}setp.lt.u32 %p0, %t, 32;\n@!%p0 bra END;\nshl.b32 %r0, %t, 4;\ncvt.u64.u32 %rd1, %r0;\n\
             add.s64 %rd1, %out, %rd1;\n\
             cp.async.bulk.global.shared::cta.bulk_group [{destination}], [%tile], 512;\n\
             cp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;\nEND:",
            fill(512)
        )
    };
    let same = body("%out");
    let kernel = Kernel { body: &same, ..Kernel::default() };
    let mut expected = kernel.output.clone();
    expected[..512].copy_from_slice(&kernel.input[..512]);
    assert_eq!(kernel.output(), expected);
    // Elsewhere, and over each other.
    let other = body("%rd1");
    Kernel { body: &other, ..Kernel::default() }.fails(ViolationKind::AsyncCopyRace, "has yet to write");
}
