"""Statistics, and results as JSON lines: the records `run` and `peers` of the program (src/cli/record.rs)."""

import datetime
import json
import math


def median(numbers):
    """The sample at half of the way, as the program's meter takes it."""
    ordered = sorted(numbers)
    if not ordered:
        raise ValueError("the median of nothing")
    return ordered[math.floor(0.5 * (len(ordered) - 1) + 0.5)]


def geometric_mean(numbers):
    """None of nothing."""
    numbers = list(numbers)
    return math.exp(sum(map(math.log, numbers)) / len(numbers)) if numbers else None


class Result:
    """What came of one implementation of a row."""

    def __init__(self, name, microseconds=None, note="", difference=None, agrees=True):
        self.name, self.microseconds, self.note = name, microseconds, note
        self.difference, self.agrees, self.failed = difference, agrees, False

    def record(self):
        return {"name": self.name, "microseconds": self.microseconds, "note": self.note}


def speedup(ours, peers):
    """The fastest peer's time over ours, above 1 where we are faster. None without a peer's time, and where any output
    disagrees: then no time means anything."""
    times = [peer.microseconds for peer in peers if peer.microseconds is not None]
    if not times or not ours or not all(peer.agrees for peer in peers):
        return None
    return min(times) / ours


def finite(number):
    """A number that JSON has; a difference that is none (NaN outputs) is left out."""
    return number if number is not None and math.isfinite(number) else None


def peers_record(row, ours, peers):
    first = next((peer.difference for peer in peers if peer.difference is not None), None)
    return {"kind": "peers", **row.record(), "ours_microseconds": ours, "difference": finite(first),
            "peers": [peer.record() for peer in peers], "speedup": speedup(ours, peers)}


def run_record(library, torch_device=None):
    """Where results were made: by the library, and on a GPU by PyTorch, which knows more."""
    properties = library.properties()
    device = {
        "name": properties.name.decode(), "simulated": bool(properties.simulated),
        "compute_capability": f"{properties.compute_capability_major}.{properties.compute_capability_minor}",
        "num_sms": properties.num_sms, "memory_bytes": properties.memory_bytes or None,
        "l2_bytes": properties.l2_bytes or None,
        "memory_bytes_per_second": properties.memory_bytes_per_second or None, "driver": None, "driver_cuda": None,
        "kernels_cuda": f"{properties.kernels_cuda_major}.{properties.kernels_cuda_minor}", "clocks": None,
    }
    device.update(torch_device or {})
    now = datetime.datetime.now(datetime.timezone.utc)
    return {"kind": "run", "command": "peers", "version": library.version(), "commit": library.commit(),
            "date": now.strftime("%Y-%m-%dT%H:%M:%SZ"), "device": device}


class Records:
    """Appends to a file where there is one, a whole line at a time."""

    def __init__(self, path=None):
        self._file = open(path, "a", encoding="utf-8") if path else None

    def push(self, record):
        if self._file:
            self._file.write(json.dumps(record, allow_nan=False) + "\n")
            self._file.flush()
