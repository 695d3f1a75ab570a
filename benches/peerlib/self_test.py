"""What can be tested without PyTorch and without a GPU."""

import ctypes
import math
import re
import struct
import tempfile
from pathlib import Path

from . import record, rows
from .library import Attention, Int4Packed, Int4Weight, Library, LibraryError, Properties, SIGNATURES, Tensor, contiguous
from .self_test_timing import test_timing
from .operations import NOT_COMPARED, WORKS
from .work import EPS

_HEADER = Path(__file__).parents[2] / "examples/09_c_abi/llama_kernels.h"


def run(library_path, json_path):
    """Raises AssertionError at the first thing that is wrong."""
    test_rows()
    test_statistics()
    test_signatures(_HEADER.read_text(encoding="utf-8"))
    test_structs(_HEADER.read_text(encoding="utf-8"))
    test_timing()
    tests = "rows, statistics, signatures, structs, timing"
    if library_path:
        library = Library(library_path, "sim")
        test_library(library)
        test_records(library, json_path)
        library.close()
        tests += ", records, a call on the simulated GPU"
    print(f"self-test passed: {tests}" + ("" if library_path else "; with --library also records and a call"))


def test_rows():
    lines = [
        '{"kind":"run","command":"bench"}', "", '{"name":"a probe","device":"x"}',
        '{"kind":"row","op":"rms_norm","label":"8B","dtype":"bf16","sizes":{"tokens":8,"hidden":4096},"flops":12,'
        '"bytes":3,"bytes_written":1,"plan":["x"]}',
        '{"kind":"kernel","op":"rms_norm","label":"8B","dtype":"bf16","sizes":{"tokens":8,"hidden":4096},'
        '"microseconds":1.0}',
        '{"op":"attention_decode","dtype":"f16","sizes":{"batch":1,"q":1,"kv":7,"q_heads":4,"kv_heads":2,"hd":64}}',
        '{"kind":"check","op":"embed","cases":1}',
    ]
    found = rows.read(lines)
    assert [row.op for row in found] == ["rms_norm", "attention_decode"], found
    norm, decode = found
    assert (norm.label, norm.flops, norm.bytes, norm.bytes_written, norm.plan) == ("8B", 12, 3, 1, ["x"])
    assert (decode.dtype, decode.size("kv_len"), decode.size("head_dim"), norm.dtype) == ("f16", 7, 64, "bf16")
    assert norm.flag("swiglu") is False and str(norm) == "rms_norm 8B bf16 tokens=8 hidden=4096"
    for wrong, message in [
        ("{", "line 1: "), ('{"op":"x","sizes":[1]}', "sizes: expected numbers"),
        ('{"op":"x","sizes":{"m":-1}}', "sizes: expected numbers"),
        ('{"op":"x","dtype":"f64","sizes":{"m":1}}', "dtype: expected bf16 or f16, got 'f64'"),
    ]:
        expect(rows.RowError, message, lambda: rows.read([wrong]))
    expect(rows.RowError, "sizes: expected n, got tokens, hidden", lambda: norm.size("n"))
    order = [rows.Row(op, {"i": i}) for i, op in enumerate("aabac")]
    assert [row.sizes["i"] for row in rows.in_turns(order)] == [0, 2, 4, 1, 3]
    small = rows.small()
    assert {row.op for row in small} == set(WORKS) and not set(WORKS) & set(NOT_COMPARED)
    assert {row.dtype for row in small} == {"bf16", "f16"} and len({row.key() for row in small}) == len(small)


def test_statistics():
    assert record.median([3.0, 1.0, 2.0]) == 2.0 and record.median([4.0, 1.0]) == 4.0
    assert math.isclose(record.geometric_mean([1.0, 4.0]), 2.0) and record.geometric_mean([]) is None
    fast, slow = record.Result("fast", 3.0), record.Result("slow", 4.0)
    failed, wrong = record.Result("failed"), record.Result("wrong", 1.0, agrees=False)
    assert record.speedup(2.0, [slow, fast, failed]) == 1.5
    for peers in ([], [failed], [fast, wrong]):
        assert record.speedup(2.0, peers) is None, peers
    assert record.speedup(None, [fast]) is None


def code(header):
    """The header without comments and directives."""
    text = re.sub(r"/\*.*?\*/", " ", header, flags=re.S)
    return " ".join(line for line in text.splitlines() if not line.startswith("#"))


_C_TYPES = {
    "lk_device": ctypes.c_uint64, "lk_stream": ctypes.c_void_p, "uint64_t": ctypes.c_uint64, "int32_t": ctypes.c_int32,
    "uint32_t": ctypes.c_uint32, "float": ctypes.c_float, "double": ctypes.c_double, "void *": ctypes.c_void_p,
    "char *": ctypes.c_char_p, "void **": ctypes.POINTER(ctypes.c_void_p),
    "lk_device *": ctypes.POINTER(ctypes.c_uint64), "uint64_t *": ctypes.POINTER(ctypes.c_uint64),
    "lk_tensor *": ctypes.POINTER(Tensor), "lk_attention *": ctypes.POINTER(Attention),
    "lk_properties *": ctypes.POINTER(Properties), "lk_int4_weight *": ctypes.POINTER(Int4Weight),
    "lk_int4_packed *": ctypes.POINTER(Int4Packed), "uint8_t *": ctypes.POINTER(ctypes.c_uint8),
    "uint16_t *": ctypes.POINTER(ctypes.c_uint16), "int32_t *": ctypes.POINTER(ctypes.c_int32),
}


def c_type(declaration):
    """The type of a parameter, field or result, by ctypes."""
    words = re.fullmatch(r"\s*(?:const )?(\w+) ?(\**)\s*\w*\s*", declaration)
    assert words, declaration
    return _C_TYPES[" ".join(part for part in words.groups() if part)]


def test_signatures(header):
    found = {}
    for result, name, parameters in re.findall(r"([\w* ]+?)\b(lk_\w+)\(([^)]*)\)", code(header)):
        parameters = [] if parameters.strip() == "void" else parameters.split(",")
        found[name] = [c_type(" ".join(p.split())) for p in parameters], c_type(" ".join(result.split()))
    assert found == SIGNATURES, set(found) ^ set(SIGNATURES) or [n for n in found if found[n] != SIGNATURES[n]]


def test_structs(header):
    structs = {"lk_tensor": Tensor, "lk_attention": Attention, "lk_properties": Properties,
               "lk_int4_weight": Int4Weight, "lk_int4_packed": Int4Packed}
    for name, struct_type in structs.items():
        body = re.search(rf"struct {name} \{{(.*?)\}}", code(header)).group(1)
        fields = []
        for field in filter(str.strip, body.split(";")):
            declaration, length = re.fullmatch(r"(.*?\w)(?:\[(\d+)\])?\s*", " ".join(field.split())).groups()
            field_name = re.search(r"\w+$", declaration).group()
            kind = {"char": ctypes.c_char, "int64_t": ctypes.c_int64}.get(declaration.split()[0])
            kind = kind or c_type(declaration)
            fields.append((field_name, kind * int(length) if length else kind))
        assert fields == struct_type._fields_, (name, fields)
    assert struct.calcsize("<ffffiiQQQ") == 48


def test_library(library):
    """A norm from plain Python, against the formula."""
    tokens, hidden = 3, 64
    x = [[math.sin(0.37 * (t * hidden + i)) for i in range(hidden)] for t in range(tokens)]
    # bf16 is the upper half of an f32; what is below is cut off here.
    halves = [struct.unpack("<I", struct.pack("<f", value))[0] >> 16 for row in x for value in row]
    x = [[from_bf16(half) for half in halves[t * hidden:(t + 1) * hidden]] for t in range(tokens)]
    data = struct.pack(f"<{len(halves)}H", *halves)
    ones = struct.pack("<H", 0x3F80) * hidden
    addresses = [library.allocate(len(data)), library.allocate(len(ones)), library.allocate(len(data))]
    library.write(addresses[0], data, len(data))
    library.write(addresses[1], ones, len(ones))
    x_tensor, weight, out = (Tensor.of(address, "bf16", shape) for address, shape in zip(
        addresses, ([tokens, hidden], [hidden], [tokens, hidden])))
    library.call("rms_norm", None, x_tensor, weight, EPS, out)
    library.synchronize()
    result = ctypes.create_string_buffer(len(data))
    library.read(result, addresses[2], len(data))
    results = [from_bf16(half) for half in struct.unpack(f"<{len(halves)}H", result.raw)]
    for t, row in enumerate(x):
        scale = (sum(value * value for value in row) / hidden + EPS) ** -0.5
        for value, got in zip(row, results[t * hidden:]):
            assert abs(got - value * scale) <= abs(value * scale) / 128, (t, got, value * scale)
    expect(LibraryError, "rms_norm: weight: expected shape [64]",
           lambda: library.call("rms_norm", None, x_tensor, x_tensor, EPS, out))
    expect(LibraryError, "rms_norm: x: expected a pointer",
           lambda: library.call("rms_norm", None, None, weight, EPS, out))
    for address in addresses:
        library.free(address)
    assert contiguous((2, 3, 4)) == [12, 4, 1]


def from_bf16(half):
    return struct.unpack("<f", struct.pack("<I", half << 16))[0]


def test_records(library, json_path):
    """Writes records as a run would, of numbers that the caller knows."""
    if json_path is None:
        with tempfile.TemporaryDirectory() as folder:
            return test_records(library, Path(folder) / "peers.jsonl")
    records = record.Records(json_path)
    run = record.run_record(library)
    assert run["device"]["simulated"] and run["commit"], run
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", run["date"]), run
    records.push(run)
    row = rows.Row("rms_norm", {"tokens": 8, "hidden": 4096}, "8B", "bf16", 12, 3, 1, ["x"])
    slow, fast = record.Result("slow", 4.0, difference=0.25), record.Result("fast", 3.0, difference=0.125)
    broken = record.Result("broken", note="ValueError: no such thing")
    records.push(record.peers_record(row, 2.0, [slow, fast, broken]))
    wrong = record.Result("wrong", 1.0, difference=0.5, agrees=False)
    records.push(record.peers_record(row, 2.0, [wrong]))
    unfit = record.Result("nan", 1.0, difference=math.inf, agrees=False)
    assert record.peers_record(row, 2.0, [unfit])["difference"] is None
    return None


def expect(kind, message, call):
    try:
        call()
    except kind as error:
        assert message in str(error), error
    else:
        raise AssertionError(f"expected {kind.__name__}: {message}")
