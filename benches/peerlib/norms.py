"""rms_norm, add_rms_norm and silu_and_mul: bound by memory."""

from types import SimpleNamespace

from .env import version
from .work import EPS, Peer, Work


def eager_rms_norm(x, weight):
    """The formula, with Llama's roundings."""
    wide = x.float()
    return (wide * (wide.pow(2).mean(-1, keepdim=True) + EPS).rsqrt()).to(x.dtype) * weight


def eager_add_rms_norm(x, residual, weight):
    residual.add_(x)
    return eager_rms_norm(residual, weight)


class RmsNorm(Work):
    tokens_first = ("x",)

    def operands(self):
        tokens, hidden = self.row.size("tokens"), self.row.size("hidden")
        env, dtype = self.env, self.dtype
        o = SimpleNamespace(x=env.random(dtype, (tokens, hidden)), weight=env.random(dtype, (hidden,)),
                            out=env.output(dtype, (tokens, hidden)))
        if "residual" in self.written:
            o.residual = env.random(dtype, (tokens, hidden))
        self.mark(o)
        return o

    def ours(self, o):
        place = self.env.place
        return self.call("rms_norm", place(o.x), place(o.weight), EPS, place(o.out))

    def peers(self):
        if self.row.flag("permuted"):
            return []
        env, functional = self.env, self.torch.nn.functional
        torch = f"torch {self.torch.__version__}"
        peers = [
            Peer(f"{torch} F.rms_norm",
                 lambda o: lambda: {"out": functional.rms_norm(o.x, o.weight.shape, o.weight, EPS)}),
            Peer(f"{torch} eager", lambda o: lambda: {"out": eager_rms_norm(o.x, o.weight)}),
        ]
        if env.compiles():
            norm = env.compiled(eager_rms_norm)
            peers.append(Peer(f"{torch} compiled", lambda o: lambda: {"out": norm(o.x, o.weight)}))
        if package := env.package("flashinfer"):
            peers.append(Peer(f"flashinfer {version(package)} rmsnorm",
                              lambda o: lambda: {"out": package.norm.rmsnorm(o.x, o.weight, EPS, out=o.out)}))
        return peers


class AddRmsNorm(RmsNorm):
    """The residual is read and written, here and by every peer: over the replays it grows, which costs no time."""

    written = ("out", "residual")
    tokens_first = ("x", "residual")

    def ours(self, o):
        place = self.env.place
        return self.call("add_rms_norm", place(o.x), place(o.residual), place(o.weight), EPS, place(o.out))

    def outputs(self, o):
        return {"out": o.out, "residual": o.residual}

    def peers(self):
        if self.row.flag("permuted"):
            return []
        env, functional = self.env, self.torch.nn.functional
        torch = f"torch {self.torch.__version__}"

        def two_calls(o):
            def call():
                o.residual.add_(o.x)
                out = functional.rms_norm(o.residual, o.weight.shape, o.weight, EPS)
                return {"out": out, "residual": o.residual}
            return call

        def by(function):
            return lambda o: lambda: {"out": function(o.x, o.residual, o.weight), "residual": o.residual}

        peers = [Peer(f"{torch} add_, F.rms_norm", two_calls), Peer(f"{torch} eager", by(eager_add_rms_norm))]
        if env.compiles():
            peers.append(Peer(f"{torch} compiled", by(env.compiled(eager_add_rms_norm))))
        if package := env.package("flashinfer"):
            def in_place(o):
                # It writes the norm over its input, which is a copy of its own therefore.
                o.out.copy_(o.x)

                def call():
                    package.norm.fused_add_rmsnorm(o.out, o.residual, o.weight, EPS)
                    return {"out": o.out, "residual": o.residual}
                return call
            peers.append(Peer(f"flashinfer {version(package)} fused_add_rmsnorm", in_place, "in place"))
        return peers


class SiluAndMul(Work):
    tokens_first = ("gate_up",)

    def operands(self):
        tokens, width = self.row.size("tokens"), self.row.size("intermediate")
        o = SimpleNamespace(gate_up=self.env.random(self.dtype, (tokens, 2 * width)),
                            out=self.env.output(self.dtype, (tokens, width)))
        self.mark(o)
        return o

    def ours(self, o):
        return self.call("silu_and_mul", self.env.place(o.gate_up), self.env.place(o.out))

    def peers(self):
        env, torch = self.env, f"torch {self.torch.__version__}"
        functional = self.torch.nn.functional

        def eager(gate_up):
            gate, up = gate_up.chunk(2, -1)
            return functional.silu(gate) * up

        peers = [Peer(f"{torch} eager", lambda o: lambda: {"out": eager(o.gate_up)},
                      "rounds between silu and product")]
        if env.compiles():
            compiled = env.compiled(silu_and_mul)
            peers.append(Peer(f"{torch} compiled", lambda o: lambda: {"out": compiled(o.gate_up)}))
        if package := env.package("flashinfer"):
            peers.append(Peer(f"flashinfer {version(package)} silu_and_mul",
                              lambda o: lambda: {"out": package.activation.silu_and_mul(o.gate_up, out=o.out)}))
        return peers


def silu_and_mul(gate_up):
    """In f32, rounded once."""
    gate, up = gate_up.chunk(2, -1)
    gate, wide = gate.float(), up.float()
    return (gate / (1 + (-gate).exp()) * wide).to(gate_up.dtype)
