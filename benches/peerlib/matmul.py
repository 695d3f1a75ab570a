"""matmul, with 16-bit weights."""

from types import SimpleNamespace

from .env import version
from .norms import silu_and_mul
from .work import Peer, Work


class Matmul(Work):
    def __init__(self, env, row):
        super().__init__(env, row)
        self.m, self.n, self.k = (row.size(name) for name in "mnk")
        self.swiglu, self.bias, self.f32_out = (row.flag(name) for name in ("swiglu", "bias", "f32_out"))
        self.invariant = row.flag("invariant")

    def operands(self):
        env, dtype, (m, n, k) = self.env, self.dtype, (self.m, self.n, self.k)
        o = SimpleNamespace(x=env.random(dtype, (m, k)), weight=env.random(dtype, (n, k), k ** -0.5),
                            bias=env.random(dtype, (n,)) if self.bias else None,
                            out=env.output("f32" if self.f32_out else dtype, (m, n // 2 if self.swiglu else n)))
        # Peers take gate and up one behind the other.
        o.our_weight = interleaved(o.weight) if self.swiglu else o.weight
        o.our_bias = interleaved(o.bias) if self.swiglu and self.bias else o.bias
        return o

    def operand_bytes(self, o):
        return sum(tensor.numel() * tensor.element_size()
                   for tensor in (o.x, o.weight, o.bias, o.out, o.our_weight) if tensor is not None)

    def ours(self, o):
        place = self.env.place
        bias = place(o.our_bias) if self.bias else None
        return self.call("matmul", place(o.x), place(o.our_weight), bias, int(self.swiglu), int(self.invariant),
                         place(self.env.workspace()), place(o.out))

    def peers(self):
        if self.row.flag("tile_m"):
            # The interface plans by itself: what would be compared is another row.
            return []
        env, torch, functional = self.env, f"torch {self.torch.__version__}", self.torch.nn.functional
        invariant = "not batch-invariant" if self.invariant else ""
        if self.swiglu:
            def eager(o):
                gate, up = functional.linear(o.x, o.weight, o.bias).chunk(2, -1)
                return functional.silu(gate) * up

            peers = [Peer(f"{torch} F.linear, eager SwiGLU", lambda o: lambda: {"out": eager(o)},
                          "stores gate and up")]
            if env.compiles():
                activation = env.compiled(silu_and_mul)

                def compiled(o):
                    gate_up = functional.linear(o.x, o.weight, o.bias)
                    env.mark_tokens(gate_up)
                    return activation(gate_up)

                peers.append(Peer(f"{torch} F.linear, compiled SwiGLU", lambda o: lambda: {"out": compiled(o)},
                                  "stores gate and up"))
            return peers
        note = "; ".join(part for part in (invariant, "16-bit output" if self.f32_out else "") if part)
        peers = [Peer(f"{torch} F.linear",
                      lambda o: lambda: {"out": functional.linear(o.x, o.weight, o.bias)}, note)]
        if self.f32_out and not self.bias and env.on_gpu:
            def to_f32(o):
                transposed = o.weight.t()
                return lambda: {"out": self.torch.mm(o.x, transposed, out_dtype=self.torch.float32)}
            peers.append(Peer(f"{torch} mm to f32", to_f32, invariant))
        package = env.package("deep_gemm")
        if package and self.dtype == "bf16" and not self.bias:
            def deep_gemm(o):
                def call():
                    package.bf16_gemm_nt(o.x, o.weight, o.out)
                    return {"out": o.out}
                return call
            peers.append(Peer(f"deep_gemm {version(package)} bf16_gemm_nt", deep_gemm, invariant))
        return peers


def interleaved(gate_up):
    """Rows of gate, then of up, as blocks of 8 rows in turn."""
    gate, up = gate_up.chunk(2)
    blocks = gate.shape[0] // 8
    both = gate.new_empty((blocks, 2, 8, *gate.shape[1:]))
    both[:, 0] = gate.reshape(blocks, 8, *gate.shape[1:])
    both[:, 1] = up.reshape(blocks, 8, *up.shape[1:])
    return both.reshape(gate_up.shape)
