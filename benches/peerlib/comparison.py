"""A row: all implementations on the same numbers, compared, and on a GPU timed in turns."""

from .operations import NOT_COMPARED, WORKS
from .record import Result
from .timing import Runnable, first_line
from .work import Skipped, difference, tolerance


def why_not(row):
    """Why a row is not compared, or None."""
    if row.flag("fp8_cache"):
        return "no peer stores keys and values in these codes"
    if row.op in WORKS:
        return None
    return NOT_COMPARED.get(row.op, "no peer is known here")


def compare(env, row, meter, wanted):
    """Runs a row. Returns our microseconds (None without a meter), and a Result for each peer whose name `wanted`
    takes."""
    work = WORKS[row.op](env, row)
    peers = [peer for peer in work.peers() if wanted(peer.name)]
    if not peers:
        return None, []
    base = work.operands()
    results = [Result(peer.name, note=peer.note) for peer in peers]
    able = check(env, work, base, peers, results)
    if meter is None or not able:
        return None, results
    num_calls = meter.num_calls(work.ours(base), work.operand_bytes(base))
    sets = [base] + [work.operands() for _ in range(num_calls - 1)]
    ours = Runnable(env.torch, [work.ours(o) for o in sets])
    if ours.note:
        raise RuntimeError(f"our own kernels cannot be recorded: {ours.note}")
    timed = []
    for i in able:
        try:
            timed.append((i, Runnable(env.torch, [peers[i].prepare(o) for o in sets])))
        except Exception as error:
            results[i].failed = True
            add_note(results[i], first_line(error))
    times = meter.time([ours] + [runnable for _, runnable in timed], num_calls)
    for (i, runnable), microseconds in zip(timed, times[1:]):
        results[i].microseconds = microseconds
        add_note(results[i], runnable.note)
    return times[0], results


def check(env, work, base, peers, results):
    """Compares every peer with us. Returns the numbers of those that ran."""
    o = work.copy(base)
    call = work.ours(o)
    call()
    env.finish()
    ours = work.outputs(o)
    able = []
    for i, (peer, result) in enumerate(zip(peers, results)):
        mine = work.copy(base)
        try:
            theirs = peer.finish(peer.prepare(mine)(), mine)
            env.finish()
            result.difference = difference(env.torch, ours, theirs)
        except Skipped as reason:
            add_note(result, str(reason))
            continue
        except Exception as error:
            result.failed = True
            add_note(result, first_line(error))
            continue
        able.append(i)
        limit = 0.0 if work.exact else tolerance(env.torch, env.dtypes[work.dtype])
        if not result.difference <= limit:
            result.agrees = False
            add_note(result, f"OUTPUTS DISAGREE: {result.difference:.3g} of the largest element, at most {limit:.3g} "
                             "was expected")
    return able


def add_note(result, note):
    result.note = "; ".join(part for part in (result.note, note) if part)
