//! The header says what the library is.

use std::collections::BTreeMap;
use std::mem::offset_of;

use llama_kernels::params::SampleRow;

use super::library;
use super::types::{Attention, Int4Packed, Int4Weight, Properties, Tensor};
use crate::common::TempDir;

fn read(name: &str) -> String {
    std::fs::read_to_string(library::sources().join(name)).unwrap()
}

/// The functions of the header by name: types and names of the parameters, and the type of the result.
fn declared() -> BTreeMap<String, String> {
    let header = read("llama_kernels.h");
    let code: String = header
        .split("/*")
        .map(|part| part.split_once("*/").map_or(part, |(_, code)| code))
        .flat_map(|part| part.lines().filter(|line| !line.starts_with('#')))
        .collect::<Vec<_>>()
        .join(" ");
    let mut functions = BTreeMap::new();
    for statement in code.split(';') {
        let Some((before, parameters)) = statement.split_once('(') else { continue };
        let (result, name) = before.rsplit_once([' ', '*']).unwrap();
        let result =
            if before.contains('*') { "const char *" } else { result.split(' ').next_back().unwrap() };
        let parameters = parameters.trim().trim_end_matches(')');
        let parameters: Vec<_> =
            parameters.split(',').map(|p| p.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        functions.insert(name.to_string(), format!("{result} ({})", parameters.join(", ")));
    }
    functions
}

/// The functions that the library exports, in the header's words.
fn exported() -> BTreeMap<String, String> {
    let c_type = |rust: &str, name: &str| match (rust, name) {
        ("u64", "device") => "lk_device ".to_string(),
        ("*mut u64", "device") => "lk_device *".into(),
        ("*mut c_void", "stream") => "lk_stream ".into(),
        ("*const Tensor", _) => "const lk_tensor *".into(),
        ("*const Attention", _) => "const lk_attention *".into(),
        ("*mut Properties", _) => "lk_properties *".into(),
        ("*const Int4Packed", _) => "const lk_int4_packed *".into(),
        ("*const Int4Weight", _) => "const lk_int4_weight *".into(),
        ("*const c_char", _) => "const char *".into(),
        ("*const c_void", _) => "const void *".into(),
        ("*mut c_void", _) => "void *".into(),
        ("*mut *mut c_void", _) => "void **".into(),
        ("*mut u64", _) => "uint64_t *".into(),
        ("*mut u16", _) => "uint16_t *".into(),
        ("*mut u8", _) => "uint8_t *".into(),
        ("*mut i32", _) => "int32_t *".into(),
        ("u64", _) => "uint64_t ".into(),
        ("i32", _) => "int32_t ".into(),
        ("f32", _) => "float ".into(),
        other => panic!("{other:?} has no word in C here"),
    };
    let mut functions = BTreeMap::new();
    for file in ["attention.rs", "device.rs", "error.rs", "ops.rs", "products.rs"] {
        let source = read(file);
        for function in source.split("#[unsafe(no_mangle)]").skip(1) {
            let (_, function) = function.split_once("extern \"C\" fn ").unwrap();
            let (name, rest) = function.split_once('(').unwrap();
            let (parameters, rest) = rest.split_once(')').unwrap();
            let result = rest.trim().strip_prefix("->").unwrap().split_once('{').unwrap().0.trim();
            let parameters: Vec<_> = parameters
                .split(',')
                .filter_map(|parameter| parameter.split_once(':'))
                .map(|(name, rust)| (name.trim(), rust.trim()))
                .map(|(name, rust)| format!("{}{name}", c_type(rust, name)))
                .collect();
            let parameters = if parameters.is_empty() { "void".into() } else { parameters.join(", ") };
            functions.insert(name.to_string(), format!("{} ({parameters})", c_type(result, "").trim_end()));
        }
    }
    functions
}

#[test]
fn functions_are_those_of_the_header() {
    let (declared, exported) = (declared(), exported());
    assert!(exported.len() >= 20, "{exported:#?}");
    assert_eq!(declared, exported);
    // SAFETY: loading the library runs no code of its own.
    let library = unsafe { libloading::Library::new(library::path()) }.unwrap();
    for name in declared.keys() {
        // SAFETY: it is looked up and not called.
        unsafe { library.get::<*const ()>(name.as_str()) }.unwrap();
    }
}

fn field_size<T, F>(_: impl Fn(&T) -> &F) -> usize {
    size_of::<F>()
}

/// Sizes and offsets as the C compiler and rustc see them.
#[test]
fn structs_are_those_of_the_header() {
    let mut expected = String::new();
    let mut program = String::from(
        "#include \"llama_kernels.h\"\n#include <stddef.h>\n#include <stdio.h>\nint main(void) {\n",
    );
    let mut compare = |size: usize, name: &str, fields: &[(&str, usize, usize)]| {
        program += &format!("printf(\"{name} %zu\\n\", sizeof(struct {name}));\n");
        expected += &format!("{name} {size}\n");
        for (field, offset, size) in fields {
            program += &format!(
                "printf(\"{name}.{field} %zu %zu\\n\", offsetof(struct {name}, {field}), \
                 sizeof(((struct {name} *)0)->{field}));\n"
            );
            expected += &format!("{name}.{field} {offset} {size}\n");
        }
    };
    macro_rules! compare {
        ($rust:ty, $c:literal, $($field:ident)+) => {
            compare(size_of::<$rust>(), $c, &[$((
                stringify!($field), offset_of!($rust, $field), field_size(|value: &$rust| &value.$field)
            )),+])
        };
    }
    compare!(Tensor, "lk_tensor", data dtype rank shape strides);
    compare!(Attention, "lk_attention", q k v page_table kv_indptr q_indptr kv_len out lse error first_sequence
        num_sequences max_q_len max_kv_len softmax_scale k_scale v_scale batch_invariant);
    compare!(Properties, "lk_properties", name simulated compute_capability_major compute_capability_minor num_sms
        memory_bytes l2_bytes memory_bytes_per_second kernels_cuda_major kernels_cuda_minor);
    compare!(Int4Weight, "lk_int4_weight", n k group_size codes scales zeros dtype);
    compare!(Int4Packed, "lk_int4_packed", n k codes scales integer_zeros);
    compare!(SampleRow, "lk_sample_row", temperature top_p min_p repetition_penalty top_k seen_row seed sequence
        position);
    program += "return 0;\n}\n";

    let folder = TempDir::new();
    let source = folder.path().join("structs.c");
    std::fs::write(&source, program).unwrap();
    let output = library::run_c(&source, folder.path(), &[]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}
