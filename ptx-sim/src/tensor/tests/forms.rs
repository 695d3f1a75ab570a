//! Which spellings are taken, with how many registers, and which are refused with what reason.

use super::super::required_compute_capability;
use super::{decoded, instruction};
use crate::config::ComputeCapability::{self, Sm80, Sm89, Sm90};
use crate::count::TensorType;
use crate::ptx::ast::{Operand, Type};

/// Modifiers; registers of D, A, B and C; the operations of one execution; what it needs.
type KnownForm = (&'static str, [usize; 4], (TensorType, u64), ComputeCapability);

/// Forms as the assembler of CUDA 13.0 takes them.
#[rustfmt::skip]
const FORMS: &[KnownForm] = &[
    ("m8n8k4.row.col.f16.f16.f16.f16", [4, 2, 2, 4], (TensorType::F16, 2048), Sm80),
    ("m8n8k4.col.row.f32.f16.f16.f16", [8, 2, 2, 4], (TensorType::F16, 2048), Sm80),
    ("m8n8k4.row.row.f32.f16.f16.f32", [8, 2, 2, 8], (TensorType::F16, 2048), Sm80),
    ("m16n8k8.row.col.f16.f16.f16.f16", [2, 2, 1, 2], (TensorType::F16, 2048), Sm80),
    ("m16n8k8.row.col.f32.f16.f16.f32", [4, 2, 1, 4], (TensorType::F16, 2048), Sm80),
    ("m16n8k16.row.col.f16.f16.f16.f16", [2, 4, 2, 2], (TensorType::F16, 4096), Sm80),
    ("m16n8k16.row.col.f32.f16.f16.f32", [4, 4, 2, 4], (TensorType::F16, 4096), Sm80),
    ("m16n8k8.row.col.f32.bf16.bf16.f32", [4, 2, 1, 4], (TensorType::Bf16, 2048), Sm80),
    ("m16n8k16.row.col.f32.bf16.bf16.f32", [4, 4, 2, 4], (TensorType::Bf16, 4096), Sm80),
    ("m16n8k4.row.col.f32.tf32.tf32.f32", [4, 2, 1, 4], (TensorType::Tf32, 1024), Sm80),
    ("m16n8k8.row.col.f32.tf32.tf32.f32", [4, 4, 2, 4], (TensorType::Tf32, 2048), Sm80),
    ("m16n8k16.row.col.f16.e4m3.e4m3.f16", [2, 2, 1, 2], (TensorType::E4m3, 4096), Sm89),
    ("m16n8k16.row.col.f32.e5m2.e4m3.f32", [4, 2, 1, 4], (TensorType::E5m2, 4096), Sm89),
    ("m16n8k32.row.col.f16.e4m3.e5m2.f16", [2, 4, 2, 2], (TensorType::E4m3, 8192), Sm89),
    ("m16n8k32.row.col.f32.e5m2.e5m2.f32", [4, 4, 2, 4], (TensorType::E5m2, 8192), Sm89),
    ("m8n8k4.row.col.f64.f64.f64.f64", [2, 1, 1, 2], (TensorType::F64, 512), Sm80),
    ("m8n8k4.row.col.rp.f64.f64.f64.f64", [2, 1, 1, 2], (TensorType::F64, 512), Sm80),
    ("m16n8k4.row.col.f64.f64.f64.f64.rz", [4, 2, 1, 4], (TensorType::F64, 1024), Sm90),
    ("m16n8k8.row.col.f64.f64.f64.f64.rm", [4, 4, 2, 4], (TensorType::F64, 2048), Sm90),
    ("m16n8k16.row.col.f64.f64.f64.f64.rn", [4, 8, 4, 4], (TensorType::F64, 4096), Sm90),
    ("m8n8k16.row.col.s32.s8.u8.s32", [2, 1, 1, 2], (TensorType::S8, 2048), Sm80),
    ("m16n8k16.row.col.satfinite.s32.u8.u8.s32", [4, 2, 1, 4], (TensorType::U8, 4096), Sm80),
    ("m16n8k32.row.col.s32.s8.s8.s32", [4, 4, 2, 4], (TensorType::S8, 8192), Sm80),
    ("m8n8k32.row.col.satfinite.s32.s4.s4.s32", [2, 1, 1, 2], (TensorType::S4, 4096), Sm80),
    ("m16n8k32.row.col.s32.s4.u4.s32", [4, 2, 1, 4], (TensorType::S4, 8192), Sm80),
    ("m16n8k64.row.col.s32.u4.s4.s32", [4, 4, 2, 4], (TensorType::U4, 16384), Sm80),
    ("m8n8k128.row.col.s32.b1.b1.s32.xor.popc", [2, 1, 1, 2], (TensorType::B1, 16384), Sm80),
    ("m8n8k128.row.col.and.popc.s32.b1.b1.s32", [2, 1, 1, 2], (TensorType::B1, 16384), Sm80),
    ("m16n8k128.row.col.s32.b1.b1.s32.and.popc", [4, 2, 1, 4], (TensorType::B1, 32768), Sm80),
    ("m16n8k256.row.col.s32.b1.b1.s32.xor.popc", [4, 4, 2, 4], (TensorType::B1, 65536), Sm80),
];

#[test]
fn forms_that_exist_are_decoded() {
    for (form, counts, flops, needs) in FORMS {
        let wide = form.contains("f64");
        let opcode = format!("mma.sync.aligned.{form}");
        let (op, ..) = decoded(&opcode, wide, *counts).unwrap_or_else(|reject| panic!("{opcode}: {reject}"));
        assert_eq!(op.flops(), *flops, "{opcode}");
        let (_, instruction) = instruction(&opcode, Type::B32, *counts);
        assert_eq!(required_compute_capability(&instruction), Some(*needs), "{opcode}");
        for operand in 0..4 {
            let mut wrong = *counts;
            wrong[operand] += 1;
            let reject = decoded(&opcode, wide, wrong).err().unwrap_or_default();
            let expected = format!(
                "{} has {} registers, {} are expected",
                ["D", "A", "B", "C"][operand],
                wrong[operand],
                counts[operand]
            );
            assert_eq!(reject, expected, "{opcode}");
        }
        let reject = decoded(&opcode, !wide, *counts).err().unwrap_or_default();
        assert!(reject.contains("bits wide"), "{opcode}: {reject}");
    }
}

#[test]
fn forms_that_do_not_exist_are_refused_with_the_reason() {
    let unknown = |shape: &str, types: &str| format!("mma has no form .{shape} with the types {types}");
    let refused = [
        ("m16n8k8.row.col.f32.f16.f16.f16", unknown("m16n8k8", "f32, f16, f16, f16")),
        ("m16n8k16.row.col.f16.f16.f16.f32", unknown("m16n8k16", "f16, f16, f16, f32")),
        ("m8n8k4.row.col.f16.f16.f16.f32", unknown("m8n8k4", "f16, f16, f16, f32")),
        ("m16n8k8.row.col.f32.bf16.f16.f32", unknown("m16n8k8", "f32, bf16, f16, f32")),
        ("m16n8k16.row.col.f16.bf16.bf16.f16", unknown("m16n8k16", "f16, bf16, bf16, f16")),
        ("m16n8k16.row.col.f32.tf32.tf32.f32", unknown("m16n8k16", "f32, tf32, tf32, f32")),
        ("m16n8k32.row.col.f32.f16.f16.f32", unknown("m16n8k32", "f32, f16, f16, f32")),
        ("m16n8k32.row.col.f32.e4m3.e2m1.f32", unknown("m16n8k32", "f32, e4m3, e2m1, f32")),
        ("m16n8k64.row.col.s32.s8.s8.s32", unknown("m16n8k64", "s32, s8, s8, s32")),
        ("m16n8k32.row.col.s32.s8.s4.s32", unknown("m16n8k32", "s32, s8, s4, s32")),
        (
            "m16n8k99999999999999999999.row.col.f32.f16.f16.f32",
            unknown("m16n8k99999999999999999999", "f32, f16, f16, f32"),
        ),
        ("m16n8k16.row.row.f32.f16.f16.f32", "mma of this shape and type needs the layouts .row.col".into()),
        ("m8n8k4.col.col.f64.f64.f64.f64", "mma of this shape and type needs the layouts .row.col".into()),
        ("m16n8k16.row.f32.f16.f16.f32", "mma needs the layouts of A and B".into()),
        ("m16n8k16.row.col.f32.f16.f16", "mma needs the types of D, A, B and C, not f32, f16, f16".into()),
        ("m16n8k16.m16n8k8.row.col.f32.f16.f16.f32", "mma with two shapes".into()),
        ("row.col.f32.f16.f16.f32", "mma without a shape".into()),
        (
            "m16n8k16.row.col.satfinite.f32.f16.f16.f32",
            "mma has .satfinite for s8, u8, s4 and u4 only".into(),
        ),
        (
            "m8n8k128.row.col.satfinite.s32.b1.b1.s32.xor.popc",
            "mma has .satfinite for s8, u8, s4 and u4 only".into(),
        ),
        ("m16n8k16.row.col.rz.f32.f16.f16.f32", "mma has a rounding mode for f64 only".into()),
        ("m8n8k128.row.col.s32.b1.b1.s32", "mma of b1 needs .xor.popc or .and.popc".into()),
        ("m8n8k128.row.col.s32.b1.b1.s32.xor", "mma of b1 needs .xor.popc or .and.popc".into()),
        ("m8n8k16.row.col.s32.s8.s8.s32.and.popc", "mma has .xor.popc and .and.popc for b1 only".into()),
        (
            "m16n8k32.row.col.kind::f8f6f4.f32.e4m3.e4m3.f32",
            "mma with .kind::f8f6f4 needs compute capability 12.0".into(),
        ),
        (
            "m16n8k64.row.col.block_scale.f32.e2m1.e2m1.f32.ue8m0",
            "block-scaled mma needs compute capability 12.0".into(),
        ),
    ];
    for (form, reason) in refused {
        let opcode = format!("mma.sync.aligned.{form}");
        assert_eq!(decoded(&opcode, false, [4, 4, 2, 4]).err().as_ref(), Some(&reason), "{opcode}");
        let (_, instruction) = instruction(&opcode, Type::B32, [4, 4, 2, 4]);
        assert_eq!(required_compute_capability(&instruction), None, "{opcode}");
    }
    for opcode in [
        "mma.sp.sync.aligned.m16n8k32.row.col.f32.f16.f16.f32",
        "mma.sp::ordered_metadata.sync.aligned.m16n8k32.row.col.f32.f16.f16.f32",
    ] {
        let reject = decoded(opcode, false, [4, 4, 4, 4]).err();
        assert_eq!(reject.as_deref(), Some("sparse mma.sp is not supported"));
    }
    let reject = decoded("mma.m16n8k16.row.col.f32.f16.f16.f32", false, [4, 4, 2, 4]).err();
    assert_eq!(reject.as_deref(), Some("mma without .sync.aligned"));
    let reject = decoded("wmma.mma.sync.aligned.row.col.m16n16k16.f32.f32", false, [8, 8, 8, 8]).err();
    assert_eq!(reject.as_deref(), Some("not decoded"));
}

#[test]
fn operands_are_checked() {
    use super::{Allocation, Decoder, NoSymbols, decode};
    let opcode = "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32";
    let try_with = |change: &dyn Fn(&mut Vec<Operand>)| {
        let (function, mut instruction) = instruction(opcode, Type::B32, [4, 4, 2, 4]);
        change(&mut instruction.operands);
        let mut allocation = Allocation::default();
        let mut decoder = Decoder::new(&function, &mut allocation, &NoSymbols);
        decode(&mut decoder, &instruction).map(|decoded| decoded.is_some())
    };
    assert_eq!(try_with(&|_| ()), Ok(true));
    // Zeros written as constants are an accumulator like any other.
    assert_eq!(try_with(&|operands| operands[3] = Operand::Vector(vec![Operand::F32(0); 4])), Ok(true));
    assert!(try_with(&|operands| operands[0] = Operand::Vector(vec![Operand::F32(0); 4])).is_err());
    assert!(try_with(&|operands| operands.truncate(3)).is_err());
    assert!(try_with(&|operands| operands.push(Operand::Sink)).is_err());
    assert!(try_with(&|operands| operands[1] = Operand::Integer(0)).is_err());
}
