//! Memory that nothing has written: reading it is reported where what was read comes to matter.

use ptx_sim::ViolationKind;

use crate::run::{Run, per_thread};

/// Half of a tile is written; `%r1` holds this thread's word of it, which is garbage in the upper half of the warp.
const HALF_A_TILE: &str = ".shared .align 16 .b32 tile[128];\nmul.lo.u32 %r2, %t, 4;\nmov.u32 %r3, tile;\n\
                           add.u32 %r3, %r3, %r2;\nsetp.lt.u32 %p0, %t, 16;\n@%p0 st.shared.u32 [%r3], %t;\n\
                           bar.warp.sync 0xffffffff;\nld.shared.u32 %r1, [%r3];\n";

fn run(body: &str) -> Result<Vec<u32>, Box<ptx_sim::Violation>> {
    let body = per_thread(&format!("{HALF_A_TILE}{body}"));
    match (Run { body: &body, ..Run::default() }).try_run(&[0; 64], 32) {
        Ok((output, _)) => Ok(output),
        Err(ptx_sim::Error::Violation(violation)) => Err(violation),
        Err(error) => panic!("{error}\n{body}"),
    }
}

#[track_caller]
fn harmless(body: &str) -> Vec<u32> {
    run(body).unwrap_or_else(|violation| panic!("{violation}\n{body}"))
}

#[track_caller]
fn reported(body: &str, place: &str) {
    let violation = run(body).expect_err(body);
    assert_eq!(violation.kind, ViolationKind::UninitializedShared, "{violation}");
    // The read is what is at fault, and the message says where it matters.
    assert!(violation.location.as_ref().unwrap().instruction.starts_with("ld.shared"), "{violation}");
    assert!(violation.message.contains(place), "{violation}");
    assert!(violation.thread.unwrap().lane >= 16, "{violation}");
}

#[test]
fn a_value_that_nobody_uses_is_harmless() {
    harmless("");
    harmless("add.u32 %r4, %r1, 1;\nmul.lo.u32 %r4, %r4, %r4;");
    assert_eq!(harmless("selp.u32 %r0, %r1, 7, %p0;")[15..18], [15, 7, 7]);
    harmless("@%p0 mov.u32 %r0, %r1;");
    // Written over before it is used.
    harmless("mov.u32 %r1, 5;\nmov.u32 %r0, %r1;");
}

#[test]
fn stores_to_global_memory_are_reported() {
    reported("mov.u32 %r0, %r1;", "is stored to global memory");
    reported("mad.lo.u32 %r0, %r1, 3, %t;", "is stored to global memory");
    reported("selp.u32 %r0, 7, %r1, %p0;", "is stored to global memory");
    reported("setp.eq.u32 %p1, %r1, 3;\nselp.u32 %r0, 1, 2, %p1;", "is stored to global memory");
    reported(
        "cvt.u64.u32 %rd1, %r1;\nshr.u64 %rd1, %rd1, 1;\ncvt.u32.u64 %r0, %rd1;",
        "is stored to global memory",
    );
}

#[test]
fn addresses_guards_and_atomics_are_reported() {
    reported(
        "and.b32 %r4, %r1, 4;\nadd.u32 %r4, %r4, %r3;\nld.shared.u32 %r5, [%r4];",
        "is used as an address",
    );
    reported("setp.eq.u32 %p1, %r1, 3;\n@%p1 st.global.u32 [%in], %t;", "decides what is executed");
    reported("atom.global.add.u32 %r4, [%in], %r1;", "is an operand of an atomic operation");
    // A branch alone is not: what is computed behind it stays what it is.
    harmless("setp.eq.u32 %p1, %r1, 3;\n@%p1 bra AROUND;\nadd.u32 %r4, %r4, 1;\nAROUND:");
}

#[test]
fn shared_and_local_memory_hand_garbage_on() {
    let through = |space: &str, address: &str, declare: &str| {
        format!("{declare}st.{space}.u32 [{address}], %r1;\nld.{space}.u32 %r5, [{address}];\n")
    };
    let shared = through("shared", "%r3+128", "");
    let local = through("local", "own", ".local .align 4 .b32 own;\n");
    for way in [&shared, &local] {
        harmless(way);
        assert_eq!(harmless(&format!("{way}selp.u32 %r0, %r5, 9, %p0;"))[15..18], [15, 9, 9]);
    }
    // Where garbage was stored and loaded again, the first read is named.
    reported(&format!("{shared}mov.u32 %r0, %r5;"), "is stored to global memory");
    let body = per_thread(&format!("{HALF_A_TILE}{local}mov.u32 %r0, %r5;"));
    Run { body: &body, ..Run::default() }.expect(ViolationKind::UninitializedLocal, &[0; 64], 32);
    // Written properly in the end.
    harmless(&format!("{shared}st.shared.u32 [%r3], 5;\nld.shared.u32 %r0, [%r3];"));
}

#[test]
fn shuffles_move_garbage_with_its_lane() {
    // Every lane reads one of the lower half.
    harmless("and.b32 %r4, %t, 15;\nshfl.sync.idx.b32 %r0, %r1, %r4, 31, 0xffffffff;");
    let body = "shfl.sync.idx.b32 %r0, %r1, 20, 31, 0xffffffff;";
    let violation = run(body).unwrap_err();
    assert_eq!((violation.kind, violation.thread.unwrap().lane), (ViolationKind::UninitializedShared, 16));
    assert!(run("redux.sync.add.u32 %r0, %r1, 0xffffffff;").is_err());
}

#[test]
fn vectors_are_followed_element_by_element() {
    // Of four words the first two are written.
    let load = ".shared .align 16 .b32 part[128];\nmul.lo.u32 %r6, %t, 16;\nmov.u32 %r7, part;\nadd.u32 %r7, %r7, %r6;\n\
                st.shared.v2.u32 [%r7], {%t, %t};\nld.shared.v4.u32 {%r8, %r9, %r10, %r11}, [%r7];\n";
    assert_eq!(harmless(&format!("{load}mov.u32 %r0, %r9;"))[7], 7);
    let violation = run(&format!("{load}mov.u32 %r0, %r10;")).unwrap_err();
    assert_eq!(violation.kind, ViolationKind::UninitializedShared);
}

/// Rows of a tile past the end are loaded and multiplied, but not stored: the way of every attention kernel.
#[test]
fn matrices_are_followed_by_rows_and_columns() {
    // Rows 0 to 7 of A and all of B are written: 16 bytes a row, two 8x8 matrices of each.
    let multiply = |first_row_only: bool, columns: &str| {
        format!(
            ".reg .f32 %d<4>;\n.reg .b32 %a<4>, %b<2>, %x<4>;\n.shared .align 16 .b8 a[512];\n.shared .align 16 .b8 b[256];\n\
             mul.lo.u32 %x0, %t, 16;\nmov.u32 %x1, a;\nadd.u32 %x1, %x1, %x0;\nmov.u32 %x2, b;\n\
             and.b32 %x3, %x0, 255;\nadd.u32 %x2, %x2, %x3;\nmov.b32 %x3, 0x3c003c00;\n\
             and.b32 %r4, %t, 15;\nsetp.lt.u32 %p1, %r4, 8;\n@%p1 st.shared.v4.u32 [%x1], {{%x3, %x3, %x3, %x3}};\n\
             {columns} st.shared.v4.u32 [%x2], {{%x3, %x3, %x3, %x3}};\nbar.warp.sync 0xffffffff;\n\
             ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{%a0, %a1, %a2, %a3}}, [%x1];\n\
             ldmatrix.sync.aligned.m8n8.x2.shared.b16 {{%b0, %b1}}, [%x2];\n\
             mov.f32 %d0, 0f00000000;\nmov.f32 %d1, 0f00000000;\nmov.f32 %d2, 0f00000000;\nmov.f32 %d3, 0f00000000;\n\
             mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {{%d0,%d1,%d2,%d3}}, {{%a0,%a1,%a2,%a3}}, {{%b0,%b1}}, \
             {{%d0,%d1,%d2,%d3}};\nmov.b32 %r0, {};",
            if first_row_only { "%d0" } else { "%d2" }
        )
    };
    // Lanes 8 to 15 of each half write nothing: rows 8 to 15 of A.
    let all = "setp.lt.u32 %p2, %t, 16;\n@%p2";
    let output = harmless(&multiply(true, all));
    assert_eq!(output, vec![16f32.to_bits(); 32]);
    assert_eq!(run(&multiply(false, all)).unwrap_err().kind, ViolationKind::UninitializedShared);
    // Without a row of B in memory, which is a column of the matrix, only that column is garbage.
    let but_one = "setp.ne.u32 %p2, %r4, 14;\n@%p2";
    assert_eq!(run(&multiply(true, but_one)).unwrap_err().kind, ViolationKind::UninitializedShared);
    let others = "and.b32 %r5, %t, 3;\nsetp.eq.u32 %p3, %r5, 3;\nselp.b32 %r0, 0, %r0, %p3;";
    let output = harmless(&format!("{}\n{others}", multiply(true, but_one)));
    assert_eq!((output[2], output[3]), (16f32.to_bits(), 0));
}
