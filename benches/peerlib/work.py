"""One operation at a shape: its operands, the library's call on them, and the peers'."""

import math
from types import SimpleNamespace

EPS = 1e-5


class Peer:
    """Another implementation.

    `prepare(operands)` does what is not timed (layouts, plans) and returns the call; the call returns its outputs by
    the names of `Work.outputs`, or what `finish` makes them of, which is not timed either."""

    def __init__(self, name, prepare, note="", finish=None):
        self.name, self.prepare, self.note = name, prepare, note
        self.finish = finish or (lambda outputs, operands: outputs)


class Skipped(Exception):
    """Why a peer does not run at this shape."""


class Work:
    """Base of the operations. `operands()` makes one call's tensors; two calls never share any."""

    def __init__(self, env, row):
        self.env, self.row, self.dtype = env, row, row.dtype
        self.torch = env.torch

    def operands(self):
        raise NotImplementedError

    def ours(self, o):
        """Places the operands and returns the call, which writes into them."""
        raise NotImplementedError

    def outputs(self, o):
        """What `ours` wrote, by name."""
        return {"out": o.out}

    def copy(self, o):
        """The same operands for another implementation: what calls write is copied, the rest is shared."""
        copied = SimpleNamespace(**vars(o))
        for name in self.written:
            setattr(copied, name, getattr(o, name).clone())
        self.mark(copied)
        return copied

    def mark(self, o):
        """Tells torch.compile which operands have a row a token."""
        self.env.mark_tokens(*(getattr(o, name) for name in self.tokens_first))

    written = ("out",)
    tokens_first = ()
    # Whether outputs are copies of inputs, which nobody rounds.
    exact = False

    def peers(self):
        raise NotImplementedError

    def operand_bytes(self, o):
        tensors = [value for value in vars(o).values() if self.torch.is_tensor(value)]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def call(self, name, *arguments):
        """A call of the library on whatever stream is PyTorch's by then."""
        env = self.env
        return lambda: env.library.call(name, env.stream(), *arguments)


def difference(torch, ours, theirs):
    """The largest difference of an element, relative to the largest element of the peer's tensor; infinite if an
    integer differs, or for a NaN: inputs have none."""
    worst = 0.0
    for name, a in ours.items():
        b = theirs[name]
        if a.shape != b.shape:
            raise ValueError(f"{name}: shapes {tuple(a.shape)} and {tuple(b.shape)}")
        if not a.is_floating_point():
            if not a.long().equal(b.long()):
                return math.inf
            continue
        a, b = a.float(), b.float()
        largest = b.abs().max().item()
        gap = (a - b).abs().max().item()
        if not math.isfinite(gap):
            return math.inf
        worst = max(worst, gap / largest if largest > 0 else gap)
    return worst


def tolerance(torch, dtype):
    """Two units in the last place of the largest element: each side has rounded once at least, some peers several
    times."""
    return 2 * torch.finfo(dtype).eps
