//! Loads, stores, atomics and asynchronous copies of every width and state space.

use ptx_sim::ViolationKind;

use crate::run::{Run, per_thread, warp};

#[test]
fn loads_extend_by_the_sign_of_their_type() {
    let words = [0x8899_aabb_u32, 0x7f80_ff01];
    for (ty, offset, expected) in [
        ("u8", 1, 0xaa_u32),
        ("s8", 1, 0xffff_ffaa),
        ("b8", 7, 0x7f),
        ("u16", 2, 0x8899),
        ("s16", 2, 0xffff_8899),
        ("b16", 4, 0xff01),
        ("u32", 4, 0x7f80_ff01),
    ] {
        let body = per_thread(&format!("ld.global.{ty} %r0, [%in+{offset}];"));
        assert_eq!(Run { body: &body, ..Run::default() }.output(&words, 32), vec![expected; 32], "{ty}");
    }
    // Into a register of 64 bits, and from one.
    let body = per_thread(
        "ld.global.s16 %rd0, [%in+2];\nshr.u64 %rd1, %rd0, 40;\ncvt.u32.u64 %r0, %rd1;\n\
         ld.global.u64 %rd2, [%in];\nshr.u64 %rd2, %rd2, 32;\ncvt.u32.u64 %r1, %rd2;\nxor.b32 %r0, %r0, %r1;",
    );
    assert_eq!(Run { body: &body, ..Run::default() }.output(&words, 32), vec![0x00ff_ffff ^ 0x7f80_ff01; 32]);
}

#[test]
fn vectors_are_loaded_and_stored_in_order() {
    let input: Vec<u32> = (0..128).collect();
    let body = ".reg .b32 %r<8>;\n.reg .b64 %rd<8>;\nmov.u32 %r0, %tid.x;\nmul.wide.u32 %rd0, %r0, 16;\n\
                add.s64 %rd1, %rd0, %in;\nadd.s64 %rd2, %rd0, %out;\nld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%rd1];\n\
                st.global.v2.u32 [%rd2], {%r4, %r3};\nst.global.v2.u32 [%rd2+8], {%r2, %r1};";
    let output = Run { body, ..Run::default() }.output(&input, 128);
    let expected: Vec<u32> = (0..32).flat_map(|i| [4 * i + 3, 4 * i + 2, 4 * i + 1, 4 * i]).collect();
    assert_eq!(output, expected);
    let body = ".reg .b32 %r<8>;\n.reg .b64 %rd<8>;\n.reg .b16 %h<4>;\nmov.u32 %r0, %tid.x;\n\
                mul.wide.u32 %rd0, %r0, 16;\nadd.s64 %rd1, %rd0, %in;\nadd.s64 %rd2, %rd0, %out;\n\
                ld.global.v2.u64 {%rd3, %rd4}, [%rd1];\nst.global.u64 [%rd2], %rd4;\n\
                ld.global.v4.u16 {%h0, %h1, %h2, %h3}, [%rd1];\nst.global.v4.u16 [%rd2+8], {%h3, %h2, %h1, %h0};";
    let output = Run { body, ..Run::default() }.output(&input, 128);
    let swap = |word: u32| word.rotate_left(16);
    let expected: Vec<u32> =
        (0..32).flat_map(|i| [4 * i + 2, 4 * i + 3, swap(4 * i + 1), swap(4 * i)]).collect();
    assert_eq!(output, expected);
}

#[test]
fn generic_addresses_reach_every_state_space() {
    let output = warp(
        ".shared .align 8 .b32 tile[32];\n.local .align 8 .b32 own[4];\n.reg .b64 %s, %l;\n\
         cvta.shared.u64 %s, tile;\ncvta.local.u64 %l, own;\nmul.wide.u32 %rd0, %t, 4;\nadd.s64 %rd0, %rd0, %s;\n\
         add.u32 %r1, %t, 5;\nst.u32 [%rd0], %r1;\nst.u32 [%l+4], %t;\nbar.warp.sync 0xffffffff;\n\
         xor.b32 %r2, %t, 1;\nmul.wide.u32 %rd1, %r2, 4;\nadd.s64 %rd1, %rd1, %s;\nld.u32 %r3, [%rd1];\n\
         cvta.to.local.u64 %rd2, %l;\nld.local.u32 %r4, [%rd2+4];\nmad.lo.u32 %r0, %r4, 100, %r3;\n\
         isspacep.shared %p0, %rd0;\nisspacep.local %p1, %rd0;\nisspacep.global %p2, %in;\nisspacep.global %p3, %l;\n\
         @%p0 add.u32 %r0, %r0, 10000;\n@%p1 add.u32 %r0, %r0, 20000;\n@%p2 add.u32 %r0, %r0, 40000;\n\
         @%p3 add.u32 %r0, %r0, 80000;",
    );
    let expected: Vec<u32> = (0..32).map(|t| t * 100 + (t ^ 1) + 5 + 50000).collect();
    assert_eq!(output, expected);
}

#[test]
fn one_instruction_may_reach_several_state_spaces() {
    let output = warp(
        ".shared .align 4 .b32 tile[32];\n.local .align 4 .b32 own[1];\n.reg .b64 %s, %l;\n\
         cvta.shared.u64 %s, tile;\ncvta.local.u64 %l, own;\nmul.wide.u32 %rd0, %t, 4;\nadd.s64 %s, %s, %rd0;\n\
         setp.lt.u32 %p0, %t, 16;\nselp.b64 %rd1, %s, %l, %p0;\nst.u32 [%rd1], %t;\nld.u32 %r0, [%rd1];",
    );
    assert_eq!(output, (0..32).collect::<Vec<u32>>());
}

#[test]
fn constants_are_read_and_never_written() {
    let module = ".version 8.8\n.target sm_80\n.address_size 64\n\
                  .const .align 4 .u32 table[4] = {10, 20, 30, 40};\n\
                  .global .align 8 .u64 pointer = generic(table) + 8;\n\
                  .visible .entry kernel(.param .u64 output) {\n.reg .b32 %r<4>;\n.reg .b64 %rd<4>;\n\
                  ld.param.u64 %rd0, [output];\nld.const.u32 %r0, [table+4];\nld.global.u64 %rd1, [pointer];\n\
                  ld.u32 %r1, [%rd1];\nadd.u32 %r0, %r0, %r1;\nst.global.u32 [%rd0], %r0;\nPLACE\nret;\n}\n";
    let run = |ptx: &str| {
        let device = ptx_sim::Device::new(ptx_sim::DeviceProperties::of(ptx_sim::ComputeCapability::Sm80));
        let kernel = device.load_module(ptx).unwrap().kernel("kernel").unwrap();
        let output = device.allocate(4).unwrap();
        let stream = device.create_stream();
        let config = ptx_sim::LaunchConfig::new([1, 1, 1], [1, 1, 1]);
        stream.launch(&kernel, &config, &output.to_le_bytes()).unwrap();
        let result = stream.synchronize().map(drop);
        let mut bytes = [0; 4];
        device.read(output, &mut bytes).unwrap();
        (result, u32::from_le_bytes(bytes))
    };
    let (result, value) = run(&module.replace("PLACE", ""));
    assert!(result.is_ok());
    assert_eq!(value, 50);
    let (result, _) = run(&module.replace("PLACE", "st.u32 [%rd1], 1;"));
    let Err(ptx_sim::Error::Violation(violation)) = result else { panic!("{result:?}") };
    assert_eq!(violation.kind, ViolationKind::ReadOnly, "{violation}");
}

/// All atomics, in global and in shared memory, with operands that every lane knows.
#[test]
fn atomics_do_what_their_names_say() {
    /// The operation, the value that it starts from, its operand, and what it does with a thread's number.
    type Case = (&'static str, u32, &'static str, fn(u32, u32) -> u32);
    let cases: &[Case] = &[
        ("add.u32", 7, "%t", |old, t| old.wrapping_add(t)),
        ("add.s32", 7, "%t", |old, t| old.wrapping_add(t)),
        ("and.b32", 0xffff_fff3, "%t", |old, t| old & t),
        ("or.b32", 64, "%t", |old, t| old | t),
        ("xor.b32", 5, "%t", |old, t| old ^ t),
        ("min.u32", 900, "%t", u32::min),
        ("max.u32", 3, "%t", u32::max),
        ("min.s32", 0xffff_fff0, "%t", |old, t| (old as i32).min(t as i32) as u32),
        ("max.s32", 0xffff_fff0, "%t", |old, t| (old as i32).max(t as i32) as u32),
        ("inc.u32", 0, "9", |old, _| if old >= 9 { 0 } else { old + 1 }),
        ("dec.u32", 3, "9", |old, _| if old == 0 || old > 9 { 9 } else { old - 1 }),
        ("exch.b32", 1, "%t", |_, t| t),
        ("add.f32", 0x3f80_0000, "0x3f000000", |old, _| (f32::from_bits(old) + 0.5).to_bits()),
    ];
    for (operation, start, operand, apply) in cases {
        let (mut value, mut olds) = (*start, Vec::new());
        for t in 0..32 {
            olds.push(value);
            value = apply(value, t);
        }
        for space in ["global", "shared"] {
            let address = if space == "global" { "%in" } else { "cell" };
            let prepare = if space == "shared" {
                format!(
                    ".shared .align 4 .b32 cell;\nsetp.eq.u32 %p0, %t, 0;\n@%p0 st.shared.u32 [cell], {start};\n\
                         bar.warp.sync 0xffffffff;\n"
                )
            } else {
                String::new()
            };
            let atom =
                format!("{prepare}mov.b32 %r1, {operand};\natom.{space}.{operation} %r0, [{address}], %r1;");
            let body = per_thread(&atom);
            let output = Run { body: &body, ..Run::default() }.output(&[*start], 32);
            assert_eq!(output, olds, "atom {operation} {space}");
            if operation.starts_with("exch") {
                continue;
            }
            let red = format!(
                "{prepare}mov.b32 %r1, {operand};\nred.{space}.{operation} [{address}], %r1;\n\
                 bar.warp.sync 0xffffffff;\nld.{space}.u32 %r0, [{address}];"
            );
            let body = per_thread(&red);
            let output = Run { body: &body, ..Run::default() }.output(&[*start], 32);
            assert_eq!(output, vec![value; 32], "red {operation} {space}");
        }
    }
}

#[test]
fn compare_and_swap_takes_the_lock_once() {
    let body = per_thread("atom.global.cas.b32 %r0, [%in], 5, 9;");
    let output = Run { body: &body, ..Run::default() }.output(&[5], 32);
    assert_eq!(output[0], 5);
    assert!(output[1..].iter().all(|old| *old == 9));
    let body = per_thread(
        "atom.global.cas.b64 %rd0, [%in], 0x100000005, 9;\nshr.u64 %rd1, %rd0, 32;\ncvt.u32.u64 %r0, %rd1;",
    );
    let output = Run { body: &body, ..Run::default() }.output(&[5, 1], 32);
    assert_eq!((output[0], output[1]), (1, 0));
}

/// A copy of `bytes` bytes for each lane, of which `source` come from global memory, then a wait.
fn copied(bytes: usize, source: Option<usize>, seed: u64) -> Vec<u32> {
    let given = source.map_or_else(String::new, |n| format!(", {n}"));
    let cache = if bytes == 16 { "cg" } else { "ca" };
    let body = format!(
        ".shared .align 16 .b8 tile[512];\n.reg .b32 %r<8>;\n.reg .b64 %rd<8>;\nmov.u32 %r0, %tid.x;\n\
         mul.lo.u32 %r1, %r0, {bytes};\nmov.u32 %r2, tile;\nadd.u32 %r2, %r2, %r1;\ncvt.u64.u32 %rd0, %r1;\n\
         add.s64 %rd1, %rd0, %in;\nadd.s64 %rd2, %rd0, %out;\n\
         cp.async.{cache}.shared.global [%r2], [%rd1], {bytes}{given};\ncp.async.commit_group;\n\
         cp.async.wait_group 0;\n{}",
        (0..bytes / 4)
            .map(|i| format!("ld.shared.u32 %r3, [%r2+{0}];\nst.global.u32 [%rd2+{0}], %r3;\n", 4 * i))
            .collect::<String>()
    );
    let input: Vec<u32> = (0..128).map(|i| 0x0101_0101 * (i + 1)).collect();
    Run { body: &body, seed, ..Run::default() }.output(&input, 32 * bytes / 4)
}

#[test]
fn asynchronous_copies_fill_with_zeros() {
    for seed in 0..8 {
        for bytes in [4, 8, 16] {
            for source in [None, Some(0), Some(1), Some(bytes / 2), Some(bytes - 1)] {
                let output = copied(bytes, source, seed);
                for (word, value) in output.iter().enumerate() {
                    let first = word % (bytes / 4) * 4;
                    let pattern = (0x0101_0101 * (word as u32 + 1)).to_le_bytes();
                    let mut expected = [0; 4];
                    for (i, byte) in expected.iter_mut().enumerate() {
                        if first + i < source.unwrap_or(bytes) {
                            *byte = pattern[i];
                        }
                    }
                    assert_eq!(value.to_le_bytes(), expected, "{bytes} {source:?} word {word}");
                }
            }
        }
    }
}

#[test]
fn copies_that_nobody_waits_for_are_reported_whenever_they_arrive() {
    let body = |wait: &str| {
        format!(
            ".shared .align 16 .b8 tile[512];\n.reg .b32 %r<8>;\n.reg .b64 %rd<8>;\nmov.u32 %r0, %tid.x;\n\
             mul.lo.u32 %r1, %r0, 4;\nmov.u32 %r2, tile;\nadd.u32 %r2, %r2, %r1;\ncvt.u64.u32 %rd0, %r1;\n\
             add.s64 %rd1, %rd0, %in;\nadd.s64 %rd2, %rd0, %out;\n\
             cp.async.ca.shared.global [%r2], [%rd1], 4;\ncp.async.commit_group;\n\
             cp.async.ca.shared.global [%r2+128], [%rd1], 4;\ncp.async.commit_group;\n{wait}\n\
             ld.shared.u32 %r3, [%r2+128];\nst.global.u32 [%rd2], %r3;"
        )
    };
    let input: Vec<u32> = (0..32).collect();
    for seed in 0..10 {
        for wait in ["", "cp.async.wait_group 1;", "bar.sync 0;"] {
            let text = body(wait);
            let run = Run { body: &text, seed, ..Run::default() };
            let violation = run.expect(ViolationKind::AsyncCopyRace, &input, 32);
            assert!(violation.location.unwrap().instruction.starts_with("ld.shared"));
        }
        for wait in ["cp.async.wait_group 0;", "cp.async.wait_all;"] {
            let text = body(wait);
            assert_eq!(Run { body: &text, seed, ..Run::default() }.output(&input, 32), input);
        }
    }
}

#[test]
fn offsets_beyond_two_gigabytes_cost_no_memory() {
    let device = ptx_sim::Device::new(ptx_sim::DeviceProperties::of(ptx_sim::ComputeCapability::Sm80));
    let ptx = crate::run::module(
        "sm_80",
        ".reg .b64 %far;\n.reg .b32 %r;\nadd.s64 %far, %in, 0x1000000000;\nmov.u32 %r, 77;\n\
         st.global.u32 [%far], %r;\nld.global.u32 %r, [%far];\nst.global.u32 [%out], %r;",
    );
    let kernel = device.load_module(&ptx).unwrap().kernel("kernel").unwrap();
    let (huge, output) = (device.allocate(1 << 40).unwrap(), device.allocate(4).unwrap());
    let stream = device.create_stream();
    let parameters = [huge.to_le_bytes(), output.to_le_bytes()].concat();
    stream.launch(&kernel, &ptx_sim::LaunchConfig::new([1, 1, 1], [1, 1, 1]), &parameters).unwrap();
    let report = stream.synchronize().unwrap().remove(0);
    let mut bytes = [0; 4];
    device.read(output, &mut bytes).unwrap();
    assert_eq!(u32::from_le_bytes(bytes), 77);
    assert_eq!(report.counters.global_written.unique_bytes, 8);
}

/// Conflicts are counted at the instruction that has them, over all warps and host threads, in the order of the PTX.
#[test]
fn bank_conflicts_have_places() {
    // Neighbours; two words of a bank for pairs of lanes; one bank for all.
    let text = per_thread(
        ".shared .align 4 .b8 words[4096];\n.reg .b32 %base, %near, %two, %same;\nmov.u32 %base, words;\n\
         shl.b32 %near, %t, 2;\nadd.u32 %near, %near, %base;\nshl.b32 %two, %t, 3;\nadd.u32 %two, %two, %base;\n\
         and.b32 %same, %t, 31;\nshl.b32 %same, %same, 7;\nadd.u32 %same, %same, %base;\n\
         mov.u32 %r1, 1;\nmov.u32 %r2, 0;\n\
         AGAIN:\nst.shared.u32 [%same], %r1;\nst.shared.u32 [%near], %r1;\nbar.sync 0;\nadd.u32 %r2, %r2, 1;\n\
         setp.lt.u32 %p0, %r2, 3;\n@%p0 bra AGAIN;\n\
         st.shared.u32 [%two], %r1;\nld.shared.u32 %r0, [%two];\n\
         mov.u32 %r3, %ctaid.x;\nsetp.ne.u32 %p1, %r3, 0;\n@%p1 exit;",
    );
    for seed in 0..4 {
        let run = Run { body: &text, grid: 5, seed, ..Run::default() };
        let (output, report) = run.try_run(&[], 32).unwrap();
        assert_eq!(output, [1; 32]);
        let counters = &report.counters;
        let places: Vec<_> = counters
            .bank_conflicts
            .iter()
            .map(|place| (place.location.instruction.as_str(), place.requests, place.conflicts))
            .collect();
        // Five blocks of one warp.
        assert_eq!(
            places,
            [("st.shared.u32", 15, 15 * 31), ("st.shared.u32", 5, 5), ("ld.shared.u32", 5, 5)]
        );
        assert!(counters.bank_conflicts.is_sorted_by_key(|place| place.location.ptx_line));
        let total = counters.shared_read.conflicts + counters.shared_written.conflicts;
        assert_eq!(total, 5 * (3 * 31 + 2));
    }
}

/// A module of several kernels: each has those shared variables at module scope that it or a function it calls names.
#[test]
fn shared_variables_take_room_where_they_are_used() {
    let text = ".version 8.0\n.target sm_80\n.address_size 64\n\
         .shared .align 16 .b8 large[40000];\n.shared .align 16 .b8 small[100];\n.shared .align 4 .b32 deep;\n\
         .func helper() {\n.reg .b32 %r;\nld.shared.u32 %r, [deep];\nret;\n}\n\
         .visible .entry none() {\nret;\n}\n\
         .visible .entry one() {\n.reg .b32 %r;\nmov.u32 %r, large;\nret;\n}\n\
         .visible .entry two() {\n.reg .b32 %r;\nst.shared.u32 [small+4], 1;\ncall helper;\nret;\n}\n";
    let kernels = ptx_sim::inspect(text).unwrap().kernels;
    let bytes: Vec<_> = kernels.iter().map(|kernel| kernel.static_shared_bytes).collect();
    assert_eq!(bytes, [0, 40000, 104]);
}
