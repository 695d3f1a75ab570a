"""Rows: an operation at a shape, as `llama-kernels bench --list --json FILE` and its results write them."""

import json

# What a size was or may be called.
_NAMES = {
    "q_len": ("q_len", "q"), "kv_len": ("kv_len", "kv"), "num_q_heads": ("num_q_heads", "q_heads"),
    "num_kv_heads": ("num_kv_heads", "kv_heads"), "head_dim": ("head_dim", "hd"),
    "vocab": ("vocab", "vocab_size"),
}
# Kinds of records that carry a row.
_KINDS = ("row", "kernel", "counters", "peers")


class RowError(ValueError):
    """A line that is no row, or a row that lacks a size."""


class Row:
    """An operation at a shape: what it is called, its sizes by name, and what it costs at least."""

    def __init__(self, op, sizes, label="", dtype="", flops=0, bytes=0, bytes_written=0, plan=()):
        self.op, self.sizes, self.label, self.dtype = op, sizes, label, dtype or "bf16"
        self.flops, self.bytes, self.bytes_written, self.plan = flops, bytes, bytes_written, list(plan)

    def size(self, name, default=None):
        for known in _NAMES.get(name, (name,)):
            if known in self.sizes:
                return self.sizes[known]
        if default is None:
            raise RowError(f"{self}: sizes: expected {name}, got {', '.join(self.sizes)}")
        return default

    def flag(self, name):
        return bool(self.size(name, 0))

    def key(self):
        """What tells rows apart."""
        return self.op, self.dtype, self.label, tuple(self.sizes.items())

    def record(self):
        return {"op": self.op, "label": self.label, "dtype": self.dtype, "sizes": self.sizes, "flops": self.flops,
                "bytes": self.bytes, "bytes_written": self.bytes_written, "plan": self.plan}

    def __str__(self):
        sizes = " ".join(f"{name}={size}" for name, size in self.sizes.items())
        return " ".join(part for part in (self.op, self.label, self.dtype, sizes) if part)


def read(lines):
    """The rows of JSON lines, each once, in their order; records of other kinds are passed over."""
    rows = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise RowError(f"line {number}: {error}") from None
        if not isinstance(record, dict) or record.get("kind", "row") not in _KINDS or "op" not in record:
            continue
        sizes = record.get("sizes")
        if not isinstance(sizes, dict) or not all(isinstance(size, int) and size >= 0 for size in sizes.values()):
            raise RowError(f"line {number}: sizes: expected numbers by name, got {sizes!r}")
        fields = {name: record[name] for name in ("label", "dtype", "flops", "bytes", "bytes_written", "plan")
                  if name in record}
        row = Row(record["op"], sizes, **fields)
        if row.dtype not in ("bf16", "f16"):
            raise RowError(f"line {number}: dtype: expected bf16 or f16, got {row.dtype!r}")
        rows.setdefault(row.key(), row)
    return list(rows.values())


def in_turns(found):
    """Operations in turns, so that a run that ends early has rows of each."""
    places, turns = {}, []
    for row in found:
        places[row.op] = places.get(row.op, -1) + 1
        turns.append((places[row.op], row))
    return [row for _, row in sorted(turns, key=lambda turn: turn[0])]


def small(dtypes=("bf16", "f16")):
    """Every operation at shapes that the simulated GPU computes in seconds: odd sizes, grouped heads, chunks of
    prompts."""
    def heads(batch, q_len, kv_len, num_q_heads, num_kv_heads, head_dim, **more):
        return {"batch": batch, "q_len": q_len, "kv_len": kv_len, "num_q_heads": num_q_heads,
                "num_kv_heads": num_kv_heads, "head_dim": head_dim, **more}

    shapes = [
        ("embed", "", {"tokens": 5, "hidden": 64, "vocab": 99}),
        ("gather_rows", "", {"rows": 3, "tokens": 17, "hidden": 72}),
        ("rms_norm", "", {"tokens": 1, "hidden": 256}),
        ("rms_norm", "", {"tokens": 7, "hidden": 1032}),
        ("add_rms_norm", "", {"tokens": 1, "hidden": 128}),
        ("add_rms_norm", "", {"tokens": 7, "hidden": 2048}),
        ("silu_and_mul", "", {"tokens": 1, "intermediate": 64}),
        ("silu_and_mul", "", {"tokens": 9, "intermediate": 344}),
        ("rope_append_kv", "", {"tokens": 1, "num_q_heads": 4, "num_kv_heads": 4, "head_dim": 64}),
        ("rope_append_kv", "", {"tokens": 21, "num_q_heads": 8, "num_kv_heads": 2, "head_dim": 128}),
        ("matmul", "", {"m": 1, "n": 96, "k": 128}),
        ("matmul", "", {"m": 33, "n": 136, "k": 264}),
        ("matmul", "invariant", {"m": 5, "n": 64, "k": 128, "invariant": 1}),
        ("matmul", "bias", {"m": 5, "n": 72, "k": 64, "bias": 1}),
        ("matmul", "gate_up", {"m": 3, "n": 128, "k": 96, "swiglu": 1}),
        ("matmul", "gate_up", {"m": 65, "n": 160, "k": 64, "swiglu": 1, "bias": 1}),
        ("matmul", "lm_head", {"m": 2, "n": 200, "k": 64, "f32_out": 1}),
        ("matmul_int4", "", {"m": 1, "n": 136, "k": 256, "group": 128}),
        ("matmul_int4", "", {"m": 35, "n": 72, "k": 192, "group": 32}),
        ("matmul_int4", "zeros", {"m": 3, "n": 64, "k": 256, "group": 64, "zeros": 1, "bias": 1}),
        ("matmul_int4", "gate_up", {"m": 2, "n": 96, "k": 128, "group": 128, "swiglu": 1}),
        ("matmul_fp8", "", {"m": 1, "n": 136, "k": 272}),
        ("matmul_fp8", "tensors", {"m": 19, "n": 64, "k": 256, "x_tensor": 1, "w_tensor": 1}),
        ("matmul_fp8", "blocks", {"m": 5, "n": 200, "k": 272, "blocks": 1, "bias": 1}),
        ("matmul_fp8", "gate_up", {"m": 3, "n": 96, "k": 128, "swiglu": 1}),
        ("attention_prefill", "", heads(1, 80, 80, 2, 2, 64)),
        ("attention_prefill", "grouped", heads(2, 37, 37, 8, 2, 128)),
        ("attention_prefill", "chunk", heads(1, 24, 131, 4, 1, 64)),
        ("attention_decode", "", heads(2, 1, 77, 4, 4, 64)),
        ("attention_decode", "grouped", heads(3, 1, 300, 8, 2, 128)),
        ("attention_decode", "speculative", heads(2, 4, 130, 8, 2, 64)),
        ("attention_decode", "invariant", heads(1, 1, 600, 4, 2, 64, invariant=1)),
        ("sample", "greedy", {"rows": 3, "vocab": 1000}),
        ("sample", "greedy", {"rows": 3, "vocab": 1001}),
    ]
    return [Row(op, sizes, label, dtype) for dtype in dtypes for op, label, sizes in shapes]
