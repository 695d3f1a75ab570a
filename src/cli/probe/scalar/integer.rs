//! Integer arithmetic, bits, and comparisons of integers.

use super::super::source::{AMPERE, HOPPER};
use super::{Custom, Row, comparisons};

pub const ROWS: &[Row] = &[
    (AMPERE, "{add,sub,mul.lo,div,rem,min,max}.{u16,s16}", "i16 i16", 16),
    (AMPERE, "{add,sub,mul.lo,div,rem,min,max}.{u32,s32}", "i32 i32", 32),
    (AMPERE, "{add,sub,mul.lo,div,rem,min,max}.{u64,s64}", "i64 i64", 64),
    (AMPERE, "{add.sat,sub.sat}.s32", "i32 i32", 32),
    (AMPERE, "{mul.hi}.{u16,s16}", "i16 i16", 16),
    (AMPERE, "{mul.hi}.{u32,s32}", "i32 i32", 32),
    (AMPERE, "{mul.hi}.{u64,s64}", "i64 i64", 64),
    (AMPERE, "mul.wide.{u16,s16}", "i16 i16", 32),
    (AMPERE, "mul.wide.{u32,s32}", "i32 i32", 64),
    (AMPERE, "mad.{lo,hi}.{u16,s16}", "i16 i16 i16", 16),
    (AMPERE, "mad.{lo,hi}.{u32,s32}", "i32 i32 i32", 32),
    (AMPERE, "mad.hi.sat.s32", "i32 i32 i32", 32),
    (AMPERE, "mad.{lo,hi}.{u64,s64}", "i64 i64 i64", 64),
    (AMPERE, "mad.wide.{u16,s16}", "i16 i16 i32", 32),
    (AMPERE, "mad.wide.{u32,s32}", "i32 i32 i64", 64),
    (AMPERE, "mul24.{lo,hi}.{u32,s32}", "i32 i32", 32),
    (AMPERE, "mad24.{lo,hi}.{u32,s32}", "i32 i32 i32", 32),
    (AMPERE, "mad24.hi.sat.s32", "i32 i32 i32", 32),
    (AMPERE, "sad.{u16,s16}", "i16 i16 i16", 16),
    (AMPERE, "sad.{u32,s32}", "i32 i32 i32", 32),
    (AMPERE, "sad.{u64,s64}", "i64 i64 i64", 64),
    (AMPERE, "{abs,neg}.s16", "i16", 16),
    (AMPERE, "{abs,neg}.s32", "i32", 32),
    (AMPERE, "{abs,neg}.s64", "i64", 64),
    (HOPPER, "{min,max}.relu.s32", "i32 i32", 32),
    (HOPPER, "{add,min,max}.{u16x2,s16x2}", "i16x2 i16x2", 32),
    (HOPPER, "{min,max}.relu.s16x2", "i16x2 i16x2", 32),
    (AMPERE, "dp4a.{u32,s32}.{u32,s32}", "i32 i32 i32", 32),
    (AMPERE, "dp2a.{lo,hi}.{u32,s32}.{u32,s32}", "i32 i32 i32", 32),
    (AMPERE, "{popc,clz}.b32", "i32", 32),
    (AMPERE, "{popc,clz}.b64", "i64", 32),
    (AMPERE, "brev.b32", "i32", 32),
    (AMPERE, "brev.b64", "i64", 64),
    (AMPERE, "bfind{,.shiftamt}.{u32,s32}", "i32", 32),
    (AMPERE, "bfind{,.shiftamt}.{u64,s64}", "i64", 32),
    (AMPERE, "bfe.{u32,s32}", "i32 i32 i32", 32),
    (AMPERE, "bfe.{u64,s64}", "i64 i32 i32", 64),
    (AMPERE, "bfi.b32", "i32 i32 i32 i32", 32),
    (AMPERE, "bfi.b64", "i64 i64 i32 i32", 64),
    (AMPERE, "szext.{clamp,wrap}.{u32,s32}", "i32 i32", 32),
    (AMPERE, "bmsk.{clamp,wrap}.b32", "i32 i32", 32),
    (AMPERE, "prmt.b32{,.f4e,.b4e,.rc8,.ecl,.ecr,.rc16}", "i32 i32 i32", 32),
    (AMPERE, "{and,or,xor}.b16", "i16 i16", 16),
    (AMPERE, "{and,or,xor}.b32", "i32 i32", 32),
    (AMPERE, "{and,or,xor}.b64", "i64 i64", 64),
    (AMPERE, "{not,cnot}.b16", "i16", 16),
    (AMPERE, "{not,cnot}.b32", "i32", 32),
    (AMPERE, "{not,cnot}.b64", "i64", 64),
    (AMPERE, "lop3.b32 {0x00,0x1e,0x2d,0x40,0x78,0x80,0x96,0xca,0xe8,0xf8,0xfe,0xff}", "i32 i32 i32", 32),
    (AMPERE, "{shl.b16,shr.b16,shr.u16,shr.s16}", "i16 i32", 16),
    (AMPERE, "{shl.b32,shr.b32,shr.u32,shr.s32}", "i32 i32", 32),
    (AMPERE, "{shl.b64,shr.b64,shr.u64,shr.s64}", "i64 i32", 64),
    (AMPERE, "shf.{l,r}.{clamp,wrap}.b32", "i32 i32 i32", 32),
    (AMPERE, "slct.{b16,u16,s16}.s32", "i16 i16 i32", 16),
    (AMPERE, "slct.{b32,u32,s32,f32}.s32", "i32 i32 i32", 32),
    (AMPERE, "slct{.b32.f32,.ftz.b32.f32}", "i32 i32 f32", 32),
    (AMPERE, "slct.{b64,u64,s64,f64}.s32", "i64 i64 i32", 64),
];

/// Comparisons, selections by a predicate, carries and predicates of lop3.
pub fn customs() -> Vec<Custom> {
    let custom =
        |name: &str, sources, body: &str| Custom { name: name.to_string(), sources, body: body.to_string() };
    // The words of a long number, folded into one: each weighs differently.
    let carries = |name: &str, first: &str, second: &str, third: &str| Custom {
        name: name.to_string(),
        sources: "i32 i32 i32 i32 i32 i32",
        body: format!(
            "{first} %t1, %a, %b;\n{second} %t2, %c, %d;\n{third} %t3, %e, %f;\n\
             mad.lo.u32 %t2, %t2, 0x9e3779b1, %t1;\nmad.lo.u32 %t0, %t3, 0x85ebca77, %t2;\n"
        ),
    };
    let products = |name: &str, text: &str| Custom {
        name: name.to_string(),
        sources: "i32 i32 i32 i32",
        body: format!("{text}mad.lo.u32 %t0, %t2, 0x9e3779b1, %t1;\n"),
    };
    vec![
        comparisons("eq ne lt le gt ge lo ls hi hs", ".u16", "i16 i16"),
        comparisons("eq ne lt le gt ge", ".s16", "i16 i16"),
        comparisons("eq ne", ".b16", "i16 i16"),
        comparisons("eq ne lt le gt ge lo ls hi hs", ".u32", "i32 i32"),
        comparisons("eq ne lt le gt ge", ".s32", "i32 i32"),
        comparisons("eq ne", ".b32", "i32 i32"),
        comparisons("eq ne lt le gt ge lo ls hi hs", ".u64", "i64 i64"),
        comparisons("eq ne lt le gt ge", ".s64", "i64 i64"),
        comparisons("eq ne", ".b64", "i64 i64"),
        custom(
            "setp.and.or.xor.s32 p|q",
            "i32 i32 i32",
            "setp.ne.s32 %p, %c, 0;\nsetp.lt.and.s32 %p|%q, %a, %b, %p;\n@%p or.b32 %t0, %t0, 1;\n@%q or.b32 %t0, %t0, 2;\n\
             setp.gt.s32 %p, %c, 0;\nsetp.eq.or.s32 %p|%q, %a, %b, !%p;\n@%p or.b32 %t0, %t0, 4;\n@%q or.b32 %t0, %t0, 8;\n\
             setp.gt.s32 %p, %c, 0;\nsetp.ge.xor.s32 %p|%q, %a, %b, %p;\n@%p or.b32 %t0, %t0, 16;\n\
             @%q or.b32 %t0, %t0, 32;\n",
        ),
        // The base has five bits, or the result is undefined.
        custom(
            "fns.b32",
            "i32 i32 i32",
            "and.b32 %b, %b, 31;\nrem.s32 %c, %c, 40;\nfns.b32 %t0, %a, %b, %c;\n",
        ),
        custom("set.lt.u32.s32", "i32 i32", "set.lt.u32.s32 %t0, %a, %b;\n"),
        custom("set.lt.f32.s32", "i32 i32", "set.lt.f32.s32 %t0, %a, %b;\n"),
        custom("selp.b32", "i32 i32 i32", "setp.lt.s32 %p, %a, %b;\nselp.b32 %t0, %b, %c, %p;\n"),
        custom(
            "lop3.or.and.b32 d|p",
            "i32 i32 i32",
            "setp.gt.s32 %p, %a, 0;\nlop3.or.b32 %t1|%q, %a, %b, %c, 0x80, %p;\nand.b32 %t0, %t1, -4;\n\
             @%q or.b32 %t0, %t0, 1;\nlop3.and.b32 %t1|%q, %a, %b, %c, 0x96, %p;\n@%q or.b32 %t0, %t0, 2;\n",
        ),
        carries("add.cc addc.cc addc", "add.cc.u32", "addc.cc.u32", "addc.u32"),
        carries("sub.cc subc.cc subc", "sub.cc.u32", "subc.cc.u32", "subc.u32"),
        carries("sub.cc addc.cc addc", "sub.cc.u32", "addc.cc.u32", "addc.u32"),
        carries("add.cc subc.cc subc", "add.cc.u32", "subc.cc.u32", "subc.u32"),
        carries("sub.cc addc.cc subc", "sub.cc.u32", "addc.cc.u32", "subc.u32"),
        products(
            "mad.lo.cc.u32 madc.hi.u32",
            "mad.lo.cc.u32 %t1, %a, %b, %c;\nmadc.hi.u32 %t2, %a, %b, %d;\n",
        ),
        products(
            "mad.lo.cc.s32 madc.hi.s32",
            "mad.lo.cc.s32 %t1, %a, %b, %c;\nmadc.hi.s32 %t2, %a, %b, %d;\n",
        ),
        products(
            "mad.hi.cc.u32 madc.lo.u32",
            "mad.hi.cc.u32 %t1, %a, %b, %c;\nmadc.lo.u32 %t2, %a, %b, %d;\n",
        ),
        products("sub.cc.u32 madc.lo.u32", "sub.cc.u32 %t1, %a, %b;\nmadc.lo.u32 %t2, %c, %d, %b;\n"),
    ]
}
