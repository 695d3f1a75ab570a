"""matmul_int4 and matmul_fp8: products by weights in 4 and 8 bits."""

import ctypes
from types import SimpleNamespace

from .env import version
from .library import DTYPES, Int4Packed, Int4Weight
from .matmul import interleaved
from .work import Peer, Skipped, Work

# The code of 0 in a weight without zeros.
_SYMMETRIC_ZERO = 8
# Deviation of a uniform number from 0 to 15, and of the numbers that e4m3 codes are of.
_INT4_DEVIATION, _E4M3_DEVIATION = 4.6, 128.0
_BLOCK = 128


class Quantized(Work):
    """What both have in common. Peers compute without SwiGLU alone: they have none."""

    def __init__(self, env, row):
        super().__init__(env, row)
        self.m, self.n, self.k = (row.size(name) for name in "mnk")
        self.swiglu, self.bias, self.f32_out = (row.flag(name) for name in ("swiglu", "bias", "f32_out"))
        self.invariant = row.flag("invariant")
        self.note = "; ".join(note for flag, note in ((self.invariant, "not batch-invariant"),
                                                      (self.f32_out, "16-bit output")) if flag)

    def output(self):
        width = self.n // 2 if self.swiglu else self.n
        return self.env.output("f32" if self.f32_out else self.dtype, (self.m, width))

    def ordered(self, weight):
        return interleaved(weight) if self.swiglu else weight

    def finished(self, product):
        """What stands behind the product of gate and up, one behind the other."""
        if not self.swiglu:
            return product
        gate, up = product.chunk(2, -1)
        return self.torch.nn.functional.silu(gate) * up


class MatmulInt4(Quantized):
    def __init__(self, env, row):
        super().__init__(env, row)
        self.group, self.zeros = row.size("group"), row.flag("zeros")
        self.packed = None

    def operands(self):
        env, dtype, (m, n, k) = self.env, self.dtype, (self.m, self.n, self.k)
        if self.packed is None:
            self.quantize()
        o = SimpleNamespace(x=env.random(dtype, (m, k)), bias=env.random(dtype, (n,)) if self.bias else None,
                            out=self.output(), **{name: tensor.clone() for name, tensor in self.packed.items()})
        o.our_bias = interleaved(o.bias) if self.swiglu and self.bias else o.bias
        return o

    def quantize(self):
        """A random weight: its codes, scales and zeros, the numbers that they stand for, and its arrays in our order. All
        sets of operands have copies of it."""
        env, torch, (n, k, group) = self.env, self.torch, (self.n, self.k, self.group)
        dtype, device = env.dtypes[self.dtype], env.device
        codes = env.integers(16, (n, k))
        scales = (1 + env.random("f32", (n, k // group)).abs()) / (_INT4_DEVIATION * k ** 0.5)
        scales = scales.to(dtype)
        zeros = env.integers(16, scales.shape).to(dtype)
        if not self.zeros:
            zeros.fill_(_SYMMETRIC_ZERO)
        centred = codes.view(n, -1, group).float() - zeros.float()[..., None]
        weight = (centred * scales.float()[..., None]).to(dtype).view(n, k)
        ours = [self.ordered(tensor).cpu().contiguous() for tensor in (codes, scales, zeros)]
        # Two codes a byte, the even column's in the low half.
        pairs = (ours[0][:, 0::2] | ours[0][:, 1::2] << 4).contiguous()
        halves = [tensor.view(torch.int16) for tensor in ours[1:]]
        as_u16 = lambda tensor: ctypes.cast(tensor.data_ptr(), ctypes.POINTER(ctypes.c_uint16))
        description = Int4Weight(n, k, group, ctypes.cast(pairs.data_ptr(), ctypes.POINTER(ctypes.c_uint8)),
                                 as_u16(halves[0]), as_u16(halves[1]) if self.zeros else None, DTYPES[self.dtype])
        our_codes, our_scales, self.integer_zeros = env.library.int4_pack(description)
        our_codes = torch.frombuffer(our_codes, dtype=torch.uint8).to(device)
        our_scales = torch.frombuffer(our_scales, dtype=torch.int16).view(dtype).to(device)
        tiles, arrays = -(-n // 16), 2 if self.zeros else 1
        self.packed = {"codes": codes, "scales": scales, "zeros": zeros, "weight": weight, "our_codes": our_codes,
                       "our_scales": our_scales.view(tiles, k // group, arrays, 16)}

    def operand_bytes(self, o):
        return sum(tensor.numel() * tensor.element_size() for tensor in (o.x, o.our_codes, o.our_scales, o.out))

    def ours(self, o):
        place = self.env.place
        codes, scales = place(o.our_codes), place(o.our_scales)
        weight = Int4Packed(self.n, self.k, ctypes.pointer(codes), ctypes.pointer(scales), self.integer_zeros)
        bias = place(o.our_bias) if self.bias else None
        return self.call("matmul_int4", place(o.x), weight, bias, int(self.swiglu), int(self.invariant),
                         place(self.env.workspace()), place(o.out))

    def peers(self):
        if self.row.flag("tile_m"):
            return []
        env, torch, functional = self.env, self.torch, self.torch.nn.functional
        name = f"torch {torch.__version__}"
        note = "; ".join(part for part in (self.note, "16-bit weights") if part)
        peers = [Peer(f"{name} F.linear",
                      lambda o: lambda: {"out": self.finished(functional.linear(o.x, o.weight, o.bias))}, note)]
        if self.swiglu or self.bias:
            return peers
        if env.on_gpu and self.dtype == "bf16" and not self.zeros:
            peers.append(Peer(f"{name} _weight_int4pack_mm", self.int4pack, self.note))
        package = env.package("marlin")
        if package and self.dtype == "f16" and not self.zeros and self.group in (128, self.k):
            peers.append(Peer(f"marlin {version(package)}", lambda o: self.marlin(package, o), self.note))
        return peers

    def int4pack(self, o):
        """PyTorch's own kernel: bf16, groups of at most 256, and a number that is added in place of a zero."""
        torch, tiles = self.torch, 8
        if self.group > 256 or self.k % (16 * tiles):
            raise Skipped(f"no kernel for groups of {self.group} in rows of {self.k}")
        # The even column's code in the high half.
        pairs = (o.codes[:, 0::2] << 4 | o.codes[:, 1::2]).contiguous()
        packed = torch._convert_weight_to_int4pack(pairs, tiles)
        scales = torch.stack((o.scales, torch.zeros_like(o.scales)), -1).transpose(0, 1).contiguous()
        return lambda: {"out": torch._weight_int4pack_mm(o.x, packed, self.group, scales)}

    def marlin(self, package, o):
        linear = self.torch.nn.Linear(self.k, self.n, bias=False, dtype=o.weight.dtype, device=o.weight.device)
        linear.weight.data = o.weight
        layer = package.Layer(self.k, self.n, groupsize=-1 if self.group == self.k else self.group).to(o.x.device)
        layer.pack(linear, o.scales)

        def call():
            package.mul(o.x, layer.B, o.out, layer.s, layer.workspace)
            return {"out": o.out}
        return call


class MatmulFp8(Quantized):
    def __init__(self, env, row):
        super().__init__(env, row)
        self.x_tensor, self.w_tensor, self.blocks, self.fast = (
            row.flag(name) for name in ("x_tensor", "w_tensor", "blocks", "fast"))

    def operands(self):
        env, (m, n, k) = self.env, (self.m, self.n, self.k)
        groups, rows = -(-k // _BLOCK), -(-n // _BLOCK)
        if self.blocks and self.swiglu:
            rows = 2 * -(-n // 2 // _BLOCK)

        def scales(shape, deviation):
            return (1 + env.random("f32", shape).abs()) / deviation

        x_scales = (m, groups) if self.blocks else (1, 1) if self.x_tensor else (m, 1)
        w_scales = (rows, groups) if self.blocks else (1, 1) if self.w_tensor else (n, 1)
        o = SimpleNamespace(
            x=env.codes((m, k)), x_scale=scales(x_scales, _E4M3_DEVIATION), weight=env.codes((n, k)),
            w_scale=scales(w_scales, _E4M3_DEVIATION * k ** 0.5),
            bias=env.random(self.dtype, (n,)) if self.bias else None, out=self.output())
        bytes_of = o.weight.view(self.torch.uint8)
        o.our_weight = self.ordered(bytes_of).view(o.weight.dtype)
        per_row = not self.blocks and not self.w_tensor
        o.our_scale = self.ordered(o.w_scale) if per_row else o.w_scale
        o.our_bias = interleaved(o.bias) if self.swiglu and self.bias else o.bias
        return o

    def operand_bytes(self, o):
        return sum(tensor.numel() * tensor.element_size()
                   for tensor in (o.x, o.x_scale, o.our_weight, o.our_scale, o.out))

    def ours(self, o):
        place = self.env.place
        bias = place(o.our_bias) if self.bias else None
        return self.call("matmul_fp8", place(o.x), place(o.x_scale), place(o.our_weight), place(o.our_scale), bias,
                         int(self.swiglu), int(self.fast), int(self.invariant), place(self.env.workspace()),
                         place(o.out))

    def peers(self):
        if self.row.flag("tile_m"):
            return []
        env, torch, functional = self.env, self.torch, self.torch.nn.functional
        name, dtype = f"torch {self.torch.__version__}", env.dtypes[self.dtype]

        def scaled(codes, scale, rows):
            scale = scale.repeat_interleave(_BLOCK, 1)[:, :codes.shape[1]] if self.blocks else scale
            if self.blocks and rows:
                half = codes.shape[0] // 2 if self.swiglu else codes.shape[0]
                blocks = -(-half // _BLOCK)
                parts = [part.repeat_interleave(_BLOCK, 0)[:half] for part in scale.split(blocks)]
                scale = torch.cat(parts)
            return codes.float() * scale

        def in_f32(o):
            x, weight = scaled(o.x, o.x_scale, False), scaled(o.weight, o.w_scale, True)
            bias = o.bias.float() if self.bias else None

            def call():
                return {"out": self.finished(functional.linear(x, weight, bias)).to(o.out.dtype)}
            return call

        def in_16_bits(o):
            x, weight = scaled(o.x, o.x_scale, False).to(dtype), scaled(o.weight, o.w_scale, True).to(dtype)
            return lambda: {"out": self.finished(functional.linear(x, weight, o.bias))}

        if not env.on_gpu:
            return [Peer(f"{name} F.linear of f32", in_f32, self.note)]
        note = "; ".join(part for part in (self.note, "16-bit operands") if part)
        peers = [Peer(f"{name} F.linear", in_16_bits, note)]
        tensors = self.x_tensor and self.w_tensor
        rows = not self.x_tensor and not self.w_tensor and not self.blocks and self.dtype == "bf16"
        if (tensors or rows) and not self.swiglu:
            def scaled_mm(o):
                weight, w_scale = o.weight.t(), o.w_scale.t() if rows else o.w_scale.reshape(())
                x_scale = o.x_scale if rows else o.x_scale.reshape(())
                return lambda: {"out": torch._scaled_mm(o.x, weight, x_scale, w_scale, bias=o.bias, out_dtype=dtype,
                                                        use_fast_accum=self.fast)}
            peers.append(Peer(f"{name} _scaled_mm", scaled_mm, self.note))
        return peers
