//! safetensors headers.

use llama_kernels::model::checkpoint::Header;

use super::Expected::{self, Malformed, Unsupported};
use super::assert_error;
use super::config::broken_json;
use super::folder::{Tensor, header, lay_out};

const FILE: &str = "model.safetensors";

fn malformed(part: &'static str, says: &'static str) -> Expected {
    Malformed(FILE, part, says)
}

fn parse(json: &str, data_len: usize) -> llama_kernels::Result<Header> {
    Header::parse(json.as_bytes(), data_len, FILE.as_ref())
}

/// Three f32 tensors of 8, 16 and 4 bytes.
fn valid() -> Vec<Tensor> {
    let mut tensors = vec![Tensor::new("a", &[2]), Tensor::new("b", &[2, 2]), Tensor::new("c", &[])];
    for tensor in &mut tensors {
        tensor.dtype = "F32".into();
    }
    lay_out(&mut tensors);
    tensors
}

#[test]
fn valid_headers_are_read() {
    let json = header(&valid());
    let parsed = parse(&json, 28).unwrap();
    assert_eq!(parsed.tensors.len(), 3);
    let b = &parsed.tensors["b"];
    assert_eq!((b.shape.as_slice(), b.bytes.clone()), ([2, 2].as_slice(), 8..24));
    // Any order in the header, spaces behind it, metadata, tensors of no bytes, names of any characters.
    let mut reversed = valid();
    reversed.reverse();
    reversed.push(Tensor { offsets: [8, 8], ..Tensor::new("z", &[0, u64::MAX >> 1]) });
    reversed.push(Tensor { offsets: [28, 28], ..Tensor::new("a b\n", &[0]) });
    let with_metadata =
        header(&reversed).replacen('{', r#"{"__metadata__":{"format":"pt","b":""},"#, 1) + "   ";
    assert_eq!(parse(&with_metadata, 28).unwrap().tensors.len(), 5);
    assert_eq!(parse("{}", 0).unwrap().tensors.len(), 0);
}

#[test]
fn wrong_tensors_are_named() {
    type Change = fn(&mut Vec<Tensor>);
    let cases: [(&str, Change, Expected); 23] = [
        (
            "hole",
            |t| t[1].offsets = [9, 25],
            malformed("tensor `b`", "leaves a hole before it: begins at byte 9, expected 8"),
        ),
        ("overlap", |t| t[1].offsets = [4, 20], malformed("tensor `b`", "overlaps the tensor before it")),
        (
            "the same place",
            |t| t[2] = Tensor { name: "c".into(), ..t[0].clone() },
            malformed("tensor `c`", "overlaps"),
        ),
        ("hole at the start", |t| drop(t.remove(0)), malformed("tensor `b`", "leaves a hole")),
        ("hole at the end", |t| drop(t.pop()), malformed("data", "28 bytes, but the tensors end at 24")),
        ("no tensors", Vec::clear, malformed("data", "28 bytes, but the tensors end at 0")),
        (
            "empty inside another",
            |t| t.push(Tensor { offsets: [9, 9], ..Tensor::new("d", &[0]) }),
            malformed("tensor `d`", "overlaps"),
        ),
        (
            "backwards",
            |t| t[0].offsets = [8, 0],
            malformed("tensor `a`", "bytes 8..0 lie outside the 28 of the data"),
        ),
        ("beyond the end", |t| t[2].offsets = [24, 29], malformed("tensor `c`", "lie outside the 28")),
        (
            "far beyond",
            |t| t[2].offsets = [u64::MAX - 4, u64::MAX],
            malformed("tensor `c`", "lie outside the 28"),
        ),
        (
            "too small for its place",
            |t| t[0].shape = vec![1],
            malformed("tensor `a`", "f32 [1] is 4 bytes, but its place has 8"),
        ),
        (
            "too large for its place",
            |t| t[0].shape = vec![3],
            malformed("tensor `a`", "f32 [3] is 12 bytes, but its place has 8"),
        ),
        ("no elements", |t| t[0].shape = vec![0], malformed("tensor `a`", "f32 [0] is 0 bytes")),
        ("another type", |t| t[0].dtype = "F64".into(), malformed("tensor `a`", "f64 [2] is 16 bytes")),
        (
            "product overflows",
            |t| t[0].shape = vec![1 << 33, 1 << 33],
            malformed("tensor `a`", "more than 2^64 bytes"),
        ),
        // 2^62 + 2 elements of 4 bytes are 8 bytes modulo 2^64.
        (
            "product wraps to the size",
            |t| t[0].shape = vec![(1 << 62) + 2],
            malformed("tensor `a`", "more than 2^64 bytes"),
        ),
        (
            "overflow before a zero",
            |t| t[0].shape = vec![1 << 63, 1 << 63, 0],
            malformed("tensor `a`", "more than 2^64 bytes"),
        ),
        ("rank", |t| t[0].shape = vec![1, 1, 1, 1, 2], malformed("tensor `a`", "5 dimensions, more than 4")),
        ("great rank", |t| t[0].shape = vec![1; 100_000], malformed("tensor `a`", "100000 dimensions")),
        (
            "unknown type",
            |t| t[0].dtype = "Q4_0".into(),
            malformed("tensor `a`", "unknown element type `Q4_0`"),
        ),
        (
            "small letters",
            |t| t[0].dtype = "f32".into(),
            malformed("tensor `a`", "unknown element type `f32`"),
        ),
        ("fp8", |t| t[0].dtype = "F8_E5M2".into(), Unsupported(FILE, "tensor `a`: element type F8_E5M2")),
        (
            "name for a terminal",
            |t| {
                t[0].name = "\u{1b}[2J".into();
                t[0].shape = vec![9];
            },
            malformed(r"tensor `\u{1b}[2J`", "is 36 bytes"),
        ),
    ];
    for (case, change, expected) in cases {
        let mut tensors = valid();
        change(&mut tensors);
        assert_error(case, parse(&header(&tensors), 28), expected);
    }
}

#[test]
fn wrong_headers_are_refused() {
    for (case, bytes, says) in broken_json() {
        // The format wants the brace before the parser is asked.
        let says = if bytes.first() == Some(&b'{') { says } else { "does not begin with `{`" };
        assert_error(case, Header::parse(&bytes, 0, FILE.as_ref()), malformed("header", says));
    }
    let a = r#""a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#;
    for (case, json, says) in [
        ("array", "[]".into(), "does not begin with `{`"),
        ("space before", format!(" {{{a}}}"), "does not begin with `{`"),
        ("duplicate tensor", format!("{{{a},{a}}}"), "duplicate key `a`"),
        ("duplicate by an escape", format!(r#"{{{a},"\u0061":{{}}}}"#), "duplicate key `a`"),
        (
            "duplicate field",
            r#"{"a":{"dtype":"F32","dtype":"F16","shape":[2],"data_offsets":[0,8]}}"#.into(),
            "duplicate field `dtype`",
        ),
        ("no type", r#"{"a":{"shape":[2],"data_offsets":[0,8]}}"#.into(), "`a`: missing field `dtype`"),
        ("no shape", r#"{"a":{"dtype":"F32","data_offsets":[0,8]}}"#.into(), "`a`: missing field `shape`"),
        ("no offsets", r#"{"a":{"dtype":"F32","shape":[2]}}"#.into(), "`a`: missing field `data_offsets`"),
        (
            "unknown field",
            r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}}"#.into(),
            "`a`: unknown field `x`",
        ),
        (
            "one offset",
            r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8]}}"#.into(),
            "`a`: invalid length 1",
        ),
        (
            "three offsets",
            r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4,8]}}"#.into(),
            "`a`: trailing characters",
        ),
        (
            "negative",
            r#"{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#.into(),
            "`a`: invalid value: integer `-2`",
        ),
        (
            "fraction",
            r#"{"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}}"#.into(),
            "`a`: invalid type: floating point",
        ),
        (
            "beyond 64 bits",
            r#"{"a":{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,8]}}"#.into(),
            "`a`: invalid type",
        ),
        (
            "type is a number",
            r#"{"a":{"dtype":32,"shape":[2],"data_offsets":[0,8]}}"#.into(),
            "`a`: invalid type: integer `32`",
        ),
        ("tensor is a number", r#"{"a":1}"#.into(), "`a`: invalid type: integer `1`"),
        ("metadata of numbers", r#"{"__metadata__":{"x":1}}"#.into(), "`__metadata__`: invalid type"),
        ("metadata twice", r#"{"__metadata__":{},"__metadata__":{}}"#.into(), "duplicate key `__metadata__`"),
        (
            "duplicate in metadata",
            r#"{"__metadata__":{"x":"","x":""}}"#.into(),
            "`__metadata__`: duplicate key `x`",
        ),
        ("metadata nested", r#"{"__metadata__":{"x":{}}}"#.into(), "`__metadata__`: invalid type"),
    ] {
        assert_error(case, parse(&json, 8), malformed("header", says));
    }
}
