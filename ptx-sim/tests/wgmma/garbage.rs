//! Rows and columns that nothing has written: what is computed of them is garbage, the rest is not.

use super::*;

const RUN: &str = "wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;\n";

/// Runs a product of which only some bytes of the shared memory are written, and stores only some of D.
fn run(case: &Case, written: &str, stored: &str, seed: u64) -> Result<Vec<i32>, Box<Violation>> {
    let kernel = case.kernel(&format!("wgmma.fence.sync.aligned;\n{}\n{RUN}", case.instruction()));
    // The loop that fills the shared memory stores under a predicate: of the byte's place in `%r13`.
    let kernel = kernel.replace(
        "st.shared.b32 [%r3], %r5;",
        &format!("mov.u32 %r13, tile;\nsub.u32 %r13, %r3, %r13;\n{written}\n@%p1 st.shared.b32 [%r3], %r5;"),
    );
    // And so do the stores of D: of the row in `%r6` (and 8 more), and of the column in `%r7` (and 8 more).
    let kernel = kernel.replace("st.global", "@%p2 st.global");
    let kernel = kernel.replacen(RUN, &format!("{RUN}{stored}\n"), 1);
    case.run(&kernel, seed, &mixed(3), &mixed(2), &vec![0; 64 * case.n]).map(|(d, _)| d)
}

fn check(case: &Case, written: &str, harmless: &str, harmful: &str) {
    for seed in 0..3 {
        if let Err(violation) = run(case, written, harmless, seed) {
            panic!("{violation}\n{case:?}");
        }
        let violation = run(case, written, harmful, seed).unwrap_err();
        assert_eq!(violation.kind, ViolationKind::UninitializedShared, "{violation}");
        assert!(violation.location.as_ref().unwrap().instruction.starts_with("wgmma"), "{violation}");
        assert!(violation.message.contains("is stored to global memory"), "{violation}");
    }
}

#[test]
fn columns_of_b() {
    // Rows of 32 bytes are columns of B: all but column 4.
    let written = "shr.u32 %r14, %r13, 5;\nsetp.ne.u32 %p1, %r14, 4;";
    let elsewhere = "setp.ne.u32 %p2, %r7, 4;";
    check(&small(), written, elsewhere, "setp.eq.u32 %p2, %r7, 4;");
    // Columns with one k, transposed: 8 columns are 16 bytes, of which two are columns 2 and 3.
    let b_tile = Tile { swizzle: Swizzle(0), transposed: true, start: 0, leading: 128, stride: 256 };
    let written = "and.b32 %r14, %r13, 15;\nsetp.ne.u32 %p1, %r14, 4;";
    check(&Case { b_tile, ..small() }, written, "setp.ne.u32 %p2, %r7, 2;", "setp.eq.u32 %p2, %r7, 2;");
}

#[test]
fn rows_of_a() {
    // Rows of 32 bytes behind B: all but rows 20 and 28 of A.
    let a_tile = Tile { swizzle: Swizzle(1), transposed: false, start: 4096, leading: 16, stride: 256 };
    let written = "shr.u32 %r14, %r13, 5;\nsub.u32 %r14, %r14, 128;\nand.b32 %r14, %r14, 0xfffffff7;\n\
                   setp.ne.u32 %p1, %r14, 20;";
    let case = Case { a_tile: Some(a_tile), ..small() };
    check(&case, written, "setp.ne.u32 %p2, %r6, 20;", "setp.eq.u32 %p2, %r6, 20;");
}

#[test]
fn fragments_of_a() {
    // A register that was loaded from shared memory which nothing has written, in the lanes of one row of four.
    let written = "setp.ne.u32 %p1, %r13, 8192;";
    let mut case = small();
    case.n = 16;
    let load = |stored: &str| {
        format!(
            "{stored}\nmov.u32 %r14, tile;\nsetp.eq.u32 %p3, %r6, 3;\n@%p3 ld.shared.b32 %a0, [%r14+8192];\n"
        )
    };
    for (stored, harmful) in [("setp.ne.u32 %p2, %r6, 3;", false), ("setp.eq.u32 %p2, %r6, 3;", true)] {
        let body = format!("{}wgmma.fence.sync.aligned;\n{}\n{RUN}", load(stored), case.instruction());
        let kernel = case.kernel(&body).replace("st.global", "@%p2 st.global").replace(
            "st.shared.b32 [%r3], %r5;",
            &format!(
                "mov.u32 %r13, tile;\nsub.u32 %r13, %r3, %r13;\n{written}\n@%p1 st.shared.b32 [%r3], %r5;"
            ),
        );
        let result = case.run(&kernel, 1, &mixed(3), &mixed(2), &vec![0; 64 * case.n]);
        assert_eq!(result.is_err(), harmful, "{result:?}");
    }
}

#[test]
fn without_accumulation_garbage_in_d_is_gone() {
    let load = "mov.u32 %r14, tile;\nld.shared.b32 %d0, [%r14+8192];\n";
    let written = "mov.u32 %r13, tile;\nsub.u32 %r13, %r3, %r13;\nsetp.lt.u32 %p1, %r13, 8192;\n\
                   @%p1 st.shared.b32 [%r3], %r5;";
    for accumulates in [false, true] {
        let case = Case { accumulates, ..small() };
        let body = format!("{load}wgmma.fence.sync.aligned;\n{}\n{RUN}", case.instruction());
        let kernel = case.kernel(&body).replace("st.shared.b32 [%r3], %r5;", written);
        let result = case.run(&kernel, 1, &mixed(3), &mixed(2), &[0; 512]);
        assert_eq!(result.is_err(), accumulates, "{result:?}");
    }
}
