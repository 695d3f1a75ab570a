"""rope_append_kv: rotation of queries and keys, and the cache's new rows."""

from types import SimpleNamespace

from .work import Peer, Work

try:
    import torch
except (ImportError, OSError):  # The self-test does without.
    torch = None

PAGE_SIZE = 16


def rotated(x, cos, sin):
    """Halves of a head as pairs, in f32, rounded once."""
    first, second = x.float().chunk(2, -1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1).to(x.dtype)


def rope_append_kv(qkv, positions, slots, cos_sin, k_rows, v_rows, num_q_heads, num_kv_heads):
    """Returns the queries; keys and values go into the rows of the cache that `slots` names."""
    tokens, head_dim = qkv.shape[0], cos_sin.shape[1]
    heads = qkv.view(tokens, num_q_heads + 2 * num_kv_heads, head_dim)
    q, k, v = heads.split((num_q_heads, num_kv_heads, num_kv_heads), 1)
    cos, sin = cos_sin[positions].unsqueeze(1).chunk(2, -1)
    k_rows[slots] = rotated(k, cos, sin)
    v_rows[slots] = v
    return rotated(q, cos, sin)


class RopeAppendKv(Work):
    written = ("q_out", "k_cache", "v_cache")
    tokens_first = ("qkv", "positions", "slots")

    def __init__(self, env, row):
        super().__init__(env, row)
        self.heads = row.size("num_q_heads"), row.size("num_kv_heads")
        self.head_dim, self.tokens = row.size("head_dim"), row.size("tokens")

    def operands(self):
        env, (q_heads, kv_heads), head_dim, tokens = self.env, self.heads, self.head_dim, self.tokens
        num_positions = self.row.size("num_positions", max(tokens, 64))
        pages = -(-tokens // PAGE_SIZE)
        angles = env.random("f32", (num_positions, head_dim // 2), 3.0)
        cache = (pages, PAGE_SIZE, kv_heads, head_dim)
        o = SimpleNamespace(
            qkv=env.random(self.dtype, (tokens, (q_heads + 2 * kv_heads) * head_dim)),
            positions=env.shuffled(num_positions)[:tokens].int(),
            slots=env.shuffled(pages * PAGE_SIZE)[:tokens].clone(),
            cos_sin=self.torch.cat((angles.cos(), angles.sin()), -1),
            q_out=env.output(self.dtype, (tokens, q_heads, head_dim)),
            k_cache=env.zeros(self.dtype, cache), v_cache=env.zeros(self.dtype, cache))
        self.mark(o)
        return o

    def ours(self, o):
        place = self.env.place
        return self.call("rope_append_kv", place(o.qkv), place(o.positions), place(o.slots), place(o.cos_sin),
                         place(o.q_out), place(o.k_cache), place(o.v_cache), 1.0, 1.0, None)

    def outputs(self, o):
        return {"q": o.q_out, "k_cache": o.k_cache, "v_cache": o.v_cache}

    def peers(self):
        env, name = self.env, f"torch {self.torch.__version__}"

        def by(function):
            def prepare(o):
                k_rows, v_rows = (cache.view(-1, *cache.shape[2:]) for cache in (o.k_cache, o.v_cache))
                env.mark_tokens(k_rows, v_rows)
                return lambda: {"q": function(o.qkv, o.positions, o.slots, o.cos_sin, k_rows, v_rows, *self.heads),
                                "k_cache": o.k_cache, "v_cache": o.v_cache}
            return prepare

        peers = [Peer(f"{name} eager", by(rope_append_kv))]
        if env.compiles():
            peers.append(Peer(f"{name} compiled", by(env.compiled(rope_append_kv))))
        return peers
