"""The meter on a clock of its own: a PyTorch with nothing but a stream, whose kernels take the time that they are
told."""

import contextlib
from types import SimpleNamespace

from .timing import Meter, Runnable

_LAUNCH = 5e-6
_FLUSH = 40e-6


class Gpu:
    """A GPU's clock, what ran on it, and the functions of torch and torch.cuda that the meter calls."""

    float32 = "f32"

    def __init__(self, free_bytes):
        self.seconds, self.ran, self.recorded = 0.0, [], None
        gpu = self

        class Event:
            def __init__(self, enable_timing):
                assert enable_timing

            def record(self):
                self.seconds = gpu.seconds

            def elapsed_time(self, end):
                return (end.seconds - self.seconds) * 1e3

        class CUDAGraph:
            def replay(self):
                for name, seconds in self.kernels:
                    gpu.run(name, seconds)

        self.cuda = SimpleNamespace(
            Event=Event, CUDAGraph=CUDAGraph, Stream=lambda: SimpleNamespace(wait_stream=lambda other: None),
            stream=lambda stream: contextlib.nullcontext(), current_stream=lambda: None, synchronize=lambda: None,
            graph=self.graph, mem_get_info=lambda: (free_bytes, 2 * free_bytes))

    @contextlib.contextmanager
    def graph(self, graph, stream):
        self.recorded = []
        try:
            yield
        finally:
            graph.kernels, self.recorded = self.recorded, None

    def run(self, name, seconds):
        self.seconds += seconds
        self.ran.append(name)

    def launch(self, name, seconds):
        """A kernel from the host: recorded, or run after the time that a launch takes."""
        if self.recorded is None:
            self.run(name, seconds + _LAUNCH)
        else:
            self.recorded.append((name, seconds))

    # What empties the cache.
    def ones(self, count, dtype, device):
        return count

    def empty(self, shape, device):
        return None

    def sum(self, values, dim, out):
        self.run("flush", _FLUSH)


def test_timing():
    gpu = Gpu(free_bytes=10 << 30)
    meter = Meter(gpu, "cuda:0", 50 << 20)

    def calls(name, seconds, count):
        return [lambda i=i: gpu.launch(f"{name}{i}", seconds) for i in range(count)]

    # 2 ms / 58 us; 64 at most; what memory has room for; one at least.
    assert meter.num_calls(calls("x", 53e-6, 1)[0], 1 << 20) == 35
    assert meter.num_calls(calls("x", 1e-6, 1)[0], 1 << 20) == 64
    assert meter.num_calls(calls("x", 1e-6, 1)[0], 100 << 20) == 10
    assert meter.num_calls(calls("x", 1.0, 1)[0], 100 << 30) == 1

    def unrecordable():
        if gpu.recorded is not None:
            raise RuntimeError("allocates\nand more")
        gpu.launch("eager", 3e-6)

    ours, peer = Runnable(gpu, calls("ours", 2e-6, 4)), Runnable(gpu, calls("peer", 4e-6, 4))
    eager = Runnable(gpu, [unrecordable] * 4)
    assert ours.note == peer.note == ""
    assert eager.note == "not in a graph, launched one by one: RuntimeError: allocates", eager.note
    gpu.ran.clear()
    times = meter.time([ours, peer, eager], 4)
    expected = [2.0, 4.0, 3.0 + _LAUNCH * 1e6]
    assert all(abs(a - b) < 1e-6 for a, b in zip(times, expected)), times
    # In turns: each replay behind an emptied cache, all four calls on operands of their own.
    ran = [name for i, name in enumerate(gpu.ran) if name != "flush" or gpu.ran[i - 1] != "flush"]
    turn = ["flush"] + [f"ours{i}" for i in range(4)] + ["flush"] + [f"peer{i}" for i in range(4)] + ["flush"]
    turn += ["eager"] * 4
    assert len(ran) >= 13 * len(turn) and ran == turn * (len(ran) // len(turn)), ran[:40]
