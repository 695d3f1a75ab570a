#!/usr/bin/env python3
"""Our kernels beside those of PyTorch, and of FlashInfer, FlashAttention, DeepGEMM and Marlin where they are
installed: the same numbers in the same process, outputs compared, times taken in turns.

    cargo build --release --example 09_c_abi --features sim
    llama-kernels bench --list --json rows.jsonl
    python3 benches/peers.py --rows rows.jsonl --json results.jsonl

needs PyTorch with CUDA. `--device sim` runs every operation at small shapes on the simulated GPU beside PyTorch on
the CPU, and compares without a time. `--self-test` needs neither PyTorch nor a GPU. The method, and what is unfair to
whom, is in docs/benchmarks.md.

The operations are those of peerlib/operations.py.
"""

import argparse
import sys
import time
from pathlib import Path

# No __pycache__ beside the sources, which are packaged.
sys.dont_write_bytecode = True

from peerlib import record, rows, self_test
from peerlib.comparison import compare, why_not
from peerlib.library import LibraryError
from peerlib.operations import WORKS
from peerlib.timing import Meter, first_line

_HERE = Path(__file__).resolve().parent
_NAME = "lib09_c_abi.so"
# The label of a row that no model has.
_ATTAINED = "attained"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", metavar="FILE", help="JSON lines of `llama-kernels bench`, with or without times")
    parser.add_argument("--json", metavar="FILE", help="append results, as `llama-kernels report` reads them")
    parser.add_argument("--library", metavar="PATH", help=f"{_NAME}; default: beside this script, else of the build")
    parser.add_argument("--device", default="cuda:0", help="cuda:N (default cuda:0), or sim, sim:9.0")
    parser.add_argument("--ops", metavar="OP,...", help="these operations alone")
    parser.add_argument("--dtype", choices=("bf16", "f16"), help="rows of this element type alone")
    parser.add_argument("--without", metavar="TEXT,...", default="",
                        help="leave out peers whose names have this in them")
    parser.add_argument("--budget", metavar="SECONDS", type=float,
                        help="start no row after so many seconds; operations take turns")
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile, which takes its time")
    parser.add_argument("--self-test", action="store_true", help="test this script, without PyTorch and without a GPU")
    options = parser.parse_args()
    options.ops = options.ops.split(",") if options.ops else None
    options.without = [text for text in options.without.split(",") if text]
    unknown = [op for op in options.ops or () if op not in WORKS]
    if unknown:
        parser.error(f"--ops: expected some of {', '.join(WORKS)}, got {', '.join(unknown)}")
    options.simulated = options.device.startswith("sim")
    if not options.simulated and not options.device.startswith("cuda:"):
        parser.error(f"--device: expected cuda:N or sim, got {options.device}")
    if not options.rows and not options.simulated and not options.self_test:
        parser.error("--rows FILE is needed; `llama-kernels bench --list --json FILE` writes one")
    return options


def library_path():
    folders = [_HERE, *(_HERE.parent / "target" / profile / "examples" for profile in ("release", "debug"))]
    return next((folder / _NAME for folder in folders if (folder / _NAME).is_file()), folders[1] / _NAME)


def load_torch(simulated):
    try:
        import torch
    except ImportError as error:
        sys.exit(f"PyTorch {'' if simulated else 'with CUDA '}is needed: {error}")
    if not simulated and not torch.cuda.is_available():
        sys.exit("PyTorch with CUDA is needed: this one finds no GPU. --device sim compares without one")
    return torch


def read_rows(options):
    if options.rows:
        with open(options.rows, encoding="utf-8") as file:
            found = rows.read(file)
    else:
        found = rows.small()
    found = [row for row in found
             if (not options.ops or row.op in options.ops) and (not options.dtype or row.dtype == options.dtype)]
    return found if options.budget is None else rows.in_turns(found)


def show(row, ours, peers):
    """A row in lines of its own: ours, each peer, and the ratio if all agree."""
    print(row)
    if ours is not None:
        print(f"    {ours:10.2f} us  ours")
    for peer in peers:
        figure = f"{peer.microseconds:10.2f} us" if peer.microseconds is not None else " " * 13
        gap = f"  differs by {peer.difference:.2g}" if peer.difference is not None else "  NOT RUN"
        print(f"    {figure}  {peer.name}{gap}" + (f"  ({peer.note})" if peer.note else ""))
    if any(not peer.agrees for peer in peers):
        print("    *** OUTPUTS DISAGREE: no ratio ***")
    speedup = record.speedup(ours, peers)
    if speedup is not None:
        print(f"    {speedup:10.2f} x   fastest peer / ours")
    sys.stdout.flush()
    return speedup


def header(torch, env, run, options):
    """What ran where, with the settings that matter."""
    device = run["device"]
    print(f"llama-kernels {run['version']} ({run['commit']}) on {device['name']}, PyTorch {torch.__version__}")
    if not env.on_gpu:
        print("the simulated GPU beside PyTorch on the CPU: outputs are compared, nothing is timed")
        return
    flags = torch.backends.cuda.matmul
    print(f"driver {device['driver']}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}, "
          f"torch.compile {'on' if env.compiles() else 'off'}")
    print(f"allow_bf16_reduced_precision_reduction {flags.allow_bf16_reduced_precision_reduction}, "
          f"allow_fp16_reduced_precision_reduction {flags.allow_fp16_reduced_precision_reduction}, clocks "
          f"{device['clocks']}")
    absent = [name for name, package in env.packages.items() if package is None]
    if absent:
        print(f"not installed, and so not compared: {', '.join(absent)}")


def large_product(dtype):
    """The row that tells what is attained where nothing but the tensor cores is in the way."""
    return rows.Row("matmul", {"m": 8192, "n": 8192, "k": 8192}, _ATTAINED, dtype, 2 * 8192 ** 3, 3 * 8192 ** 2 * 2,
                    8192 ** 2 * 2)


def show_attained(row, ours, peers):
    best = min((peer.microseconds for peer in peers if peer.microseconds), default=None)
    if best and ours:
        print(f"attained: {row.flops / best / 1e6:.0f} TFLOP/s by PyTorch, {row.flops / ours / 1e6:.0f} by ours")


def main():
    options = arguments()
    library = options.library or (None if options.self_test else library_path())
    if options.self_test:
        self_test.run(library, options.json)
        return 0
    started = time.monotonic()
    try:
        chosen = read_rows(options)
    except (OSError, rows.RowError) as error:
        sys.exit(f"--rows: {error}")
    torch = load_torch(options.simulated)
    from peerlib.env import Env
    try:
        env = Env(torch, library, options.device, not options.no_compile)
    except (LibraryError, OSError) as error:
        sys.exit(f"--library: {error}")
    return run(options, torch, env, chosen, started)


def run(options, torch, env, chosen, started):
    records = record.Records(options.json)
    meter, torch_device = None, None
    if env.on_gpu:
        from peerlib.gpu import device_record
        torch.cuda.set_device(env.device)
        torch_device = device_record(torch, env.device)
    run_record = record.run_record(env.library, torch_device)
    records.push(run_record)
    header(torch, env, run_record, options)

    def wanted(name):
        return not any(text in name for text in options.without)

    speedups, disagreed, failed, compared = {}, [], [], 0
    def take(row, ours, peers):
        nonlocal compared
        compared += 1
        speedup = show(row, ours, peers)
        if speedup is not None and row.label != _ATTAINED:
            speedups.setdefault(row.op, []).append(speedup)
        if any(not peer.agrees for peer in peers):
            disagreed.append(row)
        # On a GPU a peer may refuse a shape; here the same calls are made to be seen working.
        if not env.on_gpu and any(peer.failed for peer in peers):
            failed.append(row)
        if ours is not None:
            records.push(record.peers_record(row, ours, peers))

    if env.on_gpu:
        l2_bytes = getattr(torch.cuda.get_device_properties(env.device), "L2_cache_size", 0)
        meter = Meter(torch, env.device, l2_bytes)
        if not options.ops or "matmul" in options.ops:
            chosen = [large_product(options.dtype or "bf16"), *chosen]
    left_out = {}
    for i, row in enumerate(chosen):
        if options.budget is not None and time.monotonic() - started > options.budget:
            print(f"{len(chosen) - i} rows were left out: {options.budget:.0f} s are over")
            break
        reason = why_not(row)
        if reason:
            left_out.setdefault((row.op, reason), []).append(row)
            continue
        try:
            ours, peers = compare(env, row, meter, wanted)
        except Exception as error:
            # Ours fails, or there is no memory: the row is lost, and said to be.
            print(f"{row}\n    *** FAILED: {first_line(error)} ***")
            failed.append(row)
            continue
        finally:
            if env.on_gpu:
                torch.cuda.empty_cache()
        if peers:
            take(row, ours, peers)
            if row.label == _ATTAINED:
                show_attained(row, ours, peers)
        else:
            left_out.setdefault((row.op, "no peer at these settings"), []).append(row)
    return finish(speedups, disagreed, failed, left_out, compared)


def finish(speedups, disagreed, failed, left_out, compared):
    """The means, and what has none. Exit code 1 if outputs disagree or rows failed."""
    print(f"\n{compared} rows compared")
    for op, ratios in speedups.items():
        print(f"    {record.geometric_mean(ratios):6.2f} x  {op}, geometric mean of {len(ratios)} rows")
    if speedups:
        everything = [ratio for ratios in speedups.values() for ratio in ratios]
        print(f"    {record.geometric_mean(everything):6.2f} x  all {len(everything)} rows")
    for (op, reason), rows_of in left_out.items():
        print(f"{len(rows_of)} rows of {op} are not compared: {reason}")
    for what, rows_of in (("OUTPUTS DISAGREE", disagreed), ("FAILED", failed)):
        for row in rows_of:
            print(f"*** {what}: {row} ***")
    return 1 if disagreed or failed else 0


if __name__ == "__main__":
    sys.exit(main())
