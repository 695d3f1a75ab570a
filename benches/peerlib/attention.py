"""attention_prefill and attention_decode.

Ours reads keys and values from pages of 16 tokens in a random order. PyTorch and FlashAttention 2 get the same keys
and values one behind the other, which no engine with a paged cache could give them; FlashAttention 3 and FlashInfer
read our pages. Masks are the same: the last query of a sequence sees all keys."""

import math
from ctypes import pointer
from types import SimpleNamespace

from .env import version
from .library import Attention as Arguments
from .work import Peer, Skipped, Work

PAGE_SIZE = 16
# Bytes of FlashInfer's workspace, as its documentation has it.
_FLASHINFER_BYTES = 128 << 20


class Attention(Work):
    decode = False

    def __init__(self, env, row):
        super().__init__(env, row)
        self.batch, self.q_len, self.kv_len = (row.size(name) for name in ("batch", "q_len", "kv_len"))
        self.q_heads, self.kv_heads = row.size("num_q_heads"), row.size("num_kv_heads")
        self.head_dim = row.size("head_dim")
        self._flashinfer_workspace = None

    def operands(self):
        env, dtype, batch, kv_len = self.env, self.dtype, self.batch, self.kv_len
        pages = -(-kv_len // PAGE_SIZE)
        q_shape = (batch * self.q_len, self.q_heads, self.head_dim)
        cache = (batch * pages, PAGE_SIZE, self.kv_heads, self.head_dim)
        page_table = env.shuffled(batch * pages).int().view(batch, pages)
        o = SimpleNamespace(
            q=env.random(dtype, q_shape), k_cache=env.random(dtype, cache), v_cache=env.random(dtype, cache),
            page_table=page_table, out=env.output(dtype, q_shape),
            q_indptr=env.tensor("i32", [i * self.q_len for i in range(batch + 1)]),
            kv_len=env.tensor("i32", [kv_len] * batch))
        # [batch, kv_len, heads, head_dim], for peers without pages.
        order = page_table.long().flatten()
        o.k, o.v = (cache[order].view(batch, pages * PAGE_SIZE, *cache.shape[2:])[:, :kv_len].contiguous()
                    for cache in (o.k_cache, o.v_cache))
        return o

    def ours(self, o):
        place, env = self.env.place, self.env
        tensors = {"q": o.q, "k": o.k_cache, "v": o.v_cache, "page_table": o.page_table, "q_indptr": o.q_indptr,
                   "kv_len": o.kv_len, "out": o.out}
        arguments = Arguments(
            **{name: pointer(place(tensor)) for name, tensor in tensors.items()}, first_sequence=0,
            num_sequences=self.batch, max_q_len=self.q_len, max_kv_len=self.kv_len,
            softmax_scale=1 / math.sqrt(self.head_dim), k_scale=1.0, v_scale=1.0,
            batch_invariant=int(self.row.flag("invariant")))
        if not self.decode:
            return self.call("attention_prefill", arguments)
        num_bytes = env.library.workspace_bytes(env.stream(), arguments)
        # At a multiple of 256 bytes, where PyTorch's allocator has it.
        o.workspace = env.output("u8", (num_bytes,))
        return self.call("attention_decode", arguments, place(o.workspace))

    # Peers.

    def peers(self):
        torch = f"torch {self.torch.__version__} SDPA"
        if not self.env.on_gpu:
            return [Peer(torch, lambda o: self.sdpa(o, None), "contiguous keys", self.as_rows)]
        backends = self.env.attention.SDPBackend
        peers = [Peer(f"{torch} {name}", lambda o, backend=backend: self.sdpa(o, backend), "contiguous keys",
                      self.as_rows)
                 for name, backend in (("cuDNN", backends.CUDNN_ATTENTION), ("flash", backends.FLASH_ATTENTION))]
        packages = (("flash_attn", self.flash_attn_2, "contiguous keys"),
                    ("flash_attn_3", self.flash_attn_3, "paged"),
                    ("flashinfer", self.flashinfer, "paged; its plan is not timed"))
        for name, prepare, note in packages:
            if package := self.env.package(name):
                peers.append(Peer(f"{name} {version(package)}",
                                  lambda o, prepare=prepare, package=package: prepare(package, o), note,
                                  self.as_rows))
        return peers

    def as_rows(self, outputs, o):
        """`[tokens, heads, head_dim]`, whatever a peer's layout is."""
        out = outputs["out"]
        if outputs.get("heads_first"):
            out = out.transpose(1, 2)
        return {"out": out.reshape(o.out.shape)}

    def sdpa(self, o, backend):
        """scaled_dot_product_attention under one backend."""
        attention = self.env.attention
        q = o.q.view(self.batch, self.q_len, self.q_heads, self.head_dim).transpose(1, 2)
        k, v = o.k.transpose(1, 2), o.v.transpose(1, 2)
        options = {"enable_gqa": self.q_heads != self.kv_heads}
        if self.q_len == self.kv_len:
            options["is_causal"] = True
        elif self.q_len > 1:
            # is_causal would align the mask with the first key; this aligns it with the last.
            if backend == attention.SDPBackend.CUDNN_ATTENTION:
                raise Skipped("PyTorch has no mask for it that is aligned with the last key")
            options["attn_mask"] = self.env.causal_lower_right(self.q_len, self.kv_len)

        def call():
            out = self.torch.nn.functional.scaled_dot_product_attention(q, k, v, **options)
            return {"out": out, "heads_first": True}

        def under_backend():
            with attention.sdpa_kernel(backend):
                return call()

        return call if backend is None else under_backend

    def flash_attn_2(self, package, o):
        q = o.q.view(self.batch, self.q_len, self.q_heads, self.head_dim)
        if self.decode:
            return lambda: {"out": package.flash_attn_with_kvcache(q, o.k, o.v, cache_seqlens=o.kv_len, causal=True)}
        return lambda: {"out": package.flash_attn_func(q, o.k, o.v, causal=True)}

    def flash_attn_3(self, package, o):
        q = o.q.view(self.batch, self.q_len, self.q_heads, self.head_dim)
        return lambda: {"out": package.flash_attn_with_kvcache(
            q, o.k_cache, o.v_cache, cache_seqlens=o.kv_len, page_table=o.page_table, causal=True)}

    def flashinfer(self, package, o):
        torch, dtype = self.torch, o.q.dtype
        if self._flashinfer_workspace is None:
            self._flashinfer_workspace = torch.zeros(_FLASHINFER_BYTES, dtype=torch.uint8, device=o.q.device)
        pages = o.page_table.shape[1]
        indptr = self.env.tensor("i32", [i * pages for i in range(self.batch + 1)])
        last = self.env.tensor("i32", [self.kv_len - (pages - 1) * PAGE_SIZE] * self.batch)
        shape = (self.q_heads, self.kv_heads, self.head_dim, PAGE_SIZE)
        if self.decode and self.q_len == 1:
            wrapper = package.BatchDecodeWithPagedKVCacheWrapper(
                self._flashinfer_workspace, "NHD", use_tensor_cores=self.q_heads > self.kv_heads)
            wrapper.plan(indptr, o.page_table.flatten(), last, *shape, q_data_type=dtype, kv_data_type=dtype)
        else:
            wrapper = package.BatchPrefillWithPagedKVCacheWrapper(self._flashinfer_workspace, "NHD")
            wrapper.plan(o.q_indptr, indptr, o.page_table.flatten(), last, *shape, causal=True, q_data_type=dtype,
                         kv_data_type=dtype)
        cache = (o.k_cache, o.v_cache)
        return lambda: {"out": wrapper.run(o.q, cache)}


class Decode(Attention):
    """With the launch that combines the splits; the workspace comes from the caller."""

    decode = True
