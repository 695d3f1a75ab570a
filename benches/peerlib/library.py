"""The kernels behind their C interface (examples/09_c_abi/llama_kernels.h), by ctypes."""

import ctypes
from ctypes import POINTER, Structure, byref, c_char, c_char_p, c_double, c_float, c_int32, c_int64, c_uint8, \
    c_uint16, c_uint32, c_uint64, c_void_p
from pathlib import Path

DTYPES = {"bf16": 0, "f16": 1, "f32": 2, "i32": 3, "i64": 4, "u32": 5, "u8": 6, "e4m3": 7}


class Tensor(Structure):
    """lk_tensor: a device address, element type, shape and strides in elements."""

    _fields_ = [("data", c_void_p), ("dtype", c_int32), ("rank", c_int32), ("shape", c_int64 * 4),
                ("strides", c_int64 * 4)]

    @classmethod
    def of(cls, address, dtype, shape, strides=None):
        if strides is None:
            strides = contiguous(shape)
        return cls(address or None, DTYPES[dtype], len(shape), tuple(shape), tuple(strides))


class Attention(Structure):
    """lk_attention."""

    _fields_ = [(name, POINTER(Tensor)) for name in ("q", "k", "v", "page_table", "kv_indptr", "q_indptr", "kv_len",
                                                     "out", "lse", "error")] + [
        ("first_sequence", c_uint64), ("num_sequences", c_uint64), ("max_q_len", c_uint64),
        ("max_kv_len", c_uint64), ("softmax_scale", c_float), ("k_scale", c_float), ("v_scale", c_float),
        ("batch_invariant", c_int32)]


class Int4Weight(Structure):
    """lk_int4_weight: in host memory."""

    _fields_ = [("n", c_uint64), ("k", c_uint64), ("group_size", c_uint64), ("codes", POINTER(c_uint8)),
                ("scales", POINTER(c_uint16)), ("zeros", POINTER(c_uint16)), ("dtype", c_int32)]


class Int4Packed(Structure):
    """lk_int4_packed: in the device's."""

    _fields_ = [("n", c_uint64), ("k", c_uint64), ("codes", POINTER(Tensor)), ("scales", POINTER(Tensor)),
                ("integer_zeros", c_int32)]


class Properties(Structure):
    """lk_properties."""

    _fields_ = [("name", c_char * 128), ("simulated", c_int32), ("compute_capability_major", c_int32),
                ("compute_capability_minor", c_int32), ("num_sms", c_uint32), ("memory_bytes", c_uint64),
                ("l2_bytes", c_uint64), ("memory_bytes_per_second", c_double), ("kernels_cuda_major", c_int32),
                ("kernels_cuda_minor", c_int32)]


_T, _DEVICE, _STREAM = POINTER(Tensor), c_uint64, c_void_p
_ON = [_DEVICE, _STREAM]

# Types of the parameters and of the result, by name; the self-test holds them against the header.
SIGNATURES = {
    "lk_error": ([], c_char_p),
    "lk_version": ([], c_char_p),
    "lk_commit": ([], c_char_p),
    "lk_open": ([c_char_p, POINTER(_DEVICE)], c_int32),
    "lk_close": ([_DEVICE], c_int32),
    "lk_get_properties": ([_DEVICE, POINTER(Properties)], c_int32),
    "lk_synchronize": (_ON, c_int32),
    "lk_allocate": ([_DEVICE, c_uint64, POINTER(c_void_p)], c_int32),
    "lk_free": ([_DEVICE, c_void_p], c_int32),
    "lk_write": ([_DEVICE, c_void_p, c_void_p, c_uint64], c_int32),
    "lk_read": ([_DEVICE, c_void_p, c_void_p, c_uint64], c_int32),
    "lk_embed": (_ON + [_T] * 4, c_int32),
    "lk_gather_rows": (_ON + [_T] * 4, c_int32),
    "lk_rms_norm": (_ON + [_T, _T, c_float, _T], c_int32),
    "lk_add_rms_norm": (_ON + [_T, _T, _T, c_float, _T], c_int32),
    "lk_silu_and_mul": (_ON + [_T] * 2, c_int32),
    "lk_rope_append_kv": (_ON + [_T] * 7 + [c_float, c_float, _T], c_int32),
    "lk_permute_columns": (_ON + [_T] * 4, c_int32),
    "lk_matmul": (_ON + [_T, _T, _T, c_int32, c_int32, _T, _T], c_int32),
    "lk_matmul_workspace": ([_DEVICE, POINTER(c_uint64)], c_int32),
    "lk_int4_sizes": ([POINTER(Int4Weight), POINTER(c_uint64), POINTER(c_uint64)], c_int32),
    "lk_int4_pack": ([POINTER(Int4Weight), POINTER(c_uint8), POINTER(c_uint16), POINTER(c_int32)], c_int32),
    "lk_matmul_int4": (_ON + [_T, POINTER(Int4Packed), _T, c_int32, c_int32, _T, _T], c_int32),
    "lk_quantize_fp8": (_ON + [_T] * 3, c_int32),
    "lk_matmul_fp8": (_ON + [_T] * 5 + [c_int32] * 3 + [_T, _T], c_int32),
    "lk_attention_prefill": (_ON + [POINTER(Attention)], c_int32),
    "lk_attention_decode": (_ON + [POINTER(Attention), _T], c_int32),
    "lk_attention_decode_workspace": (_ON + [POINTER(Attention), POINTER(c_uint64)], c_int32),
    "lk_sample": (_ON + [_T] * 5, c_int32),
}


class LibraryError(Exception):
    """A call was refused, in the library's words."""


class Library:
    """A loaded library with a device that it has opened."""

    def __init__(self, path, device):
        path = Path(path)
        if not path.is_file():
            raise LibraryError(f"{path} is not there; build it with\n    cargo build --release --example 09_c_abi "
                               "--features sim\nor name it with --library")
        self._library = ctypes.CDLL(str(path.resolve()))
        for name, (parameters, result) in SIGNATURES.items():
            function = getattr(self._library, name)
            function.argtypes, function.restype = parameters, result
        number = _DEVICE()
        self.check(self._library.lk_open(device.encode(), byref(number)))
        self.device = number.value

    def check(self, status):
        if status != 0:
            raise LibraryError(self._library.lk_error().decode())

    def call(self, name, stream, *arguments):
        """Queues an operation on a stream; tensors go in as structs, None for those that are left out."""
        arguments = [byref(a) if isinstance(a, Structure) else a for a in arguments]
        self.check(getattr(self._library, "lk_" + name)(self.device, stream, *arguments))

    def workspace_bytes(self, stream, attention):
        number = c_uint64()
        self.call("attention_decode_workspace", stream, attention, number_pointer(number))
        return number.value

    def matmul_workspace_bytes(self):
        number = c_uint64()
        self.check(self._library.lk_matmul_workspace(self.device, number_pointer(number)))
        return number.value

    def int4_pack(self, weight):
        """The codes and scales of a weight in the order of the kernels, as bytes, and whether its zeros are integers.
        `weight` is an Int4Weight whose pointers stay valid meanwhile."""
        codes, scales, integer_zeros = c_uint64(), c_uint64(), c_int32()
        self.check(self._library.lk_int4_sizes(byref(weight), number_pointer(codes), number_pointer(scales)))
        codes, scales = (c_uint8 * codes.value)(), (c_uint16 * scales.value)()
        self.check(self._library.lk_int4_pack(byref(weight), codes, scales, ctypes.pointer(integer_zeros)))
        return codes, scales, integer_zeros.value

    def properties(self):
        properties = Properties()
        self.check(self._library.lk_get_properties(self.device, byref(properties)))
        return properties

    def version(self):
        return self._library.lk_version().decode()

    def commit(self):
        return self._library.lk_commit().decode()

    def allocate(self, num_bytes):
        address = c_void_p()
        self.check(self._library.lk_allocate(self.device, num_bytes, byref(address)))
        return address.value or 0

    def free(self, address):
        self.check(self._library.lk_free(self.device, address))

    def write(self, to, from_host, num_bytes):
        self.check(self._library.lk_write(self.device, to, from_host, num_bytes))

    def read(self, to_host, from_device, num_bytes):
        self.check(self._library.lk_read(self.device, to_host, from_device, num_bytes))

    def synchronize(self, stream=None):
        self.check(self._library.lk_synchronize(self.device, stream))

    def close(self):
        self.check(self._library.lk_close(self.device))


def number_pointer(number):
    return ctypes.pointer(number)


def contiguous(shape):
    """Row-major strides in elements."""
    strides, elements = [], 1
    for size in reversed(shape):
        strides.insert(0, elements)
        elements *= max(size, 1)
    return strides
