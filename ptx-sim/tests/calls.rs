//! Device functions, and what compilers call in CUDA's device runtime.

use ptx_sim::{ComputeCapability, Device, DeviceProperties, Error, LaunchConfig, Report, ViolationKind};

/// Runs `kernel` of a module on one warp; the 32 words that it writes, and its report.
fn run(ptx: &str) -> Result<(Vec<u32>, Report), Error> {
    let device = Device::new(DeviceProperties::of(ComputeCapability::Sm80));
    let kernel = device.load_module(ptx)?.kernel("kernel")?;
    let output = device.allocate(128)?;
    let stream = device.create_stream();
    stream.launch(&kernel, &LaunchConfig::new([1, 1, 1], [32, 1, 1]), &output.to_le_bytes())?;
    let report = stream.synchronize()?.remove(0);
    let mut bytes = [0; 128];
    device.read(output, &mut bytes)?;
    let words = bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    Ok((words.collect(), report))
}

const HEAD: &str = ".version 8.8\n.target sm_80\n.address_size 64\n";

/// A kernel around `body`, which leaves its result in `%r0`; `%t` is the thread.
fn kernel(functions: &str, body: &str) -> String {
    format!(
        "{HEAD}{functions}\n.visible .entry kernel(.param .u64 output) {{\n.reg .b32 %r<20>, %t;\n.reg .b64 %rd<20>;\n\
         .reg .pred %p<4>;\n.reg .f64 %fd<4>;\nmov.u32 %t, %tid.x;\nmov.u32 %r0, 0;\n{body}\n\
         ld.param.u64 %rd0, [output];\nmul.wide.u32 %rd1, %t, 4;\nadd.s64 %rd0, %rd0, %rd1;\n\
         st.global.u32 [%rd0], %r0;\nret;\n}}\n"
    )
}

/// x * x + 1, with an early return where x is 3.
const SQUARE: &str = ".func (.param .b32 result) square(.param .b32 x) {\n.reg .b32 %r<4>;\n.reg .pred %p;\n\
                      ld.param.u32 %r0, [x];\nsetp.ne.u32 %p, %r0, 3;\n@%p bra GO;\nmov.u32 %r1, 1000;\n\
                      st.param.b32 [result], %r1;\nret;\nGO:\nmad.lo.u32 %r1, %r0, %r0, 1;\n\
                      st.param.b32 [result], %r1;\nret;\n}";

fn call_square(argument: &str, result: &str) -> String {
    format!(
        "{{\n.param .b32 p0;\nst.param.b32 [p0], {argument};\n.param .b32 r0;\ncall.uni (r0), square, (p0);\n\
         ld.param.b32 {result}, [r0];\n}}\n"
    )
}

#[test]
fn functions_are_called_and_return() {
    let body = call_square("%t", "%r1") + &call_square("%r1", "%r2") + "add.u32 %r0, %r1, %r2;";
    let (output, _) = run(&kernel(SQUARE, &body)).unwrap();
    let square = |x: u32| if x == 3 { 1000 } else { x * x + 1 };
    let expected: Vec<u32> = (0..32).map(|t| square(t) + square(square(t))).collect();
    assert_eq!(output, expected);
}

#[test]
fn guarded_calls_are_made_by_those_that_the_guard_lets() {
    let body = "setp.lt.u32 %p0, %t, 8;\nmov.u32 %r1, 7;\n{\n.param .b32 p0;\nst.param.b32 [p0], %t;\n.param .b32 r0;\n\
                st.param.b32 [r0], %r1;\n@%p0 call (r0), square, (p0);\nld.param.b32 %r0, [r0];\n}\n";
    let (output, _) = run(&kernel(SQUARE, body)).unwrap();
    assert_eq!((output[7], output[8], output[31]), (50, 7, 7));
}

#[test]
fn recursion_and_unknown_functions_are_refused_by_name() {
    let recursive = ".func again() {\ncall.uni again;\nret;\n}";
    let error = run(&kernel(recursive, "call.uni again;")).unwrap_err();
    let Error::Unsupported(list) = &error else { panic!("{error}") };
    assert!(list[0].reason.contains("recursive calls (of `again`)"), "{error}");
    assert_eq!(list[0].line, 5);
    let declared = ".extern .func elsewhere();";
    let error = run(&kernel(declared, "call.uni elsewhere;")).unwrap_err().to_string();
    assert!(error.contains("`elsewhere` is not defined in the module"), "{error}");
}

#[test]
fn printf_prints_what_its_format_says() {
    let functions = ".extern .func (.param .b32 result) vprintf(.param .b64 format, .param .b64 arguments);\n\
                     .global .align 1 .b8 format[17] = {116, 37, 100, 32, 105, 115, 32, 37, 46, 50, 102, 32, 37, 115, 33, 10, 0};\n\
                     .global .align 1 .b8 name[4] = {111, 107, 63, 0};";
    let body = ".local .align 8 .b8 list[24];\nsetp.gt.u32 %p0, %t, 1;\n@%p0 bra DONE;\nst.local.u32 [list], %t;\n\
                cvt.rn.f64.u32 %fd0, %t;\nst.local.f64 [list+8], %fd0;\nmov.u64 %rd2, name;\n\
                cvta.global.u64 %rd3, %rd2;\nst.local.u64 [list+16], %rd3;\nmov.u64 %rd4, format;\n\
                cvta.global.u64 %rd5, %rd4;\nmov.u64 %rd6, list;\ncvta.local.u64 %rd7, %rd6;\n{\n.param .b64 p0;\n\
                st.param.b64 [p0], %rd5;\n.param .b64 p1;\nst.param.b64 [p1], %rd7;\n.param .b32 r0;\n\
                call.uni (r0), vprintf, (p0, p1);\nld.param.b32 %r0, [r0];\n}\nDONE:";
    let (output, report) = run(&kernel(functions, body)).unwrap();
    assert_eq!(report.output, "t0 is 0.00 ok?!\nt1 is 1.00 ok?!\n");
    assert_eq!(output[..3], [3, 3, 0]);
}

#[test]
fn failed_assertions_say_which() {
    let functions = ".extern .func __assertfail(.param .b64 a, .param .b64 b, .param .b32 c, .param .b64 d, .param .b64 e);\n\
                     .global .align 1 .b8 message[6] = {105, 32, 60, 32, 110, 0};\n\
                     .global .align 1 .b8 file[5] = {97, 46, 99, 117, 0};\n\
                     .global .align 1 .b8 name[2] = {102, 0};";
    let address = |variable: &str, register: &str| {
        format!("mov.u64 %rd8, {variable};\ncvta.global.u64 {register}, %rd8;\n")
    };
    let body = format!(
        "setp.ne.u32 %p0, %t, 9;\n@%p0 bra DONE;\n{}{}{}{{\n.param .b64 p0;\nst.param.b64 [p0], %rd2;\n\
         .param .b64 p1;\nst.param.b64 [p1], %rd3;\n.param .b32 p2;\nst.param.b32 [p2], 42;\n.param .b64 p3;\n\
         st.param.b64 [p3], %rd4;\n.param .b64 p4;\nst.param.b64 [p4], 1;\n\
         call.uni __assertfail, (p0, p1, p2, p3, p4);\n}}\nDONE:",
        address("message", "%rd2"),
        address("file", "%rd3"),
        address("name", "%rd4")
    );
    let Err(Error::Violation(violation)) = run(&kernel(functions, &body)) else {
        panic!("the assertion holds")
    };
    assert_eq!(violation.kind, ViolationKind::Trap);
    assert_eq!(violation.message, "assertion `i < n` failed in f (a.cu:42)");
    assert_eq!(violation.thread.unwrap().lane, 9);
}

#[test]
fn what_a_target_lacks_is_refused_with_its_line() {
    let ptx = kernel("", "elect.sync %r1|%p0, 0xffffffff;\nwgmma.fence.sync.aligned;\nadd.u32 %r0, %r0, 1;");
    let Err(Error::Unsupported(list)) = run(&ptx) else { panic!("nothing is refused") };
    let found: Vec<_> =
        list.iter().map(|one| (one.line, one.instruction.as_str(), one.reason.as_str())).collect();
    assert_eq!(
        found,
        [
            (12, "elect.sync", "it needs compute capability 9.0, the module's target is sm_80"),
            (13, "wgmma.fence.sync.aligned", "it needs the target sm_90a, the module's target is sm_80"),
        ]
    );
}
