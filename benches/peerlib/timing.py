"""Time on a GPU, by the method of `llama-kernels bench`: a CUDA graph of calls that have operands of their own, the L2
cache emptied by reading before each replay, events around the replay. Implementations take turns, replay by replay."""

import math
import time

from .record import median

# What a replay should take, so that the gap before its first kernel and the events' own time vanish.
_REPLAY_SECONDS = 2e-3
_MAX_CALLS = 64
# The share of the free memory that the operands of all calls may take.
_MEMORY_SHARE = 0.1
# Reading them takes a hundred microseconds and more, in which the host queues the replay.
_LEAST_FLUSH_BYTES = 512 << 20
_WARM_UP_ROUNDS = 3
_ROUND_RANGE = (10, 50)
_ROW_SECONDS = 1.0


class Runnable:
    """The calls of one implementation, recorded in a graph if that is possible."""

    def __init__(self, torch, calls):
        self.calls, self.note, self._torch = calls, "", torch
        self._kept = []
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            # Loads modules, compiles and tunes; not while recording.
            for call in calls:
                call()
            calls[0]()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=stream):
                # Kept, so that every call writes memory of its own, as ours do.
                self._kept = [call() for call in calls]
            self._graph = graph
        except Exception as error:
            torch.cuda.synchronize()
            self._graph, self.note = None, f"not in a graph, launched one by one: {first_line(error)}"

    def launch(self):
        if self._graph is not None:
            self._graph.replay()
        else:
            self._kept = [call() for call in self.calls]


class Meter:
    """Times implementations in turns."""

    def __init__(self, torch, device, l2_bytes):
        self._torch = torch
        # Many times the L2 cache: whatever replaces its lines, none of an operand's is left.
        num_bytes = max(4 * l2_bytes, _LEAST_FLUSH_BYTES)
        self._flush = torch.ones(num_bytes // 4, dtype=torch.float32, device=device)
        self._sum = torch.empty((), device=device)
        self._read_seconds = self._measure_read()

    def _measure_read(self):
        return median([self._timed(lambda: self._empty_cache(1)) for _ in range(5)])

    def _empty_cache(self, times):
        """Reads, and leaves no lines that would have to be written back while a kernel is timed."""
        for _ in range(times):
            self._torch.sum(self._flush, dim=0, out=self._sum)

    def num_calls(self, call, operand_bytes):
        """How many calls a graph has: as many as a replay should take time and memory has room for."""
        call()
        seconds = self._timed(call)
        free, _ = self._torch.cuda.mem_get_info()
        room = free * _MEMORY_SHARE / max(operand_bytes, 1)
        return max(1, min(math.ceil(_REPLAY_SECONDS / max(seconds, 1e-6)), _MAX_CALLS, int(room)))

    def _timed(self, work):
        """Seconds between events around what is queued."""
        torch = self._torch
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) * 1e-3

    def time(self, runnables, num_calls):
        """Microseconds of one call of each: the median of its replays."""
        samples = [[] for _ in runnables]
        reads = [1] * len(runnables)
        started, rounds, number = time.perf_counter(), _ROUND_RANGE[0], 0
        while number < rounds + _WARM_UP_ROUNDS:
            for i, runnable in enumerate(runnables):
                seconds, host_seconds = self._replay(runnable, reads[i])
                # The replay must be queued by the time that the cache has been emptied, or the GPU waits for it.
                reads[i] = max(reads[i], min(64, math.ceil(1.5 * host_seconds / self._read_seconds)))
                if number >= _WARM_UP_ROUNDS:
                    samples[i].append(seconds * 1e6 / num_calls)
            number += 1
            if number == _WARM_UP_ROUNDS:
                each = (time.perf_counter() - started) / number
                rounds = min(max(int(_ROW_SECONDS / each), _ROUND_RANGE[0]), _ROUND_RANGE[1])
        return [median(times) for times in samples]

    def _replay(self, runnable, reads):
        host_seconds = 0.0

        def launch():
            nonlocal host_seconds
            started = time.perf_counter()
            runnable.launch()
            host_seconds = time.perf_counter() - started

        self._empty_cache(reads)
        seconds = self._timed(launch)
        return seconds, host_seconds


def first_line(error):
    """An exception as a note."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:160] if lines else 'without a message'}"
