//! Floating-point arithmetic, approximate functions, and comparisons of numbers.

use super::super::source::{AMPERE, AMPERE_86, HOPPER};
use super::{Custom, Row, comparisons};

pub const ROWS: &[Row] = &[
    (AMPERE, "{add,sub,mul}{,.rn,.rz,.rm,.rp}{,.ftz}{,.sat}.f32", "f32 f32", 32),
    (AMPERE, "fma{.rn,.rz,.rm,.rp}{,.ftz}{,.sat}.f32", "f32 f32 f32", 32),
    (AMPERE, "mad{.rn,.rz}{,.ftz}{,.sat}.f32", "f32 f32 f32", 32),
    (AMPERE, "div{.rn,.rz,.rm,.rp}{,.ftz}.f32", "f32 f32", 32),
    (AMPERE, "{rcp,sqrt}{.rn,.rz,.rm,.rp}{,.ftz}.f32", "f32", 32),
    (AMPERE, "{abs,neg}{,.ftz}.f32", "f32", 32),
    (AMPERE, "copysign.f32", "f32 f32", 32),
    (AMPERE, "{min,max}{,.ftz}{,.NaN}.f32", "f32 f32", 32),
    (AMPERE_86, "{min,max}{,.ftz}{,.NaN}.xorsign.abs.f32", "f32 f32", 32),
    (AMPERE, "{add,sub,mul}{,.rn,.rz,.rm,.rp}.f64", "f64 f64", 64),
    (AMPERE, "{fma,mad}{.rn,.rz,.rm,.rp}.f64", "f64 f64 f64", 64),
    (AMPERE, "div{.rn,.rz,.rm,.rp}.f64", "f64 f64", 64),
    (AMPERE, "{rcp,sqrt}{.rn,.rz,.rm,.rp}.f64", "f64", 64),
    (AMPERE, "{abs,neg}.f64", "f64", 64),
    (AMPERE, "{copysign,min,max}.f64", "f64 f64", 64),
    (AMPERE, "{add,sub,mul}{,.rn}{,.ftz}{,.sat}.f16", "f16 f16", 16),
    (AMPERE, "{add,sub,mul}{,.rn}{,.ftz}{,.sat}.f16x2", "f16x2 f16x2", 32),
    (HOPPER, "{add,sub,mul}{,.rn}.bf16", "bf16 bf16", 16),
    (HOPPER, "{add,sub,mul}{,.rn}.bf16x2", "bf16x2 bf16x2", 32),
    (AMPERE, "fma.rn{,.ftz}{,.sat,.relu}.f16", "f16 f16 f16", 16),
    (AMPERE, "fma.rn{,.ftz}{,.sat,.relu}.f16x2", "f16x2 f16x2 f16x2", 32),
    (AMPERE, "fma.rn{,.relu}.bf16", "bf16 bf16 bf16", 16),
    (AMPERE, "fma.rn{,.relu}.bf16x2", "bf16x2 bf16x2 bf16x2", 32),
    (AMPERE, "{abs,neg}{,.ftz}.f16", "f16", 16),
    (AMPERE, "{abs,neg}{,.ftz}.f16x2", "f16x2", 32),
    (AMPERE, "{abs,neg}.bf16", "bf16", 16),
    (AMPERE, "{abs,neg}.bf16x2", "bf16x2", 32),
    (AMPERE, "{min,max}{,.ftz}{,.NaN}.f16", "f16 f16", 16),
    (AMPERE_86, "{min,max}{,.ftz}{,.NaN}.xorsign.abs.f16", "f16 f16", 16),
    (AMPERE, "{min,max}{,.ftz}{,.NaN}.f16x2", "f16x2 f16x2", 32),
    (AMPERE_86, "{min,max}{,.ftz}{,.NaN}.xorsign.abs.f16x2", "f16x2 f16x2", 32),
    (AMPERE, "{min,max}{,.NaN}.bf16", "bf16 bf16", 16),
    (AMPERE_86, "{min,max}{,.NaN}.xorsign.abs.bf16", "bf16 bf16", 16),
    (AMPERE, "{min,max}{,.NaN}.bf16x2", "bf16x2 bf16x2", 32),
    (AMPERE_86, "{min,max}{,.NaN}.xorsign.abs.bf16x2", "bf16x2 bf16x2", 32),
    // Approximate: the ISA bounds their errors alone.
    (AMPERE, "{rcp,sqrt,rsqrt,sin,cos,lg2,ex2}.approx{,.ftz}.f32", "f32", 32),
    (AMPERE, "tanh.approx.f32", "f32", 32),
    (AMPERE, "div{.approx,.full}{,.ftz}.f32", "f32 f32", 32),
    (AMPERE, "{rcp,rsqrt}.approx.ftz.f64", "f64", 64),
    (AMPERE, "rsqrt.approx.f64", "f64", 64),
    (AMPERE, "{ex2,tanh}.approx.f16", "f16", 16),
    (AMPERE, "{ex2,tanh}.approx.f16x2", "f16x2", 32),
    (HOPPER, "{ex2.approx.ftz,tanh.approx}.bf16", "bf16", 16),
    (HOPPER, "{ex2.approx.ftz,tanh.approx}.bf16x2", "bf16x2", 32),
];

const OPERATORS: &str = "eq ne lt le gt ge equ neu ltu leu gtu geu num nan";

/// Comparisons and tests.
pub fn customs() -> Vec<Custom> {
    let tests = |ty: &str, sources| {
        let names = ["finite", "infinite", "number", "notanumber", "normal", "subnormal"];
        let each = names.iter().enumerate();
        let body =
            each.map(|(i, name)| format!("testp.{name}.{ty} %p, %a;\n@%p or.b32 %t0, %t0, {};\n", 1 << i));
        Custom { name: format!("testp.{ty}"), sources, body: body.collect() }
    };
    let mut all = vec![tests("f32", "f32"), tests("f64", "f64")];
    for (suffix, sources) in [
        (".f32", "f32 f32"),
        (".ftz.f32", "f32 f32"),
        (".f64", "f64 f64"),
        (".f16", "f16 f16"),
        (".ftz.f16", "f16 f16"),
        (".f16x2", "f16x2 f16x2"),
        (".ftz.f16x2", "f16x2 f16x2"),
    ] {
        all.push(comparisons(OPERATORS, suffix, sources));
    }
    for (name, sources) in [
        ("set.gtu.u32.f32", "f32 f32"),
        ("set.lt.ftz.f32.f32", "f32 f32"),
        ("set.le.u32.f16", "f16 f16"),
        ("set.neu.f16x2.f16x2", "f16x2 f16x2"),
        ("set.ge.u32.f16x2", "f16x2 f16x2"),
    ] {
        all.push(Custom { name: name.to_string(), sources, body: format!("{name} %t0, %a, %b;\n") });
    }
    all
}
