use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::value::{Pointer, Value};
use super::*;
use ptx_sim::{TensorFill, TensorL2Promotion, TensorMap, TensorSwizzle, TensorType};

/// A folder with a file `four.bin` of four bytes and an empty one, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ptx-sim-launch-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("four.bin"), [1, 2, 3, 4]).unwrap();
        std::fs::write(folder.join("empty.bin"), []).unwrap();
        Self(folder)
    }

    fn read(&self, text: &str) -> Result<LaunchFile> {
        let json: Json = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        super::read(&Node::root(&json), &self.0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that stays behind in the system's temporary folder fails no test.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A launch with these arguments.
fn with_arguments(arguments: &str) -> String {
    format!(r#"{{"kernel": "k", "grid": 1, "block": 32, "arguments": [{arguments}]}}"#)
}

fn shape(name: &str, offset: usize, size: usize, align: usize) -> ParameterShape<'_> {
    ParameterShape { name, offset, size, align }
}

/// Packs the arguments of a launch; buffer `i` lies at `0x1000 * (i + 1)`.
fn pack_launch(file: &LaunchFile, parameters: &[ParameterShape<'_>], bytes: usize) -> Result<Vec<u8>> {
    let launch = &file.launches[0];
    pack(&launch.arguments_path, &launch.arguments, parameters, bytes, &|buffer| 0x1000 * (buffer as u64 + 1))
}

#[test]
fn a_whole_launch() {
    let folder = Folder::new();
    let file = folder
        .read(
            r#"{
                "kernel": "k", "grid": [4, 2], "block": [32, 1, 3], "cluster": 2, "dynamic_shared_bytes": 1024,
                "registers_per_thread": 40, "repeat": 3, "programmatic": true,
                "arguments": [
                    {"scalar": {"type": "s32", "value": -2}},
                    {"buffer": {"bytes": 64, "fill": {"iota": "f32"}, "to": "out.bin", "name": "x", "offset": 8}},
                    {"struct": {"size": 24, "align": 8, "fields": [
                        {"offset": 16, "bytes": "0a 0B"},
                        {"offset": 0, "buffer": {"ref": "x", "offset": -16}},
                        {"offset": 8, "scalar": {"type": "f32", "value": 1.5}}
                    ]}},
                    {"buffer": {"from": "four.bin", "freed": true}}
                ],
                "variables": {"table": {"from": "four.bin", "to": "table.bin"}}
            }"#,
        )
        .unwrap();
    let buffers = &file.buffers;
    assert_eq!(
        buffers[0],
        Buffer {
            label: "x".into(),
            path: "arguments[1].buffer".into(),
            bytes: 64,
            fill: Fill::Iota(scalar::ScalarType::F32),
            from: None,
            values: Vec::new(),
            to: Some(folder.0.join("out.bin")),
            freed: false,
        }
    );
    assert!(file.launches[0].programmatic);
    assert_eq!((buffers[1].bytes, buffers[1].fill, buffers[1].freed), (4, Fill::Poison, true));
    assert_eq!(buffers[1].label, "arguments[3].buffer");
    assert_eq!(buffers[1].from, Some((folder.0.join("four.bin"), 4)));
    assert_eq!(file.variables[0].name, "table");
    assert_eq!(file.variables[0].from, Some((folder.0.join("four.bin"), 4)));

    let launch = &file.launches[0];
    assert_eq!((launch.grid, launch.block, launch.cluster), ([4, 2, 1], [32, 1, 3], [2, 1, 1]));
    assert_eq!(
        (launch.dynamic_shared_bytes, launch.registers_per_thread, launch.repeat),
        (1024, Some(40), 3)
    );
    let shapes = [shape("a", 0, 4, 4), shape("b", 8, 8, 8), shape("c", 16, 24, 8), shape("d", 40, 8, 8)];
    let packed = pack_launch(&file, &shapes, 48).unwrap();
    let mut expected = Vec::new();
    expected.extend((-2i64 as u64 & 0xFFFF_FFFF).to_le_bytes());
    expected.extend(0x1008u64.to_le_bytes());
    expected.extend((0x1000u64 - 16).to_le_bytes());
    expected.extend(u64::from(1.5f32.to_bits()).to_le_bytes());
    expected.extend(0x0B0Au64.to_le_bytes());
    expected.extend(0x2000u64.to_le_bytes());
    assert_eq!(packed, expected);
}

#[test]
fn several_launches_share_buffers() {
    let file = Folder::new()
        .read(
            r#"{
                "buffers": {"x": {"bytes": 16, "fill": {"byte": 255}}, "y": {"bytes": 8}},
                "launches": [
                    {"kernel": "first", "grid": 1, "block": 1, "arguments": [{"buffer": {"ref": "y"}}]},
                    {"kernel": "second", "grid": 2, "block": 1, "arguments": [{"buffer": {"ref": "x", "offset": 4}}]}
                ]
            }"#,
        )
        .unwrap();
    assert_eq!((file.buffers[0].fill, file.buffers[1].fill), (Fill::Byte(255), Fill::Poison));
    let value = |launch: usize| &file.launches[launch].arguments[0].values[0];
    assert_eq!(value(0).value, Value::Pointer(Pointer { buffer: 1, offset: 0 }));
    assert_eq!(
        value(1),
        &Placed {
            offset: 0,
            value: Value::Pointer(Pointer { buffer: 0, offset: 4 }),
            path: "launches[1].arguments[0]".into()
        }
    );
    assert_eq!(file.launches[1].arguments_path, "launches[1].arguments");
}

#[test]
fn a_name_may_be_used_before_its_buffer_is_defined() {
    let file = Folder::new()
        .read(&with_arguments(r#"{"buffer": {"ref": "x"}}, {"buffer": {"bytes": 4, "name": "x"}}"#))
        .unwrap();
    assert_eq!(file.buffers.len(), 1);
    assert_eq!(file.buffers[0].path, "arguments[1].buffer");
}

#[test]
fn scalars_become_bytes() {
    let folder = Folder::new();
    #[rustfmt::skip]
    let cases: &[(&str, &str, &[u8])] = &[
        ("u8", "255", &[255]),
        ("s8", "-128", &[0x80]),
        ("b8", "-1", &[0xFF]),
        ("b8", "255", &[0xFF]),
        ("s8", r#""0xff""#, &[0xFF]),
        ("u16", "65535", &[0xFF, 0xFF]),
        ("s16", "-2", &[0xFE, 0xFF]),
        ("u32", r#""0x80000001""#, &[1, 0, 0, 0x80]),
        ("s32", "-2147483648", &[0, 0, 0, 0x80]),
        ("b64", "18446744073709551615", &[0xFF; 8]),
        ("u64", r#""0xffffffffffffffff""#, &[0xFF; 8]),
        ("s64", "-9223372036854775808", &[0, 0, 0, 0, 0, 0, 0, 0x80]),
        ("f16", "1", &[0, 0x3C]),
        ("f16", "65519", &[0xFF, 0x7B]),
        ("bf16", "-1.5", &[0xC0, 0xBF]),
        ("f32", "0.1", &[0xCD, 0xCC, 0xCC, 0x3D]),
        ("f32", r#""-inf""#, &[0, 0, 0x80, 0xFF]),
        ("f32", r#""nan""#, &[0, 0, 0xC0, 0x7F]),
        ("f32", r#""0x7f800001""#, &[1, 0, 0x80, 0x7F]),
        ("f64", "0.1", &[0x9A, 0x99, 0x99, 0x99, 0x99, 0x99, 0xB9, 0x3F]),
        ("f64", r#""inf""#, &[0, 0, 0, 0, 0, 0, 0xF0, 0x7F]),
    ];
    for (ty, value, bytes) in cases {
        let text = with_arguments(&format!(r#"{{"scalar": {{"type": "{ty}", "value": {value}}}}}"#));
        let file = folder.read(&text).unwrap_or_else(|error| panic!("{ty} {value}: {error}"));
        assert_eq!(
            file.launches[0].arguments[0].values[0].value,
            Value::Scalar(bytes.to_vec()),
            "{ty} {value}"
        );
    }
}

#[test]
fn iota_counts_in_its_type() {
    use scalar::ScalarType;
    assert_eq!(ScalarType::Unsigned(8).iota(257)[..1], [1]);
    assert_eq!(ScalarType::Signed(32).iota(3)[..4], [3, 0, 0, 0]);
    assert_eq!(ScalarType::F32.iota(3)[..4], 3f32.to_le_bytes());
    assert_eq!(ScalarType::F16.iota(3)[..2], half::f16::from_f32(3.0).to_le_bytes());
    assert_eq!(ScalarType::Bf16.iota(257)[..2], half::bf16::from_f32(256.0).to_le_bytes());
    assert_eq!(ScalarType::F64.iota(3), 3f64.to_le_bytes());
}

/// What is wrong, where it is, and what the message says is expected and given.
#[rustfmt::skip]
const WRONG_ARGUMENTS: &[(&str, &str, &str, &str)] = &[
    ("1", "arguments[0]", "an argument: an object with scalar, struct, buffer, bytes, tensor_map", "1"),
    ("{}", "arguments[0]", "one of scalar, struct, buffer, bytes, tensor_map", "an object without fields"),
    (r#"{"skalar": 1}"#, "arguments[0]", "scalar, struct, buffer, bytes", r#"the unknown field "skalar""#),
    (r#"{"bytes": "00", "buffer": {"bytes": 1}}"#, "arguments[0]", "one of scalar", "an object with bytes, buffer"),
    (r#"{"bytes": "0"}"#, "arguments[0].bytes", "hexadecimal digits, two for each byte", r#""0""#),
    (r#"{"bytes": "0g"}"#, "arguments[0].bytes", "hexadecimal digits", r#""0g""#),
    (r#"{"bytes": "éé"}"#, "arguments[0].bytes", "hexadecimal digits", r#""éé""#),
    (r#"{"bytes": ""}"#, "arguments[0].bytes", "hexadecimal digits", r#""""#),
    (r#"{"bytes": 5}"#, "arguments[0].bytes", "hexadecimal digits", "5"),
    (r#"{"scalar": 5}"#, "arguments[0].scalar", "a scalar: an object with type, value", "5"),
    (r#"{"scalar": {"type": "u32"}}"#, "arguments[0].scalar.value", "a number", "nothing"),
    (r#"{"scalar": {"value": 1}}"#, "arguments[0].scalar.type", "a type such as u32", "nothing"),
    (r#"{"scalar": {"type": "int", "value": 1}}"#, "arguments[0].scalar.type", "one of u8, u16", r#""int""#),
    (r#"{"scalar": {"type": 32, "value": 1}}"#, "arguments[0].scalar.type", "one of u8, u16", "32"),
    (r#"{"scalar": {"type": "u8", "value": 256}}"#, "arguments[0].scalar.value", "from 0 to 255", "256"),
    (r#"{"scalar": {"type": "u8", "value": -1}}"#, "arguments[0].scalar.value", "from 0 to 255", "-1"),
    (r#"{"scalar": {"type": "s8", "value": 128}}"#, "arguments[0].scalar.value", "from -128 to 127", "128"),
    (r#"{"scalar": {"type": "b16", "value": -32769}}"#, "arguments[0].scalar.value", "from -32768 to 65535", "-32769"),
    (r#"{"scalar": {"type": "u32", "value": 1.5}}"#, "arguments[0].scalar.value", "a whole number", "1.5"),
    (r#"{"scalar": {"type": "u32", "value": "nan"}}"#, "arguments[0].scalar.value", "a whole number", r#""nan""#),
    (r#"{"scalar": {"type": "u64", "value": 18446744073709551616}}"#, "arguments[0].scalar.value", "from 0 to 18446744073709551615", "1.8446744073709552e19"),
    (r#"{"scalar": {"type": "u16", "value": "0x10000"}}"#, "arguments[0].scalar.value", "digits of a 16-bit number", r#""0x10000""#),
    (r#"{"scalar": {"type": "u64", "value": "0x10000000000000000"}}"#, "arguments[0].scalar.value", "digits of a 64-bit number", "0x1"),
    (r#"{"scalar": {"type": "u64", "value": "0x"}}"#, "arguments[0].scalar.value", "digits of a 64-bit number", r#""0x""#),
    (r#"{"scalar": {"type": "u64", "value": "0x+1"}}"#, "arguments[0].scalar.value", "digits of a 64-bit number", r#""0x+1""#),
    (r#"{"scalar": {"type": "f32", "value": "many"}}"#, "arguments[0].scalar.value", r#"a number, "nan""#, r#""many""#),
    (r#"{"scalar": {"type": "f32", "value": 1e39}}"#, "arguments[0].scalar.value", "finite in 32 bits", "1e39"),
    (r#"{"scalar": {"type": "f16", "value": 65520}}"#, "arguments[0].scalar.value", "finite in 16 bits", "65520"),
    (r#"{"scalar": {"type": "f32", "value": true}}"#, "arguments[0].scalar.value", "a number", "true"),
    (r#"{"buffer": {}}"#, "arguments[0].buffer.bytes", "a size, or a file to take it from", "nothing"),
    (r#"{"buffer": []}"#, "arguments[0].buffer", "a buffer: an object with bytes, fill", "an array of 0"),
    (r#"{"buffer": {"bytes": 4, "size": 4}}"#, "arguments[0].buffer", "bytes, fill, from, values, to", r#"unknown field "size""#),
    (r#"{"buffer": {"bytes": 0}}"#, "arguments[0].buffer.bytes", "from 1 to 1099511627776", "0"),
    (r#"{"buffer": {"bytes": 1099511627777}}"#, "arguments[0].buffer.bytes", "from 1 to 1099511627776", "1099511627777"),
    (r#"{"buffer": {"bytes": -1}}"#, "arguments[0].buffer.bytes", "a whole number", "-1"),
    (r#"{"buffer": {"bytes": 4, "fill": "ones"}}"#, "arguments[0].buffer.fill", r#""zero", "poison""#, r#""ones""#),
    (r#"{"buffer": {"bytes": 4, "fill": {}}}"#, "arguments[0].buffer.fill", r#""zero", "poison""#, "without fields"),
    (r#"{"buffer": {"bytes": 4, "fill": {"byte": 256}}}"#, "arguments[0].buffer.fill.byte", "from 0 to 255", "256"),
    (r#"{"buffer": {"bytes": 4, "fill": {"iota": "i32"}}}"#, "arguments[0].buffer.fill.iota", "one of u8", r#""i32""#),
    (r#"{"buffer": {"bytes": 6, "fill": {"iota": "f32"}}}"#, "arguments[0].buffer.fill.iota", "divides the buffer's 6 bytes", r#""f32""#),
    (r#"{"buffer": {"bytes": 4294967297, "fill": "zero"}}"#, "arguments[0].buffer", "at most 4294967296 bytes that are filled", "4294967297"),
    (r#"{"buffer": {"bytes": 2147483648, "fill": "zero"}}, {"buffer": {"bytes": 2147483649, "to": "x"}}"#, "arguments[1].buffer", "all buffers together", "4294967297"),
    (r#"{"buffer": {"from": "none.bin"}}"#, "arguments[0].buffer.from", "a file that can be read", "none.bin (No such file"),
    (r#"{"buffer": {"from": "."}}"#, "arguments[0].buffer.from", "a regular file", r#"".""#),
    (r#"{"buffer": {"from": ""}}"#, "arguments[0].buffer.from", "the path of a file", r#""""#),
    (r#"{"buffer": {"from": "empty.bin"}}"#, "arguments[0].buffer.bytes", "the file's own cannot serve", "nothing"),
    (r#"{"buffer": {"from": "four.bin", "bytes": 3}}"#, "arguments[0].buffer.from", "at most 3 bytes", r#""four.bin" of 4 bytes"#),
    (r#"{"buffer": {"bytes": 4, "to": "no/out.bin"}}"#, "arguments[0].buffer.to", "can be written", "no/out.bin (its folder does not exist)"),
    (r#"{"buffer": {"bytes": 4, "to": "."}}"#, "arguments[0].buffer.to", "can be written", "(that is a folder)"),
    (r#"{"buffer": {"bytes": 4, "to": "x"}}, {"buffer": {"bytes": 4, "to": "x"}}"#, "arguments[1].buffer.to", "nothing else is written to", "x"),
    (r#"{"buffer": {"bytes": 4, "to": "x", "freed": true}}"#, "arguments[0].buffer.to", "the buffer is freed", r#""x""#),
    (r#"{"buffer": {"bytes": 4, "freed": 1}}"#, "arguments[0].buffer.freed", "true or false", "1"),
    (r#"{"buffer": {"bytes": 4, "offset": 1e3}}"#, "arguments[0].buffer.offset", "a whole number", "1000.0"),
    (r#"{"buffer": {"bytes": 4, "name": ""}}"#, "arguments[0].buffer.name", "a name", r#""""#),
    (r#"{"buffer": {"bytes": 4, "name": "x"}}, {"buffer": {"bytes": 4, "name": "x"}}"#, "arguments[1].buffer.name", "no other buffer has; arguments[0].buffer has it", r#""x""#),
    (r#"{"buffer": {"ref": "x"}}"#, "arguments[0].buffer.ref", "but no buffer has one", r#""x""#),
    (r#"{"buffer": {"ref": "x"}}, {"buffer": {"bytes": 4, "name": "y"}}"#, "arguments[0].buffer.ref", "the name of a buffer: y", r#""x""#),
    (r#"{"buffer": {"ref": "x", "bytes": 4}}"#, "arguments[0].buffer", "refers to another: an object with ref, offset", r#"unknown field "bytes""#),
    (r#"{"struct": {"fields": []}}"#, "arguments[0].struct.size", "a size in bytes", "nothing"),
    (r#"{"struct": {"size": 8}}"#, "arguments[0].struct.fields", "an array of fields", "nothing"),
    (r#"{"struct": {"size": 0, "fields": []}}"#, "arguments[0].struct.size", "from 1 to 65536", "0"),
    (r#"{"struct": {"size": 8, "align": 3, "fields": []}}"#, "arguments[0].struct.align", "a power of two", "3"),
    (r#"{"struct": {"size": 8, "fields": [{"bytes": "00"}]}}"#, "arguments[0].struct.fields[0].offset", "an offset", "nothing"),
    (r#"{"struct": {"size": 8, "fields": [{"offset": 0}]}}"#, "arguments[0].struct.fields[0]", "one of scalar, buffer, bytes, tensor_map", "an object with offset"),
    (r#"{"struct": {"size": 8, "fields": [{"offset": 8, "bytes": "00"}]}}"#, "arguments[0].struct.fields[0].offset", "from 0 to 7", "8"),
    (r#"{"struct": {"size": 8, "fields": [{"offset": 7, "bytes": "0000"}]}}"#, "arguments[0].struct.fields[0]", "ends within the struct's 8 bytes", "2 bytes at offset 7"),
    (r#"{"struct": {"size": 8, "fields": [{"offset": 2, "bytes": "00"}, {"offset": 1, "bytes": "0000"}]}}"#, "arguments[0].struct.fields[0]", "does not overlap arguments[0].struct.fields[1], which ends at 3", "one at offset 2"),
    (r#"{"struct": {"size": 8, "fields": [{"offset": 0, "struct": {}}]}}"#, "arguments[0].struct.fields[0]", "a field: an object with offset, scalar, buffer, bytes, tensor_map", r#"unknown field "struct""#),
    (r#"{"buffer": {"bytes": 8, "values": {}}}"#, "arguments[0].buffer.values", "an array of fields", "an object"),
    (r#"{"buffer": {"bytes": 8, "values": [{"offset": 4, "buffer": {"bytes": 1}}]}}"#, "arguments[0].buffer.values[0]", "ends within the buffer's 8 bytes", "8 bytes at offset 4"),
    (r#"{"buffer": {"bytes": 8, "values": [{"offset": 8, "bytes": "00"}]}}"#, "arguments[0].buffer.values[0].offset", "from 0 to 7", "8"),
    (r#"{"buffer": {"bytes": 8, "values": [{"offset": 0, "bytes": "0000"}, {"offset": 1, "bytes": "00"}]}}"#, "arguments[0].buffer.values[1]", "does not overlap arguments[0].buffer.values[0]", "offset 1"),
    (r#"{"buffer": {"bytes": 8, "values": [{"offset": 0, "buffer": {"ref": "x"}}]}}"#, "arguments[0].buffer.values[0].buffer.ref", "no buffer has one", r#""x""#),
    (r#"{"tensor_map": 1}"#, "arguments[0].tensor_map", "a tensor map: an object with type, buffer, dims", "1"),
    (r#"{"tensor_map": {"tile": 1}}"#, "arguments[0].tensor_map", "swizzle, interleave", r#"unknown field "tile""#),
    (r#"{"tensor_map": {}}"#, "arguments[0].tensor_map.type", "the type of an element", "nothing"),
    (r#"{"tensor_map": {"type": "e4m3"}}"#, "arguments[0].tensor_map.type", "one of u8, u16", r#""e4m3""#),
    (r#"{"tensor_map": {"type": "u8"}}"#, "arguments[0].tensor_map.buffer", "a buffer", "nothing"),
    (r#"{"tensor_map": {"type": "u8", "buffer": {"bytes": 64}}}"#, "arguments[0].tensor_map.dims", "lie side by side first", "nothing"),
    (r#"{"tensor_map": {"type": "u8", "buffer": {"bytes": 64}, "dims": [64]}}"#, "arguments[0].tensor_map.box", "sizes in elements", "nothing"),
    (r#"{"tensor_map": {"type": "u8", "buffer": {"bytes": 64}, "dims": 64, "box": [16]}}"#, "arguments[0].tensor_map.dims", "an array of sizes", "64"),
    (r#"{"tensor_map": {"type": "u8", "buffer": {"bytes": 64}, "dims": [-1], "box": [16]}}"#, "arguments[0].tensor_map.dims[0]", "from 0 to", "-1"),
    (r#"{"tensor_map": {"type": "u8", "buffer": {"bytes": 64}, "dims": [64], "box": [4294967296]}}"#, "arguments[0].tensor_map.box[0]", "32 bits", "4294967296"),
    (r#"{"tensor_map": {"type": "u8", "buffer": {"bytes": 64}, "dims": [], "box": []}}"#, "arguments[0].tensor_map.dims", "1 to 5", "0 dimensions"),
    (r#"{"tensor_map": {"type": "u8", "buffer": {"bytes": 64}, "dims": [64], "box": [257]}}"#, "arguments[0].tensor_map.box[0]", "1 to 256", "257"),
    (r#"{"tensor_map": {"type": "u8", "buffer": {"bytes": 64}, "dims": [64], "box": [16, 1]}}"#, "arguments[0].tensor_map.box", "1, for 1 dimensions", "a list of 2"),
    (r#"{"tensor_map": {"type": "u8", "buffer": {"bytes": 64}, "dims": [10, 6], "box": [16, 1]}}"#, "arguments[0].tensor_map.strides[0]", "a multiple of 16", "10"),
    (r#"{"tensor_map": {"type": "u8", "buffer": {"bytes": 64}, "dims": [16, 2], "strides": [20], "box": [16, 1]}}"#, "arguments[0].tensor_map.strides[0]", "a multiple of 16", "20"),
    (r#"{"tensor_map": {"type": "u8", "buffer": {"bytes": 64}, "dims": [64], "box": [16], "element_strides": [9]}}"#, "arguments[0].tensor_map.element_strides[0]", "1 to 8", "9"),
    (r#"{"tensor_map": {"type": "u8", "buffer": {"bytes": 64}, "dims": [64], "box": [16], "swizzle": "128b"}}"#, "arguments[0].tensor_map.swizzle", "one of none, 32B, 64B, 128B", r#""128b""#),
    (r#"{"tensor_map": {"type": "bf16", "buffer": {"bytes": 64}, "dims": [64], "box": [32], "swizzle": "32B"}}"#, "arguments[0].tensor_map.box[0]", "at most the 32 bytes of the swizzle", "64 bytes"),
    (r#"{"tensor_map": {"type": "u8", "buffer": {"bytes": 64}, "dims": [64], "box": [16], "interleave": "16B"}}"#, "arguments[0].tensor_map.interleave", "not supported", "16"),
    (r#"{"tensor_map": {"type": "u8", "buffer": {"bytes": 64}, "dims": [64], "box": [16], "l2_promotion": 128}}"#, "arguments[0].tensor_map.l2_promotion", "one of none, 64B, 128B, 256B", "128"),
    (r#"{"tensor_map": {"type": "u8", "buffer": {"bytes": 64}, "dims": [64], "box": [16], "oob_fill": "nan"}}"#, "arguments[0].tensor_map.oob_fill", "Zeros", "Nan"),
];

#[rustfmt::skip]
const WRONG_FILES: &[(&str, &str, &str, &str)] = &[
    ("[]", "", "a launch: an object with kernel, grid", "an array of 0"),
    ("{}", "kernel", "the name of a kernel", "nothing"),
    (r#"{"kernel": "k"}"#, "grid", "a number, or an array of one to three", "nothing"),
    (r#"{"grid": 1, "block": 1}"#, "kernel", "the name of a kernel", "nothing"),
    (r#"{"kernel": "k", "grid": 1}"#, "block", "a number, or an array of one to three", "nothing"),
    (r#"{"kernel": 3, "grid": 1, "block": 1}"#, "kernel", "the name of a kernel", "3"),
    (r#"{"kernel": "k", "grid": 0, "block": 1}"#, "grid", "from 1 to 4294967295", "0"),
    (r#"{"kernel": "k", "grid": [1, 0], "block": 1}"#, "grid[1]", "from 1 to 4294967295", "0"),
    (r#"{"kernel": "k", "grid": [1, 1, 1, 1], "block": 1}"#, "grid", "an array of one to three", "an array of 4"),
    (r#"{"kernel": "k", "grid": 1, "block": []}"#, "block", "an array of one to three", "an array of 0"),
    (r#"{"kernel": "k", "grid": 1, "block": "32"}"#, "block", "a number, or an array", r#""32""#),
    (r#"{"kernel": "k", "grid": 1, "block": 4294967296}"#, "block", "from 1 to 4294967295", "4294967296"),
    (r#"{"kernel": "k", "grid": 1, "block": 1, "cluster": 0}"#, "cluster", "from 1", "0"),
    (r#"{"kernel": "k", "grid": 1, "block": 1, "dynamic_shared_bytes": -1}"#, "dynamic_shared_bytes", "from 0 to 4294967295", "-1"),
    (r#"{"kernel": "k", "grid": 1, "block": 1, "registers_per_thread": 0}"#, "registers_per_thread", "from 1", "0"),
    (r#"{"kernel": "k", "grid": 1, "block": 1, "programmatic": 1}"#, "programmatic", "true or false", "1"),
    (r#"{"kernel": "k", "grid": 1, "block": 1, "repeat": 65537}"#, "repeat", "from 1 to 65536", "65537"),
    (r#"{"kernel": "k", "grid": 1, "block": 1, "arguments": {}}"#, "arguments", "an array of arguments", "an object without fields"),
    (r#"{"kernel": "k", "grid": 1, "block": 1, "shared": 1}"#, "", "dynamic_shared_bytes", r#"the unknown field "shared""#),
    (r#"{"kernel": "k", "grid": 1, "block": 1, "variables": []}"#, "variables", "variables by name", "an array of 0"),
    (r#"{"kernel": "k", "grid": 1, "block": 1, "variables": {"v": {"bytes": 1}}}"#, "variables.v", "from, to", r#"unknown field "bytes""#),
    (r#"{"kernel": "k", "grid": 1, "block": 1, "variables": {"v": {"from": "none"}}}"#, "variables.v.from", "can be read", "none"),
    (r#"{"launches": []}"#, "launches", "at least one launch", "an array of 0"),
    (r#"{"launches": 1}"#, "launches", "an array of launches", "1"),
    (r#"{"launches": [1]}"#, "launches[0]", "a launch: an object", "1"),
    (r#"{"launches": [{"kernel": "k", "grid": 1, "block": 1, "variables": {}}]}"#, "launches[0]", "a launch", r#"unknown field "variables""#),
    (r#"{"launches": [{"kernel": "k", "grid": 1, "block": 0}]}"#, "launches[0].block", "from 1", "0"),
    (r#"{"kernel": "k", "launches": []}"#, "", "a file of several launches: an object with buffers", r#"unknown field "kernel""#),
    (r#"{"buffers": {"x": {"bytes": 4, "name": "y"}}, "launches": []}"#, "buffers.x", "a named buffer", r#"unknown field "name""#),
    (r#"{"buffers": {"x": {}}, "launches": []}"#, "buffers.x.bytes", "a size", "nothing"),
    (r#"{"buffers": 1, "launches": []}"#, "buffers", "buffers by name", "1"),
];

#[test]
fn every_error_names_field_expected_and_given() {
    let folder = Folder::new();
    let arguments = WRONG_ARGUMENTS
        .iter()
        .map(|(text, path, expected, given)| (with_arguments(text), path, expected, given));
    let files =
        WRONG_FILES.iter().map(|(text, path, expected, given)| ((*text).to_owned(), path, expected, given));
    for (text, path, expected, given) in arguments.chain(files) {
        let error = folder.read(&text).expect_err(&text);
        assert_eq!(error.path, **path, "{text}: {error}");
        assert!(error.expected.contains(expected), "{text}: {error}: not {expected}");
        assert!(error.given.contains(given), "{text}: {error}: not {given}");
    }
}

#[test]
fn an_error_reads_as_a_sentence() {
    let error = Folder::new().read(&with_arguments(r#"{"buffer": {"bytes": "x"}}"#)).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"arguments[0].buffer.bytes: expected a whole number from 1 to 1099511627776, given "x""#
    );
    let error = Folder::new().read("7").unwrap_err();
    assert!(error.to_string().starts_with("expected a launch: an object with kernel"), "{error}");
    let long = format!(r#"{{"kernel": "k", "grid": "{}", "block": 1}}"#, "9".repeat(1 << 20));
    assert!(Folder::new().read(&long).unwrap_err().to_string().len() < 200);
}

/// A bf16 matrix of 100 x 72 in tiles of 64 x 8, at 256 bytes into a buffer.
const MAP: &str = r#"{"type": "bf16", "buffer": {"ref": "a", "offset": 256}, "dims": [72, 100], "strides": [160],
    "box": [64, 8], "element_strides": [1, 2], "swizzle": "128B", "interleave": "none", "l2_promotion": "256B",
    "oob_fill": "nan"}"#;

fn map_at(address: u64) -> TensorMap {
    let mut map = TensorMap::new(TensorType::Bf16, address, &[72, 100], &[160], &[64, 8]);
    map.element_strides = vec![1, 2];
    map.swizzle = TensorSwizzle::Bytes128;
    map.l2_promotion = TensorL2Promotion::Bytes256;
    map.fill = TensorFill::Nan;
    map
}

#[test]
fn tensor_maps_are_encoded_wherever_they_stand() {
    let text = format!(
        r#"{{"tensor_map": {MAP}}}, {{"struct": {{"size": 4224, "align": 64, "fields": [
            {{"offset": 4096, "tensor_map": {MAP}}}, {{"offset": 8, "bytes": "ff"}}]}}}},
            {{"buffer": {{"bytes": 16384, "name": "a", "values": [{{"offset": 128, "tensor_map": {MAP}}}]}}}}"#
    );
    let file = Folder::new().read(&with_arguments(&text)).unwrap();
    let shapes = [shape("m", 0, 128, 64), shape("s", 128, 4224, 64), shape("a", 4352, 8, 8)];
    let packed = pack_launch(&file, &shapes, 4360).unwrap();
    let map = map_at(0x1100).encode().unwrap();
    assert_eq!((&packed[..128], &packed[128 + 4096..4352]), (&map[..], &map[..]));
    assert_eq!(packed[128 + 8], 0xFF);
    let placed = &file.buffers[0].values[0];
    assert_eq!((placed.offset, placed.path.as_str()), (128, "arguments[2].buffer.values[0]"));
    assert_eq!(placed.value.bytes(&|_| 0x1000).unwrap(), map);
    assert_eq!(TensorMap::decode(&map).unwrap(), map_at(0x1100));
}

#[test]
fn what_a_tensor_map_leaves_out_is_plain() {
    let text =
        r#"{"tensor_map": {"type": "u8", "buffer": {"bytes": 4096}, "dims": [64, 8, 4], "box": [16, 8, 1]}}"#;
    let file = Folder::new().read(&with_arguments(text)).unwrap();
    let packed = pack_launch(&file, &[shape("m", 0, 128, 128)], 128).unwrap();
    let plain = TensorMap::new(TensorType::U8, 0x1000, &[64, 8, 4], &[64, 512], &[16, 8, 1]);
    assert_eq!(packed, plain.encode().unwrap());
}

#[test]
fn tensor_maps_must_be_aligned() {
    let folder = Folder::new();
    let plain = r#""type": "u8", "dims": [64], "box": [16]"#;
    let cases = [
        (
            format!(r#"{{"tensor_map": {{{plain}, "buffer": {{"bytes": 64}}}}}}"#),
            shape("m", 0, 128, 8),
            "arguments[0]: expected a parameter whose alignment is 64 or more, for a tensor map, given `m`, whose alignment is 8",
        ),
        (
            format!(
                r#"{{"struct": {{"size": 192, "fields": [{{"offset": 32, "tensor_map": {{{plain}, "buffer": {{"bytes": 64}}}}}}]}}}}"#
            ),
            shape("s", 0, 192, 64),
            "arguments[0].struct.fields[0].offset: expected a multiple of 64, the alignment of the field, given 32",
        ),
        (
            format!(r#"{{"tensor_map": {{{plain}, "buffer": {{"bytes": 64, "offset": 8}}}}}}"#),
            shape("m", 0, 128, 64),
            "arguments[0].tensor_map.buffer: expected a multiple of 16, given 0x1008",
        ),
    ];
    for (arguments, parameter, message) in cases {
        let file = folder.read(&with_arguments(&arguments)).unwrap();
        let bytes = parameter.size;
        assert_eq!(pack_launch(&file, &[parameter], bytes).unwrap_err().to_string(), message);
    }
}

#[test]
fn buffers_may_hold_pointers() {
    let text = r#"{"buffer": {"bytes": 24, "fill": "zero", "values": [{"offset": 8, "buffer": {"bytes": 8, "name": "x"}},
        {"offset": 16, "buffer": {"ref": "x", "offset": 4}}, {"offset": 0, "scalar": {"type": "u32", "value": 7}}]}}"#;
    let file = Folder::new().read(&with_arguments(text)).unwrap();
    let outer = file.buffers.iter().find(|buffer| buffer.bytes == 24).unwrap();
    let found: Vec<_> =
        outer.values.iter().map(|p| (p.offset, p.value.bytes(&|_| 0x5000).unwrap())).collect();
    let expected = [
        (0, 7u32.to_le_bytes().to_vec()),
        (8, 0x5000u64.to_le_bytes().to_vec()),
        (16, 0x5004u64.to_le_bytes().to_vec()),
    ];
    assert_eq!(found, expected);
}

type SizesAndAlignments = &'static [(usize, usize)];

/// Arguments of a kernel, its parameters, and what the error says.
#[rustfmt::skip]
const MISFITS: &[(&str, SizesAndAlignments, &str)] = &[
    ("", &[(4, 4)], "arguments: expected 1 of them: p0 (4 bytes), given 0"),
    (r#"{"bytes": "00"}"#, &[], "arguments: expected none, given 1"),
    (r#"{"bytes": "00"}"#, &[(4, 4)], "arguments[0]: expected 4 bytes for parameter `p0`, given 1 bytes"),
    (r#"{"scalar": {"type": "u64", "value": 0}}"#, &[(4, 4)], "arguments[0]: expected 4 bytes for parameter `p0`, given 8 bytes"),
    (r#"{"bytes": "00000000"}, {"buffer": {"bytes": 4}}"#, &[(4, 4), (4, 4)], "arguments[1]: expected 4 bytes for parameter `p1`, given 8 bytes"),
    (r#"{"struct": {"size": 8, "align": 4, "fields": []}}"#, &[(8, 8)], "arguments[0].struct.align: expected 8, the alignment of parameter `p0`, given 4"),
    (r#"{"struct": {"size": 12, "fields": []}}"#, &[(16, 8)], "arguments[0].struct: expected 16 bytes for parameter `p0`, given 12 bytes"),
    (r#"{"struct": {"size": 16, "fields": [{"offset": 4, "buffer": {"bytes": 4}}]}}"#, &[(16, 8)], "arguments[0].struct.fields[0].offset: expected a multiple of 8, the alignment of the field, given 4"),
    (r#"{"struct": {"size": 16, "fields": [{"offset": 2, "buffer": {"bytes": 4}}]}}"#, &[(16, 4)], "arguments[0].struct.fields[0].offset: expected a multiple of 4, the alignment of the field, given 2"),
];

#[test]
fn arguments_must_fit_the_parameters() {
    let folder = Folder::new();
    let names = ["p0", "p1"];
    for (arguments, parameters, message) in MISFITS {
        let file = folder.read(&with_arguments(arguments)).unwrap();
        let mut end = 0usize;
        let mut shapes = Vec::new();
        for (name, &(size, align)) in names.iter().zip(*parameters) {
            let offset = end.next_multiple_of(align);
            shapes.push(shape(name, offset, size, align));
            end = offset + size;
        }
        assert_eq!(pack_launch(&file, &shapes, end).expect_err(arguments).to_string(), *message);
    }
    let file = folder.read(&with_arguments(r#"{"scalar": {"type": "u64", "value": 0}}"#)).unwrap();
    let error = pack_launch(&file, &[shape("p0", 4, 8, 8)], 8).unwrap_err();
    assert!(error.to_string().contains("within the 8 bytes of the kernel's parameters"), "{error}");
}

#[test]
fn packed_structs_may_have_odd_offsets() {
    let text = r#"{"struct": {"size": 9, "fields": [{"offset": 1, "scalar": {"type": "u64", "value": 1}}]}}"#;
    let file = Folder::new().read(&with_arguments(text)).unwrap();
    assert_eq!(pack_launch(&file, &[shape("p", 0, 9, 1)], 9).unwrap(), [0, 1, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn a_field_that_stands_twice_is_refused() {
    let error = serde_json::from_str::<Json>(r#"{"kernel": "a", "x": {"grid": 1, "grid": 2}}"#).unwrap_err();
    assert!(error.to_string().contains("the field `grid` stands twice"), "{error}");
}

#[test]
fn deep_nesting_is_refused() {
    let deep = "[".repeat(1 << 20);
    assert!(serde_json::from_str::<Json>(&deep).unwrap_err().to_string().contains("recursion limit"));
}

#[test]
fn errors_of_the_file_itself_name_it() {
    let folder = Folder::new();
    let message = |name: &str| format!("{:#}", LaunchFile::load(&folder.0.join(name)).unwrap_err());
    assert!(message("none.json").contains("none.json"));
    std::fs::write(folder.0.join("bad.json"), r#"{"kernel": }"#).unwrap();
    assert!(
        message("bad.json").contains("bad.json: expected value at line 1 column 12"),
        "{}",
        message("bad.json")
    );
    std::fs::write(folder.0.join("binary.json"), [0xFF, 0xFE]).unwrap();
    assert!(message("binary.json").contains("binary.json: expected UTF-8 text"));
    let large = std::fs::File::create(folder.0.join("large.json")).unwrap();
    large.set_len(MAX_FILE_BYTES + 1).unwrap();
    assert!(message("large.json").contains("expected at most 16777216 bytes, given more"));
    std::fs::write(folder.0.join("field.json"), r#"{"kernel": "k", "grid": 0}"#).unwrap();
    assert!(message("field.json").contains("field.json: grid: expected a whole number from 1"));
}

/// Files that are almost right give an error or a launch, never a panic.
#[test]
fn hostile_files_do_no_harm() {
    const WHOLE: &str = r#"{"kernel": "k", "grid": [4, 2], "block": 32, "repeat": 3, "arguments": [
        {"scalar": {"type": "s32", "value": -2}}, {"bytes": "00ff"}, {"scalar": {"type": "f16", "value": 1.5e3}},
        {"buffer": {"bytes": 64, "fill": {"iota": "f32"}, "to": "o", "name": "x", "offset": 8}},
        {"struct": {"size": 24, "align": 8, "fields": [{"offset": 16, "bytes": "0a"},
            {"offset": 0, "buffer": {"ref": "x", "offset": -16}}, {"offset": 8, "scalar": {"type": "f32", "value": "0x1"}}]}},
        {"tensor_map": {"type": "f32", "buffer": {"ref": "x"}, "dims": [16, 4], "strides": [64], "box": [16, 2],
            "swizzle": "64B", "oob_fill": "zeros"}},
        {"buffer": {"from": "four.bin", "fill": {"byte": 7}, "values": [{"offset": 1, "bytes": "11"}]}}],
        "programmatic": false, "variables": {"t": {"from": "four.bin"}}}"#;
    const PIECES: &[&str] = &[
        "0",
        "-1",
        "9",
        "99999999999999999999",
        "1e308",
        "1e-5",
        "\"\"",
        "null",
        "true",
        "{}",
        "[]",
        "8",
        "4294967296",
        "-9223372036854775808",
        "18446744073709551615",
        "\"0x\"",
        "\"é\"",
        ",",
        "}",
        "{",
        "]",
        "\"ref\": \"x\"",
    ];
    let folder = Folder::new();
    let shapes = [shape("a", 0, 4, 4), shape("b", 4, 2, 1), shape("c", 6, 2, 2), shape("d", 8, 8, 8)];
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let (mut launches, mut errors) = (0, 0);
    for _ in 0..20_000 {
        let mut text = WHOLE.to_owned();
        for _ in 0..=random(2) {
            let start = random(text.len());
            let end = (start + random(8)).min(text.len());
            if text.is_char_boundary(start) && text.is_char_boundary(end) {
                text.replace_range(start..end, PIECES[random(PIECES.len())]);
            }
        }
        let Ok(json) = serde_json::from_str::<Json>(&text) else { continue };
        match super::read(&Node::root(&json), &folder.0) {
            Ok(file) => {
                launches += 1;
                let _ = pack_launch(&file, &shapes, 16);
            }
            Err(error) => {
                errors += 1;
                assert!(error.to_string().contains("expected ") && error.to_string().len() < 1000, "{error}");
            }
        }
    }
    assert!(launches > 20 && errors > 100, "{launches} {errors}");
}
