"""embed, gather_rows and sample: rows by index, and the index of the largest logit."""

import struct
from types import SimpleNamespace

from .work import Peer, Work


class Embed(Work):
    exact = True

    def operands(self):
        env, hidden, vocab = self.env, self.row.size("hidden"), self.row.size("vocab")
        tokens = self.row.size("tokens")
        ids = env.shuffled(vocab).repeat(-(-tokens // vocab))[:tokens]
        return SimpleNamespace(ids=ids.int(), table=env.random(self.dtype, (vocab, hidden)),
                               out=env.output(self.dtype, (tokens, hidden)))

    def ours(self, o):
        place = self.env.place
        return self.call("embed", place(o.ids), place(o.table), place(o.out), None)

    def peers(self):
        functional = self.torch.nn.functional
        return [Peer(f"torch {self.torch.__version__} F.embedding",
                     lambda o: lambda: {"out": functional.embedding(o.ids, o.table)})]


class GatherRows(Work):
    exact = True

    def operands(self):
        env, hidden, rows = self.env, self.row.size("hidden"), self.row.size("rows")
        tokens = self.row.size("tokens")
        return SimpleNamespace(x=env.random(self.dtype, (tokens, hidden)), rows=env.shuffled(tokens)[:rows].int(),
                               out=env.output(self.dtype, (rows, hidden)))

    def ours(self, o):
        place = self.env.place
        return self.call("gather_rows", place(o.x), place(o.rows), place(o.out), None)

    def peers(self):
        return [Peer(f"torch {self.torch.__version__} index_select",
                     lambda o: lambda: {"out": self.torch.index_select(o.x, 0, o.rows)})]


class Sample(Work):
    """The largest logit alone: no other library draws the same random numbers, so that nothing could be compared."""

    written = ("out", "seen")

    def operands(self):
        env, rows, vocab = self.env, self.row.size("rows"), self.row.size("vocab")
        # lk_sample_row: temperature 0, no filter, no penalty, no row of seen tokens.
        setting = struct.pack("<ffffiiQQQ", 0.0, 1.0, 0.0, 1.0, 0, -1, 1, 0, 0)
        settings = env.tensor("u8", list(setting)).repeat(rows, 1)
        # Rows start at 16 bytes.
        padded = env.random("f32", (rows, -(-vocab // 4) * 4), 3.0)
        return SimpleNamespace(padded=padded, logits=padded[:, :vocab], rows=settings,
                               seen=env.zeros("i32", (rows, -(-vocab // 32))), out=env.output("i32", (rows,)))

    def ours(self, o):
        place = self.env.place
        seen = place(o.seen)
        seen.dtype = 5  # u32, which PyTorch cannot do much with.
        logits = self.env.place_columns(o.padded, self.row.size("vocab"))
        return self.call("sample", logits, place(o.rows), seen, place(o.out), None)

    def peers(self):
        if self.row.flag("temperature") or self.row.flag("filters"):
            return []
        return [Peer(f"torch {self.torch.__version__} argmax",
                     lambda o: lambda: {"out": o.logits.argmax(-1)})]
