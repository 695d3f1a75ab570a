//! The machine code itself: what the budgets of bandwidth rest on, proved without a GPU.

use llama_kernels::gpu::registry;
use llama_kernels::plan::Kernel;

use super::tools;

/// 16-byte loads and stores of a thread, and its other global accesses. Each input vector is loaded once, each output stored
/// once: a number above these means that a row is read twice or that an access was split.
fn expected(kernel: Kernel) -> [usize; 3] {
    match kernel {
        // The id, and the error word.
        Kernel::EmbedB16 => [4, 4, 2],
        // x and weight; out.
        Kernel::RmsNormBf16 | Kernel::RmsNormF16 => [8, 4, 0],
        // x, residual and weight; residual and out.
        Kernel::AddRmsNormBf16 | Kernel::AddRmsNormF16 => [12, 8, 0],
        // gate and up; out.
        Kernel::SiluAndMulBf16 | Kernel::SiluAndMulF16 => [4, 2, 0],
        other => panic!("{}: state its accesses here", other.name()),
    }
}

/// The instruction of a line such as `/*02b0*/ @!P0 LDG.E.128 R20, …`.
fn opcode(line: &str) -> Option<&str> {
    let (_, instruction) = line.strip_prefix("/*")?.split_once("*/")?;
    instruction.split_whitespace().find(|word| !word.starts_with('@'))
}

#[test]
#[cfg_attr(not(kernels_pinned), ignore = "the pinned nvcc did not build these kernels")]
fn memory_is_accessed_in_16_bytes_and_never_spilled_to() {
    let mut seen = 0;
    for &kernel in Kernel::ALL {
        let output = tools::cuobjdump(kernel.family(), kernel, &["-sass", "-fun", kernel.name()]);
        for ((name, arch), lines) in tools::by_kernel(&output) {
            let ops: Vec<&str> = lines.into_iter().filter_map(opcode).collect();
            let positions = |wanted: &dyn Fn(&str) -> bool| -> Vec<usize> {
                ops.iter().enumerate().filter(|(_, op)| wanted(op)).map(|(position, _)| position).collect()
            };
            let any = |op: &str, stems: &[&str]| stems.iter().any(|stem| op.split('.').next() == Some(stem));
            let wide = |op: &str, stem: &str| any(op, &[stem]) && op.split('.').any(|part| part == "128");

            let loads = positions(&|op| wide(op, "LDG"));
            let stores = positions(&|op| wide(op, "STG"));
            let global = positions(&|op| any(op, &["LDG", "STG", "RED", "REDG", "ATOM", "ATOMG"]));
            let counts = [loads.len(), stores.len(), global.len() - loads.len() - stores.len()];
            assert_eq!(counts, expected(kernel), "{name} sm_{arch}: {ops:?}");
            // All loads are in flight before the first result is stored.
            assert!(loads.last() < stores.first(), "{name} sm_{arch}: a load waits for a store");
            let spills = positions(&|op| any(op, &["LDL", "STL"]));
            assert!(spills.is_empty(), "{name} sm_{arch} uses local memory");
            // An access whose address space the compiler did not know.
            let generic = positions(&|op| any(op, &["LD", "ST"]));
            assert!(generic.is_empty(), "{name} sm_{arch} has generic accesses");
            seen += 1;
        }
    }
    assert_eq!(seen, Kernel::ALL.len() * registry::architectures().unwrap().len());
}

#[test]
fn opcodes_are_read_behind_predicates() {
    assert_eq!(
        opcode("/*02b0*/              @!P0 LDG.E.NA.128 R20, desc[UR6][R32.64] ;"),
        Some("LDG.E.NA.128")
    );
    assert_eq!(opcode("/*0030*/                   EXIT ;"), Some("EXIT"));
    assert_eq!(opcode("/* 0x000fe20000000f00 */"), None);
    assert_eq!(opcode("headerflags	@\"EF_CUDA_TEXMODE_UNIFIED\""), None);
}
