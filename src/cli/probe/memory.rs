//! Probes of memory: what atomic operations leave, how loads extend, the order of vectors, zero fill of asynchronous copies.

use super::source::{AMPERE, Capability, HOPPER, probe, store_words};
use super::{Inputs, Probe};

const THREADS: u32 = 512;

pub fn probes() -> Vec<Probe> {
    [atomics(), loads(), copies()].into_iter().flatten().collect()
}

/// A location for each thread: its own first word of output, or shared memory.
#[derive(Clone, Copy)]
enum Place {
    Global,
    Shared,
}

/// `atom` on a location that starts as operand `a`, with `b` (and `c`): the old value, and what is there afterwards.
fn atomic(place: Place, needs: Capability, operation: &str, kinds: &'static str, bits: u32) -> Probe {
    let (space, address) = match place {
        Place::Global => ("global", "%out"),
        Place::Shared => ("shared", "%t7"),
    };
    let sources = kinds.split_whitespace().count() - 1;
    let mut body = String::from(
        ".shared .align 8 .b64 cells[128];\nmov.b32 %t7, cells;\nmad.lo.u32 %t7, %thread, 8, %t7;\n",
    );
    let (register, load) = match bits {
        64 => ("%l", 8),
        16 => ("%h", 4),
        _ => ("%w", 4),
    };
    for i in 0..=sources {
        let at = load * i;
        body += &match bits {
            64 => format!(
                "ld.global.b32 %t0, [%in+{at}];\nld.global.b32 %t1, [%in+{}];\nmov.b64 %l{i}, {{%t0, %t1}};\n",
                at + 4
            ),
            _ => format!("ld.global.b{bits} {register}{i}, [%in+{at}];\n"),
        };
    }
    let operands: Vec<_> = (1..=sources).map(|i| format!("{register}{i}")).collect();
    let operands = operands.join(", ");
    body += &format!(
        "st.{space}.b{bits} [{address}], {register}0;\natom.{space}.{operation} {register}4, [{address}], {operands};\n\
         ld.{space}.b{bits} {register}5, [{address}];\n"
    );
    let out_words = if bits == 64 { 4 } else { 2 };
    body += &match bits {
        64 => "mov.b64 {%t0, %t1}, %l4;\nmov.b64 {%t2, %t3}, %l5;\n".to_string(),
        16 => "cvt.u32.u16 %t0, %h4;\ncvt.u32.u16 %t1, %h5;\n".to_string(),
        _ => "mov.b32 %t0, %w4;\nmov.b32 %t1, %w5;\n".to_string(),
    };
    let registers: Vec<_> = (0..out_words).map(|i| format!("%t{i}")).collect();
    body += &store_words(&registers, 0);
    let inputs = Inputs::Kinds { kinds: kinds.into(), seed: 1 };
    let name = format!("atom.{space}.{operation}");
    // The outputs of a thread are 8 or 16 bytes, so that the location is aligned.
    probe(name, needs, inputs, out_words as u32, THREADS, 128, &body)
}

fn atomics() -> Vec<Probe> {
    let mut probes = Vec::new();
    for place in [Place::Global, Place::Shared] {
        for operation in ["add.u32", "inc.u32", "dec.u32", "min.u32", "max.u32", "min.s32", "max.s32"] {
            probes.push(atomic(place, AMPERE, operation, "i32 i32", 32));
        }
        for operation in ["and.b32", "or.b32", "xor.b32", "exch.b32"] {
            probes.push(atomic(place, AMPERE, operation, "i32 i32", 32));
        }
        probes.push(atomic(place, AMPERE, "cas.b32", "i32 i32 i32", 32));
        probes.push(atomic(place, AMPERE, "cas.b16", "i16 i16 i16", 16));
        for operation in ["add.u64", "min.u64", "max.u64", "min.s64", "max.s64", "exch.b64", "xor.b64"] {
            probes.push(atomic(place, AMPERE, operation, "i64 i64", 64));
        }
        probes.push(atomic(place, AMPERE, "cas.b64", "i64 i64 i64", 64));
        probes.push(atomic(place, AMPERE, "add.f32", "f32 f32", 32));
        probes.push(atomic(place, AMPERE, "add.f64", "f64 f64", 64));
        probes.push(atomic(place, AMPERE, "add.noftz.f16", "f16 f16", 16));
        probes.push(atomic(place, AMPERE, "add.noftz.f16x2", "f16x2 f16x2", 32));
        probes.push(atomic(place, HOPPER, "add.noftz.bf16", "bf16 bf16", 16));
        probes.push(atomic(place, HOPPER, "add.noftz.bf16x2", "bf16x2 bf16x2", 32));
    }
    for (needs, operation, kinds) in [
        (AMPERE, "add.f32", "f32 f32"),
        (AMPERE, "add.noftz.f16x2", "f16x2 f16x2"),
        (HOPPER, "add.noftz.bf16x2", "bf16x2 bf16x2"),
        (AMPERE, "inc.u32", "i32 i32"),
        (AMPERE, "max.s32", "i32 i32"),
    ] {
        let body = format!(
            "ld.global.b32 %w0, [%in];\nld.global.b32 %w1, [%in+4];\nst.global.b32 [%out], %w0;\n\
             red.global.{operation} [%out], %w1;\nred.global.{operation} [%out], %w1;\n"
        );
        let inputs = Inputs::Kinds { kinds: kinds.into(), seed: 3 };
        probes.push(probe(format!("red.global.{operation} twice"), needs, inputs, 1, THREADS, 128, &body));
    }
    probes
}

/// Loads of narrow numbers into wide registers, and of vectors; stores of the low parts of registers.
fn loads() -> Vec<Probe> {
    let mut probes = Vec::new();
    let inputs = || Inputs::Kinds { kinds: "raw*4".into(), seed: 1 };
    let unpack = "mov.b64 {%t0, %t1}, %l0;\nmov.b64 {%t2, %t3}, %l1;\n";
    let four: Vec<String> = (0..4).map(|i| format!("%t{i}")).collect();
    for ty in ["u8", "s8", "u16", "s16", "u32", "s32", "b8", "b16", "b32"] {
        let bytes = ty[1..].parse::<u32>().map_or(4, |bits| bits / 8);
        let body = format!(
            "ld.global.{ty} %l0, [%in+{bytes}];\nld.global.v2.{ty} {{%l1, %l2}}, [%in+8];\nxor.b64 %l1, %l1, %l2;\n\
             {unpack}{}",
            store_words(&four, 0)
        );
        probes.push(probe(format!("ld.global.{ty} to 64 bits"), AMPERE, inputs(), 4, THREADS, 128, &body));
    }
    for (ty, registers) in
        [("v4.u8", "%t"), ("v4.s8", "%t"), ("v4.b16", "%t"), ("v4.s16", "%t"), ("v4.b32", "%t")]
    {
        let body = format!(
            "ld.global.{ty} {{{registers}3, {registers}2, {registers}1, {registers}0}}, [%in];\n{}",
            store_words(&four, 0)
        );
        probes.push(probe(format!("ld.global.{ty}"), AMPERE, inputs(), 4, THREADS, 128, &body));
    }
    let body = "ld.global.v4.b32 {%w0, %w1, %w2, %w3}, [%in];\nst.global.v4.b32 [%out], {0, 0, 0, 0};\n\
                st.global.v4.b8 [%out], {%w0, %w1, %w2, %w3};\nst.global.b8 [%out+5], %w0;\nst.global.b16 [%out+6], %w1;\n\
                st.global.v2.b16 [%out+12], {%w2, %w3};\n";
    probes.push(probe("st.global of low parts".into(), AMPERE, inputs(), 4, THREADS, 128, body));
    probes
}

/// 16 bytes are copied to shared memory from where less is there to read.
fn copies() -> Vec<Probe> {
    let mut probes = Vec::new();
    for (mode, bytes) in [("ca", 4), ("ca", 8), ("ca", 16), ("cg", 16)] {
        // The size of the source runs from 0 to the whole.
        let body = format!(
            ".shared .align 16 .b32 tile[512];\nmov.b32 %t7, tile;\nmad.lo.u32 %t7, %thread, 16, %t7;\n\
             mov.b32 %w0, -1;\nst.shared.v4.b32 [%t7], {{%w0, %w0, %w0, %w0}};\nrem.u32 %t6, %thread, {};\n\
             cp.async.{mode}.shared.global [%t7], [%in], {bytes}, %t6;\ncp.async.wait_all;\n\
             ld.shared.v4.b32 {{%t0, %t1, %t2, %t3}}, [%t7];\n{}",
            bytes + 1,
            store_words(&["%t0".into(), "%t1".into(), "%t2".into(), "%t3".into()], 0)
        );
        let inputs = Inputs::Kinds { kinds: "raw*4".into(), seed: 1 };
        probes.push(probe(format!("cp.async.{mode} {bytes} zero fill"), AMPERE, inputs, 4, 256, 128, &body));
    }
    probes
}
